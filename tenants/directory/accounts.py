"""What a directory's entry says of an account. Pure: an entry and the time in, an account out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tenants.models import KeptOut

# userAccountControl and msDS-User-Account-Control-Computed (MS-ADTS 2.2.16)
DISABLED, LOCKED, PASSWORD_NEVER_EXPIRES, PASSWORD_EXPIRED = 0x2, 0x10, 0x10000, 0x800000
NEVER = 0x7FFFFFFFFFFFFFFF
EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
LONGEST_NAME = 100
LONGEST_DISPLAY_NAME = 150

AD_ATTRIBUTES = (
    "objectGUID", "sAMAccountName", "displayName", "mail", "userAccountControl", "accountExpires", "pwdLastSet",
    "msDS-User-Account-Control-Computed", "primaryGroupID", "objectSid", "memberOf",
)  # fmt: skip
OPENLDAP_ATTRIBUTES = (
    "entryUUID", "uid", "cn", "displayName", "mail", "pwdAccountLockedTime", "pwdReset", "pwdEndTime", "shadowExpire",
    "nsAccountLock",
)  # fmt: skip

# How Active Directory tells, in the text of a refused bind, what is the matter (Win32 error codes in hexadecimal).
BIND_CODES = {
    "530": KeptOut.DISABLED,
    "531": KeptOut.DISABLED,
    "532": KeptOut.PASSWORD_EXPIRED,
    "533": KeptOut.DISABLED,
    "701": KeptOut.EXPIRED,
    "773": KeptOut.MUST_CHANGE,
    "775": KeptOut.LOCKED,
}


@dataclass(frozen=True, slots=True)
class Account:
    """A person of a directory: known by ``guid``; names are for display. ``kept_out`` empty: may log in.

    ``member_of``: the DNs of the groups that the entry itself names; none where it names them not, or not to whoever asks.
    ``uids``: what posix groups call it by (``memberUid``, RFC 2307), whatever it logs in by; all of them, and whole.
    """

    guid: str
    dn: str
    name: str
    display_name: str
    email: str
    kept_out: str
    primary_group_sid: bytes = b""
    member_of: tuple[str, ...] = ()
    uids: tuple[str, ...] = ()


def account_of_ad(dn: str, entry: Mapping[str, Sequence[bytes]], now: datetime) -> Account | None:
    """An account of Active Directory; None for an entry that is nobody's (no GUID)."""
    guid = guid_of_ad(entry)
    if not guid:
        return None
    return Account(
        guid=guid,
        dn=dn,
        name=_text(entry, "sAMAccountName")[:LONGEST_NAME],
        display_name=_text(entry, "displayName")[:LONGEST_DISPLAY_NAME],
        email=_text(entry, "mail")[:254],
        kept_out=_kept_out_of_ad(entry, now),
        primary_group_sid=_primary_group(entry),
        member_of=texts_in(entry, "memberOf"),
    )


def account_of_openldap(
    dn: str, entry: Mapping[str, Sequence[bytes]], now: datetime, *, login_attribute: str = "uid"
) -> Account | None:
    """An account of OpenLDAP; None for an entry that is nobody's (no entryUUID)."""
    guid = guid_of_openldap(entry)
    if not guid:
        return None
    return Account(
        guid=guid,
        dn=dn,
        name=(_text(entry, login_attribute) or _text(entry, "cn"))[:LONGEST_NAME],
        display_name=(_text(entry, "displayName") or _text(entry, "cn"))[:LONGEST_DISPLAY_NAME],
        email=_text(entry, "mail")[:254],
        kept_out=_kept_out_of_openldap(entry, now),
        uids=tuple(uid for uid in texts_in(entry, "uid") if uid.strip()),
    )


def guid_of_ad(entry: Mapping[str, Sequence[bytes]]) -> str:
    """objectGUID as it is written: its first three parts are little-endian."""
    found = _value(entry, "objectGUID")
    return str(UUID(bytes_le=found)) if len(found) == 16 else ""


def guid_of_openldap(entry: Mapping[str, Sequence[bytes]]) -> str:
    """entryUUID."""
    try:
        return str(UUID(_text(entry, "entryUUID")))
    except ValueError:
        return ""


def texts_in(entry: Mapping[str, Sequence[bytes]], name: str) -> tuple[str, ...]:
    """All values of an attribute as they stand, however its own name is written."""
    found = next((values for key, values in entry.items() if key.lower() == name.lower()), ())
    return tuple(value.decode("utf-8", "replace") for value in found)


def kept_out_by_bind(text: str) -> str:
    """Why Active Directory refused a bind, from its text; empty when it was the password."""
    _before, found, after = text.partition("data ")
    return str(BIND_CODES.get(after.split(",")[0].strip().lower(), "")) if found else ""


def _kept_out_of_ad(entry: Mapping[str, Sequence[bytes]], now: datetime) -> str:
    control = _number(entry, "userAccountControl") | _number(entry, "msDS-User-Account-Control-Computed")
    expires = _number(entry, "accountExpires")
    if control & DISABLED:
        return KeptOut.DISABLED
    if expires not in {0, NEVER} and _time_of_ad(expires) <= now:
        return KeptOut.EXPIRED
    if control & LOCKED:
        return KeptOut.LOCKED
    if _text(entry, "pwdLastSet") == "0" and not control & PASSWORD_NEVER_EXPIRES:
        return KeptOut.MUST_CHANGE
    return KeptOut.PASSWORD_EXPIRED if control & PASSWORD_EXPIRED else ""


def _kept_out_of_openldap(entry: Mapping[str, Sequence[bytes]], now: datetime) -> str:
    """By the password policy overlay (``pwd...``), by shadow accounts, and by 389's lock."""
    if _text(entry, "nsAccountLock").lower() == "true":
        return KeptOut.DISABLED
    days = _number(entry, "shadowExpire")
    ends = _time_of_ldap(_text(entry, "pwdEndTime"))
    if (days > 0 and datetime.fromtimestamp(0, UTC) + timedelta(days=min(days, 10**6)) <= now) or (
        ends and ends <= now
    ):
        return KeptOut.EXPIRED
    if _text(entry, "pwdAccountLockedTime"):
        return KeptOut.LOCKED
    return KeptOut.MUST_CHANGE if _text(entry, "pwdReset").lower() == "true" else ""


def _primary_group(entry: Mapping[str, Sequence[bytes]]) -> bytes:
    """The primary group's SID: the account's own, with the group's number in the place of the last one (4 bytes, little-endian)."""
    sid, number = _value(entry, "objectSid"), _number(entry, "primaryGroupID")
    if len(sid) < 12 or not 0 < number < 2**32:
        return b""
    return sid[:-4] + number.to_bytes(4, "little")


def _time_of_ad(ticks: int) -> datetime:
    """Tenths of microseconds since 1601."""
    try:
        return EPOCH + timedelta(microseconds=ticks // 10)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _time_of_ldap(text: str) -> datetime | None:
    """A generalized time as overlays write it: ``20260131235959Z``, fractions left out."""
    try:
        return datetime.strptime(text.split(".", maxsplit=1)[0].rstrip("Z"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _value(entry: Mapping[str, Sequence[bytes]], name: str) -> bytes:
    """The first value of an attribute, however its name is written; empty when there is none."""
    for key, values in entry.items():
        if key.lower() == name.lower() and values:
            return values[0]
    return b""


def _text(entry: Mapping[str, Sequence[bytes]], name: str) -> str:
    return _value(entry, name).decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}").strip()


def _number(entry: Mapping[str, Sequence[bytes]], name: str) -> int:
    try:
        return int(_text(entry, name))
    except ValueError:
        return 0
