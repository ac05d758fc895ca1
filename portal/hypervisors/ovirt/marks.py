"""The portal's mark on an engine: a word in a machine's comment, and the alias of a disk. Pure.

An engine picks a machine's id itself and copies comments when somebody clones a machine by hand. So the word in the comment
names the portal and the uid, and, from the moment at which the machine can be edited, the machine that it was put on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid5

from portal.hypervisors.specs import Marker

_WORD = re.compile(r"(?<!\S)stegi-([0-9a-f]{32})-([0-9a-f]{32})(?:-([0-9a-f]{8}))?(?!\S)")
_ALIAS = re.compile(r"stegi-([0-9a-f]{8})-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
# A disk's image has an id of its own there.
_IMAGES = UUID("6f1d9c7c-0f6b-5a53-9c0e-6a1f64a1f3d2")


@dataclass(frozen=True, slots=True)
class Mark:
    """A word in a comment. ``pin``: the first eight digits of the id of the machine that it was put on, or nothing yet."""

    marker: Marker
    pin: str = ""

    @property
    def text(self) -> str:
        """As it stands in the comment."""
        bare = word(self.marker)
        return f"{bare}-{self.pin}" if self.pin else bare


def word(marker: Marker) -> str:
    """The word without the machine that it was put on; what a comment is searched for."""
    return f"stegi-{marker.portal_id.hex}-{marker.uid.hex}"


def pin_of(external_id: str) -> str:
    """What a mark keeps of the id of its machine."""
    return external_id.replace("-", "").lower()[:8]


def marks(comment: str | None) -> Iterator[Mark]:
    """Every mark in a comment, whichever portal's."""
    for found in _WORD.finditer(comment or ""):
        yield Mark(Marker(UUID(found[1]), UUID(found[2])), found[3] or "")


def is_put_on(mark: Mark, *, external_id: str, name: str) -> bool:
    """Whether a mark was put on the machine that bears it: else that is a copy of the one it was put on.

    Until it says so itself, the machine's name as we gave it does, which a copy cannot have beside it.
    """
    if mark.pin:
        return mark.pin == pin_of(external_id)
    return name.endswith(f"-{mark.marker.uid.hex[:8]}")


def with_mark(comment: str | None, mark: Mark) -> str:
    """The comment with a mark at its end, in the place of one of the same marker; the rest stays as it is."""
    text = comment or ""
    for there in marks(text):
        if there.marker == mark.marker:
            return text.replace(there.text, mark.text, 1)
    return f"{text} {mark.text}" if text else mark.text


def without_mark(comment: str | None, mark: Mark) -> str:
    """The comment as it was before the mark was put into it."""
    text = comment or ""
    for written in (f" {mark.text}", f"{mark.text} ", mark.text):
        if written in text:
            return text.replace(written, "", 1)
    return text


def alias_prefix(portal_id: UUID) -> str:
    """What the alias of each disk of this portal begins with."""
    return f"stegi-{portal_id.hex[:8]}-"


def alias(portal_id: UUID, uid: UUID) -> str:
    """The alias of a disk of ours."""
    return f"{alias_prefix(portal_id)}{uid}"


def alias_uid(portal_id: UUID, text: str | None) -> UUID | None:
    """The uid in a disk's alias, or None where it is not one of ours."""
    found = _ALIAS.fullmatch(text or "")
    return UUID(found[2]) if found and found[1] == portal_id.hex[:8] else None


def image_id(disk_uid: UUID) -> UUID:
    """The id of the image of a disk that we make under an id of ours."""
    return uuid5(_IMAGES, disk_uid.hex)


def correlation(verb: str, uid: UUID) -> dict[str, str]:
    """The header by which the engine's job and events of a call are found again; 50 characters at most."""
    return {"Correlation-Id": f"{verb}-{uid.hex}"[:50]}
