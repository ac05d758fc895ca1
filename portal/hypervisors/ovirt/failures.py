"""The one place where what an engine and its SDK say becomes ours.

The engine's own words are shown to users where they name nothing of its inside (``words``); all of them go to ``detail``,
for the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ovirtsdk4

from portal.hypervisors.errors import (
    AlreadyExists,
    Busy,
    Denied,
    HypervisorError,
    Invalid,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from portal.hypervisors.ovirt.transport import Broken

SAYS = "The engine says: %(words)s"
LONGEST_WORDS = 300
NO_REASON = re.compile(r"Cannot [^.!?]*\.")  # what begins each refusal: what was asked for
OTHER_CERTIFICATE = "The engine shows a certificate that the pinned CA did not sign."

# By the engine's texts (its ``AppErrors.properties``), for one code stands for many reasons; the first that fits.
_WORDS: tuple[tuple[str, type[HypervisorError]], ...] = (
    (r"not authorized|no permission|permission denied|insufficient permission", Denied),
    (r"name is already|already (?:in use|used|exists|been taken)|must be unique|in use by another", AlreadyExists),
    (
        r"low disk space|not enough (?:free )?(?:space|memory)|insufficient (?:memory|space)|out of (?:memory|space)",
        NoCapacity,
    ),
    (
        r"no host that satisfies|no available host|not enough mac|no (?:free|available) mac|exceeds? .*quota|quota .*exceed",
        NoCapacity,
    ),
    (r"locked|currently in progress|in progress|during migration|is migrating|being (?:used|created|removed)", Busy),
    (r"is running|is not running|isn't running|is not up|is up\b|is down\b|is paused|is suspended|powering", Busy),
    (r"not in (?:the )?appropriate status|status .*(?:illegal|is not)|cannot .*in its current (?:state|status)", Busy),
    (r"because the \w+ is in [\w ]+ status", Busy),
    (r"does ?n.t exist|does not exist|cannot find|can't find|not found|was not found|unknown id", NotFound),
)
_KINDS = tuple((re.compile(pattern, re.IGNORECASE), kind) for pattern, kind in _WORDS)
_CODES: dict[int, type[HypervisorError]] = {
    400: Invalid,
    401: Denied,
    403: Denied,
    404: NotFound,
    405: Invalid,
    415: Invalid,
    422: Invalid,
    429: Busy,
}

# What the engine calls its things, and what may follow that noun: any other word there is taken for a thing's name.
_THINGS = (
    r"(?>(?:(?:vm|disk|template|storage|data|vnic) )?(?:hosts?|domains?|clusters?|cent(?:er|re)s?|disks?|vms?|machines?|templates?"
    r"|networks?|profiles?|quotas?|pools?|users?|groups?|snapshots?|images?|volumes?|nics?|interfaces?|labels?|names?|alias(?:es)?"
    r"|providers?|devices?)\b)"
)
_SAID = (
    r"(?:that|which|who|is|isn|are|aren|was|were|be|been|being|has|have|had|does|doesn|do|did|didn|can|cannot|could|must|may|might|will"
    r"|not|no|already|currently|still|again|in|on|to|at|of|by|for|from|with|without|within|and|or|but|as|if|while|when|because|due|than"
    r"|status|state|type|size|space|memory|format|configuration|version|id|list|count|limit|operation|issues?|failed|exceeds?|exceeded"
    r"|please|running|locked|went|became|exists?|needs?|requires?|supports?|contains?|lacks?|creation|removal)"
)

_NAMES_SOMETHING = re.compile(
    r"[/\\$@<>]"  # a path, a variable that was not filled in, an account, markup
    r"|\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-"  # an id
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b|[0-9a-fA-F]{1,4}:[0-9a-fA-F]{0,4}:"  # an address
    r"|\b[\w-]+\.[A-Za-z][\w-]*"  # a name with a dot
    rf"|\b{_THINGS}(?:['’]s)?[\s(]+(?!{_SAID}\b)\w"  # a thing's name after its noun
    r"|:\W*(?!(?:the|an?|there|it|this|no|not|see)\b)\w"  # names that are counted up
    r"|\bby\s+(?!(?:an?|the|another|other|others|some|its|this|one|now)\b)\w"  # whose it is
    r"|[\"“”«»`]|(?:^|[\s(])['‘]"  # a name between quotes
    r"|\b\w*_\w*\b|\b(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]+"  # no word of a language
    r"|stegi-|password|token|certificate",
    re.IGNORECASE,
)


class Page(Exception):
    """The web server before the engine answered in its place: the engine restarts, or this is no engine."""

    def __init__(self, code: int, text: str, *, mutates: bool) -> None:
        self.code = code
        self.mutates = mutates
        super().__init__(f"HTTP {code}: {text}")


class Garbled(Exception):
    """An answer that cannot be read."""

    def __init__(self, text: str, *, mutates: bool) -> None:
        self.mutates = mutates
        super().__init__(text)


class LogInRefused(Exception):
    """No token was given."""


@contextmanager
def calling(what: str, *, mutates: bool = False) -> Iterator[None]:
    """Run calls of the SDK and raise our errors in place of its own. ``mutates``: something may have been changed."""
    try:
        yield
    except HypervisorError:
        raise
    except (Broken, Page, Garbled, LogInRefused, ovirtsdk4.Error) as error:
        raise translated(error, what=what) from error
    except ValueError as error:
        # The SDK's readers raise it for a value that they cannot read.
        raise (OutcomeUnknown if mutates else Unavailable)(detail=f"{what}: unreadable answer: {error}") from error


def translated(error: Exception, *, what: str) -> HypervisorError:
    """Our error for one of the SDK's or of the transport's."""
    detail = f"{what}: {error}"
    if isinstance(error, Broken):
        return _of_broken(error, detail)
    if isinstance(error, Garbled):
        return (OutcomeUnknown if error.mutates else Unavailable)(detail=detail)
    if isinstance(error, Page):
        return _of_page(error, detail)
    if isinstance(error, LogInRefused):
        return (Denied if _is_of_credentials(str(error)) else Unavailable)(detail=detail)
    return _of_fault(error, detail)


def words(text: str) -> str:
    """What of the engine's words users may read: the sentences that name no host, storage domain, disk or other thing, no address, path, id or secret.

    The engine's texts hold names where a noun is: so whatever follows one, and is none of the words that such texts go on with, hides its sentence.
    """
    bare = re.sub(r"\s+", " ", text.replace("[", " ").replace("]", " ")).strip(" ,")
    sentences = re.split(r"(?<=[.!?])[\s,]+", bare)
    shown = " ".join(
        one.strip(" ,") for one in sentences if one.strip(" ,") and not _NAMES_SOMETHING.search(one.rstrip("."))
    )
    return shown if len(shown) <= LONGEST_WORDS else ""


def version_of(api: Any) -> tuple[int, int] | None:
    """Major and minor version that an engine's entry point tells."""
    version = api.product_info.version if api is not None and api.product_info else None
    if version is None or version.major is None:
        return None
    return int(version.major), int(version.minor or 0)


