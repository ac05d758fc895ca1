"""Which directory a name at log-in means. Pure.

``user`` is a local account's, else the default directory's; ``NAME\\user`` and ``user@name`` are that directory's alone,
by its name or one of its domains, in any case; ``.\\user`` is a local account's alone. What names no directory here goes
to the default one as it was typed, for domains there may be many.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

LOCAL = "."
UNSEEN = frozenset({"Mn", "Me", "Cf", "Cc"})


class Named(Protocol):
    """What a directory is called."""

    pk: UUID
    name: str
    domains: list[str]
    is_default: bool
    enabled: bool


@dataclass(frozen=True, slots=True)
class LoginName:
    """Whom a log-in names: a local account (when there is one), or else an account of a directory.

    ``whole`` is what was typed. ``directory`` None: of no directory.
    """

    name: str
    whole: str
    directory: UUID | None
    may_be_local: bool


def folded(text: str) -> str:
    """What all spellings come to that a directory may take for one name (RFC 4518); some names of two people do too.

    Without regard to case, width, accents, what does not show, and how many spaces there are. For counting, not for asking.
    """
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    spaced = "".join(" " if one.isspace() else one for one in plain)
    shown = "".join(one for one in spaced if unicodedata.category(one) not in UNSEEN)
    return " ".join(shown.split())


def login_name(typed: str, directories: Sequence[Named]) -> LoginName:
    """Whom this means, with these directories enabled."""
    whole = typed.strip()
    before, backslash, after = (part.strip() for part in whole.partition("\\"))
    if backslash and before == LOCAL:
        return LoginName(after, after, None, may_be_local=True)
    if backslash and (named := _called(before, directories)):
        return LoginName(after, after, named.pk, may_be_local=False)
    user, at, domain = (part.strip() for part in whole.rpartition("@"))
    default = _default(directories)
    if at and user and not backslash and (named := _called(domain, directories)):
        return LoginName(user, whole, named.pk, may_be_local=True)
    return LoginName(whole, whole, default.pk if default else None, may_be_local=True)


def group_name(typed: str, directories: Sequence[Named]) -> tuple[UUID | None, str]:
    """Of which of these directories a group is meant, and what it is called there; None: of none of them.

    ``NAME\\group`` is that directory's, by its name or one of its domains; without one it is the default directory's, of those
    that are enabled. One that is not is meant all the same: another may have a group that is called like the whole.
    """
    whole = typed.strip()
    before, backslash, after = (part.strip() for part in whole.partition("\\"))
    named = _called(before, directories) if backslash else None
    if named is not None:
        return named.pk, after
    default = _default(directories)
    return (default.pk if default else None), whole


def led_elsewhere(before: Sequence[Named], after: Sequence[Named]) -> set[UUID]:
    """Whose people would be asked for by another directory than before, typing what they always typed: the directories by uid.

    A name that a directory has lost, a domain that it has gained and the default one had, and a bare name: that of anybody, where
    there was no default. A name without a dot, gained, is nobody's domain, and nobody types it yet.
    """
    was, now = _default(before), _default(after)
    if now is not None and was is None:
        return {one.pk for one in after} - {now.pk}
    led = [(was, now)]
    for name in {name for one in (*before, *after) for name in (one.name, *one.domains)}:
        old, new = _called(name, before), _called(name, after)
        if old is not None or "." in name or (new is not None and name in new.domains):
            led.append((old or was, new or now))
    return {old.pk for old, new in led if old is not None and new is not None and old.pk != new.pk}


def _called(text: str, directories: Sequence[Named]) -> Named | None:
    wanted = folded(text)
    return next((one for one in directories if wanted in {folded(name) for name in (one.name, *one.domains)}), None)


def _default(directories: Sequence[Named]) -> Named | None:
    """The one that is so marked, or the only one, of those that are enabled."""
    enabled = [one for one in directories if one.enabled]
    marked = next((one for one in enabled if one.is_default), None)
    return marked or (enabled[0] if len(enabled) == 1 else None)
