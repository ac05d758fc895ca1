"""What a directory's address may be. Pure: values in, reasons out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import ldap.dn
from cryptography import x509
from django.utils.translation import gettext as _

from portal.common.errors import Reason
from tenants.directory.address import Address
from tenants.models import DirectoryKind

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
MOST_SERVERS, MOST_DOMAINS = 5, 20


def refusals(address: Address, domains: tuple[str, ...], brake_percent: int) -> tuple[Reason, ...]:
    """Everything that cannot be, each with its field."""
    return tuple(_refusals(address, domains, brake_percent))


def _refusals(address: Address, domains: tuple[str, ...], brake_percent: int) -> Iterator[Reason]:
    yield from _of_names(address, domains)
    yield from _servers(address)
    yield from _of_reading(address)
    if not 1 <= brake_percent <= 100:
        yield Reason("brake_percent_out_of_range", _("A share is 1 to 100 percent."), "brake_percent")


def _of_names(address: Address, domains: tuple[str, ...]) -> Iterator[Reason]:
    if not NAME.fullmatch(address.name):
        text = _("A name has 1 to 32 characters: letters A-Z, digits, '-' and '_', and begins with a letter or digit.")
        yield Reason("name_invalid", text, "name")
    if address.kind not in DirectoryKind.values:
        yield Reason("kind_unknown", _("There is no such kind of directory."), "kind")
    if len(domains) > MOST_DOMAINS or not all(DOMAIN.fullmatch(domain) for domain in domains):
        text = _("Write domains like uni.example, up to %(most)d of them.") % {"most": MOST_DOMAINS}
        yield Reason("domains_invalid", text, "domains")


def _of_reading(address: Address) -> Iterator[Reason]:
    if address.ca_pem and not _is_pem(address.ca_pem):
        text = _("This is no certificate. Paste it as PEM, its first and last line too.")
        yield Reason("ca_pem_invalid", text, "ca_pem")
    if not address.bind_dn.strip() or "\x00" in address.bind_dn:
        text = _("Name the account that reads the directory. The portal never asks as nobody.")
        yield Reason("bind_dn_invalid", text, "bind_dn")
    if not address.password:
        text = _("Give the account's password; also when its servers, their CA or the account change.")
        yield Reason("password_missing", text, "password")
    for field, dn in (("base_dn", address.base_dn), ("group_base_dn", address.group_base_dn)):
        if not dn or not ldap.dn.is_dn(dn):
            yield Reason(
                f"{field}_invalid", _("Write a place in the directory like ou=people,dc=uni,dc=example."), field
            )
    if address.login_attribute and not ATTRIBUTE.fullmatch(address.login_attribute):
        text = _("An attribute's name has letters, digits and '-', and begins with a letter.")
        yield Reason("login_attribute_invalid", text, "login_attribute")


def _servers(address: Address) -> Iterator[Reason]:
    scheme = "ldap" if address.starts_tls else "ldaps"
    if not 1 <= len(address.urls) <= MOST_SERVERS or not all(_is_server(url, scheme) for url in address.urls):
        text = _("Name 1 to %(most)d servers like %(scheme)s://ldap.uni.example, one on each line, without a path.")
        yield Reason("urls_invalid", text % {"most": MOST_SERVERS, "scheme": scheme}, "urls")


def _is_server(url: str, scheme: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    bare = parts.path in {"", "/"} and not (parts.query or parts.fragment or "@" in parts.netloc)
    return bare and parts.scheme.lower() == scheme and bool(parts.hostname) and len(url) <= 300 and port != 0


def _is_pem(text: str) -> bool:
    try:
        return bool(x509.load_pem_x509_certificates(text.encode()))
    except ValueError:
        return False
