"""What the portal itself uses over the network, port by port with its purpose: database, message broker, directories."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from portal.hypervisors.findings import Finding
from tenants.models import Directory

SECONDS = 3.0
MOST = 40
AT_ONCE = 8
IN_ALL = 20.0  # seconds
POSTGRESQL, REDIS, LDAP, LDAPS = 5432, 6379, 389, 636


@dataclass(frozen=True, slots=True)
class OwnPort:
    """A port, and the step of a look at readiness that it is."""

    step: str
    host: str
    port: int


def wanted() -> list[OwnPort]:
    """The ports in use by the settings and the enabled directories; what is reached by a file has none."""
    return [*_of_database(), *_of_broker(), *_of_directories()][:MOST]


def _of_database() -> Iterator[OwnPort]:
    database = settings.DATABASES["default"]
    host = str(database.get("HOST") or "")
    if host and not host.startswith("/"):
        yield OwnPort("database_port", host, int(database.get("PORT") or POSTGRESQL))


def _of_broker() -> Iterator[OwnPort]:
    url = urlsplit(settings.CELERY_BROKER_URL)
    if url.scheme in {"redis", "rediss"} and url.hostname:
        yield OwnPort("broker_port", url.hostname, url.port or REDIS)


def _of_directories() -> Iterator[OwnPort]:
    for urls in Directory.objects.filter(enabled=True).order_by("name").values_list("urls", flat=True):
        for url in map(urlsplit, urls):
            yield OwnPort("directory_port", url.hostname or "", url.port or (LDAPS if url.scheme == "ldaps" else LDAP))


def look(ports: Iterable[OwnPort]) -> list[Finding]:
    """Whether something listens on each. Only a connection is opened, and closed again: nobody logs in."""
    pool, wanted = ThreadPoolExecutor(AT_ONCE), list(ports)
    asked = [pool.submit(_look, one) for one in wanted]
    wait(asked, timeout=IN_ALL)  # a dead resolver has its own idea of time
    pool.shutdown(wait=False, cancel_futures=True)
    return [
        found.result() if found.done() and not found.cancelled() else _silent(one)
        for one, found in zip(wanted, asked, strict=True)
    ]


def _silent(one: OwnPort) -> Finding:
    return Finding(one.step, "port_unreachable", {"host": one.host, "port": str(one.port)})


def _look(one: OwnPort) -> Finding:
    data = {"host": one.host, "port": str(one.port)}
    try:
        socket.create_connection((one.host, one.port), timeout=SECONDS).close()
    except (socket.gaierror, UnicodeError):
        return Finding(one.step, "name_unknown", data)
    except ConnectionRefusedError:
        return Finding(one.step, "port_closed", data)
    except OSError:
        return Finding(one.step, "port_unreachable", data)
    return Finding(one.step, data=data)
