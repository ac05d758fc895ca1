"""What is wrong with an address and its secrets as they stand, by field: found before anybody is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from portal.hypervisors.findings import Finding
from portal.hypervisors.libvirt.host_keys import is_host_key
from portal.hypervisors.libvirt.uri import SSH, TCP, TLS, parsed
from portal.hypervisors.specs import Connection

OPENSSH = "-----BEGIN OPENSSH PRIVATE KEY-----"
BROKEN = (ValueError, UnsupportedAlgorithm)


def refusals(connection: Connection) -> tuple[Finding, ...]:
    """All of them; empty when it is worth a try."""
    uri = parsed(connection.address)
    if isinstance(uri, str):
        return (Finding("address", uri),)
    if connection.username:
        return (Finding("username", "username_unused"),)
    if uri.scheme == TCP and connection.options.get("plain_tcp") != "yes":
        return (Finding("address", "address_tcp"),)
    if uri.scheme == SSH:
        return tuple(_of_ssh(connection))
    if uri.scheme == TLS:
        return tuple(_of_tls(connection))
    return ()


def _of_ssh(connection: Connection) -> Iterator[Finding]:
    if code := _key_fault(connection.secrets.get("ssh_key", "")):
        yield Finding("ssh_key", code)
    pinned = connection.secrets.get("host_key", "")
    if pinned and not is_host_key(pinned):
        yield Finding("host_key", "host_key_invalid")


def _of_tls(connection: Connection) -> Iterator[Finding]:
    certificate = _certificate(connection.secrets.get("client_certificate", ""))
    if _certificate(connection.ca_pem) is None:
        yield Finding("ca_pem", "certificate_invalid" if connection.ca_pem else "ca_missing")
    if certificate is None:
        given = connection.secrets.get("client_certificate")
        yield Finding("client_certificate", "certificate_invalid" if given else "client_certificate_missing")
    elif certificate.not_valid_after_utc < datetime.now(UTC):
        until = certificate.not_valid_after_utc.date().isoformat()
        yield Finding("client_certificate", "client_certificate_expired", {"until": until})
    key = connection.secrets.get("client_key", "")
    if code := _key_fault(key, kind="client_key"):
        yield Finding("client_key", code)
    elif certificate is not None and not _belong(certificate, key):
        yield Finding("client_key", "client_key_other")


def _key_fault(text: str, *, kind: str = "ssh_key") -> str:
    if not text:
        return f"{kind}_missing"
    load = load_ssh_private_key if text.lstrip().startswith(OPENSSH) else load_pem_private_key
    try:
        load(text.strip().encode(), None)
    except TypeError:
        return "key_passphrase"
    except BROKEN as error:
        return "key_passphrase" if "password" in str(error).lower() else "key_invalid"
    return ""


def _certificate(text: str) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(text.encode())
    except BROKEN:
        return None


def _belong(certificate: x509.Certificate, key: str) -> bool:
    public = load_pem_private_key(key.strip().encode(), None).public_key()
    shown = [
        each.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for each in (public, certificate.public_key())
    ]
    return shown[0] == shown[1]