def _of_broken(error: Broken, detail: str) -> HypervisorError:
    if error.is_tls:
        return Unavailable(OTHER_CERTIFICATE, detail=detail)
    return (OutcomeUnknown if error.was_sent and error.mutates else Unavailable)(detail=detail)


def _of_page(error: Page, detail: str) -> HypervisorError:
    """503 says that nothing listens behind the web server: what was asked did not reach the engine."""
    kind = _CODES.get(error.code)
    if kind in {Denied, NotFound}:
        return (Denied if kind is Denied else Unavailable)(detail=detail)
    return (OutcomeUnknown if error.mutates and error.code != 503 else Unavailable)(detail=detail)


def _of_fault(error: Exception, detail: str) -> HypervisorError:
    code, fault = getattr(error, "code", None) or 0, getattr(error, "fault", None)
    said = str(getattr(fault, "detail", None) or "")
    if code >= 500:
        return OutcomeUnknown(detail=detail)
    kind = _kind(code, said)
    shown = words(said) if kind is not Denied else ""
    if kind is not HypervisorError and NO_REASON.fullmatch(shown) and shown != said.strip("[]"):
        shown = ""  # why was in what is hidden, and our own words tell it
    return kind(SAYS, figures={"words": shown}, detail=detail) if shown else kind(detail=detail)


def _kind(code: int, said: str) -> type[HypervisorError]:
    if code in {401, 403, 404}:
        return _CODES[code]
    by_words = next((kind for pattern, kind in _KINDS if pattern.search(said)), None)
    return by_words or _CODES.get(code, HypervisorError)


def _is_of_credentials(text: str) -> bool:
    """The engine's log-in tells its own troubles apart; everything else is the account's."""
    return "server_error" not in text and "temporarily_unavailable" not in text
