"""Names of entries (DNs), as far as they can be compared without asking the directory. Pure."""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase

import ldap
import ldap.dn

SMALL = str.maketrans(ascii_uppercase, ascii_lowercase)

Key = tuple[tuple[tuple[str, str], ...], ...]


def is_dn(text: str) -> bool:
    """Whether it is written as a DN of two parts at least: of one it may as well be a name with an equals sign."""
    return len(_parts(text) or ()) > 1


def key_of(dn: str) -> Key:
    """What the spellings of one DN come to: without regard to capitals of A-Z, spaces around its parts, and ways of escaping.

    Of other letters it is for the directory to say which are the same: to Python a Kelvin sign is a K, and to Samba another group.
    """
    parts = _parts(dn)
    if parts is None:
        return ((("", dn.translate(SMALL)),),)
    return tuple(tuple((kind.lower(), value.translate(SMALL)) for kind, value, _flags in part) for part in parts)


def is_below(dn: str, base: str) -> bool:
    """Whether an entry is at a place of the directory or below it."""
    place = key_of(base)
    return bool(place) and key_of(dn)[-len(place) :] == place


def domain_of(dn: str) -> str:
    """The top of the domain that an entry of Active Directory is in; the DN itself where it is in none."""
    if _parts(dn) is None:
        return dn
    parts = ldap.dn.explode_dn(dn)
    outside = [number for number, part in enumerate(parts) if not part.lower().startswith("dc=")]
    first = outside[-1] + 1 if outside else 0
    return ",".join(parts[first:]) or dn


def _parts(dn: str) -> list[list[tuple[str, str, int]]] | None:
    """None for what is no DN: it cannot be read as one, or what it escapes is no text."""
    try:
        parts: list[list[tuple[str, str, int]]] = ldap.dn.str2dn(dn)
    except (ldap.DECODING_ERROR, UnicodeError):
        return None
    return parts
