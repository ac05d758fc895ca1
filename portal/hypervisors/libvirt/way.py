"""What stands between here and a libvirt, looked at step by step: its name, its port, its proof of who it is.

Each look is our own and says what it saw; libvirt itself says of most of it "cannot connect". None of them logs in.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from portal.hypervisors.findings import Finding, Probe
from portal.hypervisors.libvirt.host_keys import fingerprint, host_keys
from portal.hypervisors.libvirt.transport import private_folder, write_pki
from portal.hypervisors.libvirt.uri import SSH, TLS, Uri, parsed
from portal.hypervisors.reaching import SECONDS, name, port, verdict
from portal.hypervisors.specs import Connection

SOCKETS = (Path("/var/run/libvirt/libvirt-sock"), Path("/var/run/libvirt/virtqemud-sock"))
# libvirtd says this first over TLS, when it takes the client's certificate.
WELCOME = b"\1"


def probes(connection: Connection) -> tuple[Probe, ...]:
    """The looks for this address; none for one that is not taken."""
    uri = parsed(connection.address)
    if isinstance(uri, str):
        return ()
    if not uri.host:
        return (Probe("port", _local_socket),)
    found = [Probe("name", lambda: name(uri.host, uri.port)), Probe("port", lambda: port(uri.host, uri.port))]
    if uri.scheme == SSH:
        found.append(Probe("host_key", lambda: _host_key(uri, connection.secrets.get("host_key", "")), 15.0))
    if uri.scheme == TLS:
        found.append(Probe("tls", lambda: _tls(uri, connection), 15.0))
    return tuple(found)


def _local_socket() -> Finding:
    here = next((path for path in SOCKETS if path.exists()), None)
    if here is None:
        return Finding("port", "socket_missing")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as handle:
        handle.settimeout(SECONDS)
        try:
            handle.connect(str(here))
        except PermissionError:
            return Finding("port", "socket_denied")
        except OSError:
            return Finding("port", "socket_refused")
    return Finding("port")


def _host_key(uri: Uri, pinned: str) -> Finding:
    shown = host_keys(uri)
    if not shown:
        return Finding("host_key", "host_key_none", {"port": str(uri.port)})
    if pinned in shown:
        return Finding("host_key", data={"fingerprint": fingerprint(pinned)})
    data = {"fingerprint": fingerprint(shown[0]), "host_key": shown[0]}
    if not pinned:
        return Finding("host_key", "host_key_unpinned", data)
    return Finding("host_key", "host_key_other", data | {"pinned": fingerprint(pinned)})


def _tls(uri: Uri, connection: Connection) -> Finding:
    try:
        with socket.create_connection((uri.host, uri.port), timeout=SECONDS) as plain:
            with _context(connection).wrap_socket(plain, server_hostname=uri.host) as secured:
                welcomed = secured.recv(1) == WELCOME
    except ssl.SSLCertVerificationError as error:
        return Finding("tls", verdict(error), {"host": uri.host})
    except TimeoutError:
        return Finding("tls", "silent")
    except ssl.SSLError as error:
        return Finding("tls", "tls_client_refused" if "ALERT" in str(error.reason) else "tls_none")
    except OSError:
        return Finding("tls", "tls_client_refused")
    return Finding("tls") if welcomed else Finding("tls", "tls_client_refused")


def _context(connection: Connection) -> ssl.SSLContext:
    # What stands around the certificates may be in any language, and is passed over; Python takes ASCII alone.
    ca = connection.ca_pem.encode("ascii", errors="replace").decode("ascii")
    context = ssl.create_default_context(cadata=ca)
    with private_folder() as folder:
        write_pki(folder, connection)
        context.load_cert_chain(folder / "clientcert.pem", folder / "clientkey.pem")
    return context
