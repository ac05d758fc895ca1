"""What stands between here and an engine, looked at step by step: its name, its port, its proof of who it is.

Nothing is sent there that anybody may not know: the log-in comes after its certificate was found good.
"""

from __future__ import annotations

from portal.hypervisors.findings import Finding, Probe
from portal.hypervisors.ovirt.address import Engine, parsed
from portal.hypervisors.ovirt.certificates import (
    TlsFault,
    fault_of,
    fetched_ca,
    fingerprint,
    pem_of,
    read,
    shown_fingerprint,
)
from portal.hypervisors.reaching import name, port
from portal.hypervisors.specs import Connection

TLS_SECONDS = 20.0
# Where there is another CA, these stand in the way of telling which.
NOTHING_SHOWN = {"silent", "tls_none"}


def probes(connection: Connection) -> tuple[Probe, ...]:
    """The looks for this address; none for one that is not taken."""
    engine = parsed(connection.address)
    if isinstance(engine, str):
        return ()
    return (
        Probe("name", lambda: name(engine.host, engine.port)),
        Probe("port", lambda: port(engine.host, engine.port)),
        Probe("tls", lambda: _tls(engine, connection.ca_pem), TLS_SECONDS),
    )


def _tls(engine: Engine, ca_pem: str) -> Finding:
    trusted = read(ca_pem)
    if not trusted:
        return _unpinned(engine)
    fault = fault_of(engine, trusted)
    pinned = [fingerprint(each) for each in trusted]
    if fault == "tls_other_ca":
        return _other(engine, pinned)
    return Finding("tls", fault, {"host": engine.host, "fingerprint": ", ".join(pinned)})


def _unpinned(engine: Engine) -> Finding:
    """The engine's own CA, to be compared and pinned; not where that would not help."""
    found, fault = _own_ca(engine)
    return Finding("tls", fault or "ca_unpinned", found | {"host": engine.host})


def _other(engine: Engine, pinned: list[str]) -> Finding:
    """The fingerprints of what is pinned (of several all) and of what is there, and the CA to pin in the place of the other where the engine gives one that vouches for it."""
    found, fault = _own_ca(engine)
    if fault in NOTHING_SHOWN or found.get("fingerprint") in pinned:
        return Finding("tls", fault, found | {"host": engine.host})
    if not fault:
        return Finding("tls", "ca_other", found | {"pinned": ", ".join(pinned)})
    shown = {"fingerprint": shown_fingerprint(engine), "pinned": ", ".join(pinned)}
    return Finding("tls", "certificate_other", shown)


def _own_ca(engine: Engine) -> tuple[dict[str, str], str]:
    """The CA that the engine gives, and the code of why it is no good for the certificate that it shows."""
    try:
        ca = fetched_ca(engine)
    except TlsFault as error:
        return {}, error.code
    if ca is None:
        return {}, "ca_none"
    found = {"fingerprint": fingerprint(ca)}
    fault = fault_of(engine, [ca])
    if fault == "tls_other_ca":
        return found, "ca_not_signer"
    return (found, fault) if fault else (found | {"ca_pem": pem_of(ca)}, "")
