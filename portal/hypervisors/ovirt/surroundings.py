"""What else an engine needs to be a good one: a name that leads there and back, and a right clock."""

from __future__ import annotations

import http.client
import ssl
import time
from email.utils import parsedate_to_datetime

from portal.hypervisors.findings import Finding, Probe
from portal.hypervisors.ovirt.address import Engine, parsed
from portal.hypervisors.ovirt.certificates import CA_PATH, trusting
from portal.hypervisors.reaching import SECONDS, name_back, skew
from portal.hypervisors.specs import Connection

# A Date header tells no parts of a second.
RESOLUTION_SECONDS = 1.0


def probes(connection: Connection) -> tuple[Probe, ...]:
    """The looks for this address; none for one that is not taken."""
    engine = parsed(connection.address)
    if isinstance(engine, str):
        return ()
    return (
        Probe("name_back", lambda: name_back(engine.host), 15.0),
        Probe("clock", lambda: _clock(engine, trusting(connection.ca_pem))),
    )


def _clock(engine: Engine, context: ssl.SSLContext) -> Finding:
    """By the date that every answer bears."""
    before = time.time()
    told = _date(engine, context)
    after = time.time()
    if told is None:
        return Finding("clock", "clock_not_told")
    off = skew(told, before=before - RESOLUTION_SECONDS, after=after)
    return Finding("clock", data={"skew_seconds": f"{off:.0f}"})


def _date(engine: Engine, context: ssl.SSLContext) -> float | None:
    asking = http.client.HTTPSConnection(engine.host, engine.port, timeout=SECONDS, context=context)
    try:
        asking.request("HEAD", CA_PATH)
        return parsedate_to_datetime(asking.getresponse().headers.get("Date", "")).timestamp()
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        asking.close()
