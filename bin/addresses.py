"""Under which names the portal is reached, and the certificate for them."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from failure import StartError, say
from options import Options

CERTIFICATE_DAYS: Final = 397
RENEW_SECONDS: Final = 30 * 24 * 3600


@dataclass(frozen=True)
class Reach:
    """Where the portal answers. The first host is the one in the printed URL."""

    scheme: str
    hosts: tuple[str, ...]
    port: int
    certificate: Path | None = None
    key: Path | None = None

    @property
    def origins(self) -> list[str]:
        standard = {"http": 80, "https": 443}[self.scheme] == self.port
        return [f"{self.scheme}://{bracketed(host)}{'' if standard else f':{self.port}'}" for host in self.hosts]

    @property
    def url(self) -> str:
        return self.origins[0] + "/"


def reach(options: Options, folder: Path) -> Reach:
    """The address and, where TLS is asked for or required, the certificate, generated in `folder` if none was given."""
    hosts = tuple(dict.fromkeys(_hosts(options)))
    if options.tls_cert and options.tls_key:
        _check_pair(options.tls_cert, options.tls_key)
        return Reach("https", hosts, options.port, options.tls_cert, options.tls_key)
    if options.loopback:
        return Reach("http", hosts, options.port)
    certificate, key = generated(folder, hosts)
    return Reach("https", hosts, options.port, certificate, key)


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def refuse_taken(bind: str, port: int) -> None:
    """Says clearly what a server would only log: the port is in use, or the address is not this machine's."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((bind, port))
            attempt.listen(1)
        except OSError as error:
            what = f"port {port} of {bind} cannot be used ({error.strerror})"
            raise StartError(what, "end the program that holds it, or choose with --port and --bind") from error


def _hosts(options: Options) -> list[str]:
    address = ipaddress.ip_address(options.bind)
    if address.is_unspecified:
        loopback = "127.0.0.1" if address.version == 4 else "::1"
        return [*_machine_addresses(address.version), *_names(), "localhost", loopback]
    if address.is_loopback:
        return [options.bind, "localhost"]
    return [options.bind, *_names()]


def _names() -> list[str]:
    """What this machine calls itself, as far as that may stand in a URL."""
    names = dict.fromkeys((socket.getfqdn(), socket.gethostname()))
    return [name.lower() for name in names if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", name)]


def _machine_addresses(version: int) -> list[str]:
    command = ["ip", f"-{version}", "-json", "address", "show", "scope", "global"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [entry["local"] for link in json.loads(answer) for entry in link.get("addr_info", [])]


# --- the certificate


def generated(folder: Path, hosts: tuple[str, ...]) -> tuple[Path, Path]:
    """A self-signed certificate for these hosts; the last one is kept while it fits and is not near its end."""
    certificate, key, names = folder / "certificate.pem", folder / "key.pem", folder / "hosts"
    wanted = ",".join(hosts)
    if not (key.is_file() and names.is_file() and names.read_text() == wanted and _still_good(certificate)):
        _generate(certificate, key, hosts)
        names.write_text(wanted)
    key.chmod(0o600)
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest().upper()
    say(f"self-signed certificate, SHA-256 fingerprint {':'.join(re.findall('..', digest))}")
    return certificate, key


def _still_good(certificate: Path) -> bool:
    command = ["openssl", "x509", "-checkend", str(RENEW_SECONDS), "-noout", "-in", str(certificate)]
    return (
        certificate.is_file() and subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    )


def _generate(certificate: Path, key: Path, hosts: tuple[str, ...]) -> None:
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-sha256",
        "-days", str(CERTIFICATE_DAYS), "-subj", "/CN=Stegi", "-keyout", str(key), "-out", str(certificate),
        "-addext", f"subjectAltName={','.join(_alternative(host) for host in hosts)}",
        "-addext", "keyUsage=critical,digitalSignature", "-addext", "extendedKeyUsage=serverAuth",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise StartError(f"openssl could not make a certificate: {last}", "give one with --tls-cert and --tls-key")


def _alternative(host: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"


def _check_pair(certificate: Path, key: Path) -> None:
    """Loads them as the server will. The password callback keeps a locked key from asking at a terminal."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, OSError, ValueError) as error:
        what = f"{certificate} and {key} are no usable pair ({error})"
        raise StartError(what, "give a PEM certificate and its own key, without a passphrase") from error
