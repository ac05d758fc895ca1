"""The CA that vouches for an engine: read from what is pasted, fetched from the engine itself to be compared, and tried."""

from __future__ import annotations

import hashlib
import http.client
import socket
import ssl
from http import HTTPStatus

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from portal.hypervisors.ovirt.address import Engine
from portal.hypervisors.reaching import SECONDS, verdict

# Where every engine gives the certificate of its own CA to whoever asks.
CA_PATH = "/ovirt-engine/services/pki-resource?resource=ca-certificate&format=X509-PEM-CA"
LARGEST = 64 * 1024


class TlsFault(Exception):
    """No good connection came about; ``code`` says why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def read(pem: str) -> list[x509.Certificate]:
    """The certificates of a text; none for one that is not whole."""
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        return []


def pem_of(certificate: x509.Certificate) -> str:
    """As it is pasted and stored."""
    return certificate.public_bytes(Encoding.PEM).decode().strip()


def bare(pem: str) -> str:
    """The certificates of a text without what stands between them, which not every reader of PEM passes over."""
    return "\n".join(map(pem_of, read(pem)))


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 as ``openssl x509 -fingerprint -sha256`` shows it."""
    return _hashed(certificate.public_bytes(Encoding.DER))


def fetched_ca(engine: Engine) -> x509.Certificate | None:
    """The CA that an engine gives as its own, to be shown and compared: nobody vouches for it. None where it gives none.

    Of several the first alone, which is the one whose fingerprint is seen. Raises ``TlsFault``.
    """
    asking = http.client.HTTPSConnection(engine.host, engine.port, timeout=SECONDS, context=_unverified())
    try:
        asking.request("GET", CA_PATH)
        answer = asking.getresponse()
        text = answer.read(LARGEST) if answer.status == HTTPStatus.OK else b""
    except http.client.HTTPException:
        return None
    except OSError as error:
        raise TlsFault(_code(error)) from error
    finally:
        asking.close()
    return next(iter(read(text.decode("ascii", errors="replace"))), None)


def trusting(ca_pem: str) -> ssl.SSLContext:
    """A connection's settings by which nothing is good but what this CA vouches for."""
    return _trusting(read(ca_pem))


def fault_of(engine: Engine, trusted: list[x509.Certificate]) -> str:
    """The code of why the certificate that an engine shows is no good by what is trusted; empty where it is good."""
    try:
        _shown(engine, _trusting(trusted))
    except TlsFault as fault:
        return fault.code
    return ""


def shown_fingerprint(engine: Engine) -> str:
    """The fingerprint of the certificate that the engine itself shows, whoever signed it. Raises ``TlsFault``."""
    return _hashed(_shown(engine, _unverified()))


def _shown(engine: Engine, context: ssl.SSLContext) -> bytes:
    try:
        with socket.create_connection((engine.host, engine.port), timeout=SECONDS) as plain:
            with context.wrap_socket(plain, server_hostname=engine.host) as secured:
                return secured.getpeercert(binary_form=True) or b""
    except OSError as error:
        raise TlsFault(_code(error)) from error


def _trusting(certificates: list[x509.Certificate]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if certificates:
        context.load_verify_locations(cadata="\n".join(map(pem_of, certificates)))
    # What is pinned is trusted as it is, also where another CA signed it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _code(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return verdict(error)
    return "silent" if isinstance(error, TimeoutError) else "tls_none"


def _hashed(der: bytes) -> str:
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())


def _unverified() -> ssl.SSLContext:
    """For reading what everybody may read, and sending nothing that anybody may not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
