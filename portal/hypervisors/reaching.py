"""Looks that every way over a network begins with: does the name resolve, does somebody listen, whose certificate is it?

Each says what it saw by a code of its own; none of them logs in.
"""

from __future__ import annotations

import re
import socket
import ssl
from ipaddress import ip_address

from portal.hypervisors.findings import Finding

SECONDS = 5.0
# X.509 verification results of OpenSSL (x509_vfy.h).
NOT_YET_VALID, EXPIRED = 9, 10
OTHER_HOST = (62, 64)

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*\.?")


def is_host(text: str) -> bool:
    """Whether it is the name of a host in small letters, or an IP address."""
    return _is_ip(text) if ":" in text else len(text) <= 253 and bool(_HOST.fullmatch(text))


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def name(host: str, port: int) -> Finding:
    """Whether the name leads to an address."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return Finding("name", "name_unknown", {"host": host})
    return Finding("name", data={"addresses": ", ".join(sorted({str(entry[4][0]) for entry in found}))})


def port(host: str, number: int) -> Finding:
    """Whether somebody takes connections there."""
    data = {"host": host, "port": str(number)}
    try:
        with socket.create_connection((host, number), timeout=SECONDS):
            return Finding("port", data=data)
    except ConnectionRefusedError:
        return Finding("port", "port_closed", data)
    except OSError:
        return Finding("port", "port_unreachable", data)


def name_back(host: str) -> Finding:
    """Its name leads to an address, and that address to a name which leads to the same address."""
    addresses = addresses_of(host)
    if not addresses:
        return Finding("name_back", "name_unknown", {"host": host}, is_warning=True)
    for address in sorted(addresses):
        try:
            name, aliases, _all = socket.gethostbyaddr(address)
        except OSError:
            return Finding("name_back", "name_no_reverse", {"host": host, "address": address}, is_warning=True)
        if not any(address in addresses_of(each) for each in (name, *aliases)):
            data = {"host": host, "address": address, "name": name}
            return Finding("name_back", "name_reverse_other", data, is_warning=True)
    return Finding("name_back", data={"addresses": ", ".join(sorted(addresses))})


def addresses_of(host: str) -> set[str]:
    """What a name leads to from here."""
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return set()


def skew(told: float, *, before: float, after: float) -> float:
    """By how many seconds, at least, a clock is wrong that showed ``told`` at some time between two of ours."""
    if told < before:
        return told - before
    return max(0.0, told - after)


def verdict(error: ssl.SSLCertVerificationError) -> str:
    """The code of why a certificate is no good."""
    if error.verify_code == EXPIRED:
        return "tls_expired"
    if error.verify_code == NOT_YET_VALID:
        return "tls_not_yet_valid"
    return "tls_other_host" if error.verify_code in OTHER_HOST else "tls_other_ca"
