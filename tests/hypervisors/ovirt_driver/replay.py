"""An engine's answers, given again to the SDK without any network: by path, whatever the query."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import ovirtsdk4
from lxml import etree
from ovirtsdk4 import http

from portal.hypervisors.ovirt.inventory import Inventories
from portal.hypervisors.specs import Connection
from tests.doubles.ovirt_engine import reference

PORTAL = UUID("11111111-2222-4333-8444-555555555555")
BASE = "/ovirt-engine/api"


def entry(version: str) -> str:
    """The entry point of an engine of this version; of one that does not tell where that is empty."""
    if not version:
        return "<api/>"
    major, minor, build = version.split(".")
    return f"""<api><product_info><name>oVirt Engine</name><vendor>ovirt.org</vendor>
<version><build>{build}</build><full_version>{version}-1.el8</full_version><major>{major}</major><minor>{minor}</minor></version>
</product_info></api>"""


API = entry("4.5.6")
# What is asked for and was not recorded.
EMPTY = {"events": "<events/>", "instancetypes": "<instance_types/>"}

Change = Callable[[etree._Element], None]


class Replay(ovirtsdk4.Connection):  # type: ignore[misc]
    """The SDK's connection, without any."""

    def __init__(self, bodies: dict[str, str], version: str) -> None:
        super().__init__(url=f"https://engine.example{BASE}", token="none")
        self.bodies = {"": entry(version)} | EMPTY | bodies
        self.asked: list[tuple[str, dict[str, str]]] = []

    def send(self, request: http.Request) -> http.Request:
        return request

    def wait(self, context: http.Request, failed_auth: bool = False) -> http.Response:
        path = context.path.strip("/")
        self.asked.append((path, context.query))
        body = self.bodies[path]
        if " page " in context.query.get("search", "") and not context.query["search"].endswith("page 1"):
            body = "<vms/>"
        return http.Response(body.encode(), 200, ["Content-Type: application/xml"], "OK")


class ReplaySession:
    """What the parts of the driver ask a session for."""

    def __init__(self, bodies: dict[str, str], version: str = "4.5.6") -> None:
        self.replay = Replay(bodies, version)
        self.portal_id = PORTAL
        self.connection = Connection("ovirt", f"https://engine.example{BASE}", PORTAL, PORTAL)

    def system(self) -> Any:
        return self.replay.system_service()


def inventories(bodies: dict[str, str], version: str = "4.5.6") -> Inventories:
    """The reading of these bodies from an engine of a version."""
    return Inventories(ReplaySession(bodies, version))  # type: ignore[arg-type]


def recordings(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each recording's bodies by path, with what ``follow`` would have put in their places.

    Once for each turn: the n-th answer of every address, or its last where it gave fewer. What is the same is told once.
    """
    told: dict[str, dict[str, tuple[str, ...]]] = {}
    for one in reference.recordings(folder):
        if not one.query:
            told.setdefault(one.source, {}).setdefault(one.path.strip("/"), one.bodies)
    for source, answers in told.items():
        seen: list[dict[str, str]] = []
        for turn in range(max(map(len, answers.values()))):
            bodies = {path: given[min(turn, len(given) - 1)] for path, given in answers.items()}
            if bodies not in seen:
                seen.append(bodies)
                yield f"{source}, turn {turn}", _followed(dict(bodies))


def changed(bodies: dict[str, str], change: Change) -> dict[str, str]:
    """Every body with the same thing done to it."""
    done = {}
    for path, body in bodies.items():
        root = etree.fromstring(body.encode())
        change(root)
        done[path] = etree.tostring(root, encoding="unicode")
    return done


def _followed(bodies: dict[str, str]) -> dict[str, str]:
    """``nics`` and ``disk_attachments.disk`` of machines and templates, cards of hosts, storage domains of data centers, and
    networks of clusters, in place.
    """
    disks = {disk.get("id"): disk for disk in etree.fromstring(bodies["disks"].encode())} if "disks" in bodies else {}
    within = {
        "vms": ("nics", "diskattachments"), "templates": ("diskattachments",), "datacenters": ("storagedomains",),
        "hosts": ("nics",),
        "clusters": ("networks",),
    }  # fmt: skip
    for collection, inner in within.items():
        root = etree.fromstring(bodies[collection].encode())
        for thing in root:
            for each in inner:
                body = bodies.get(f"{collection}/{thing.get('id')}/{each}")
                if body:
                    thing.append(etree.fromstring(body.encode()))
                    thing[-1].tag = (
                        "nics" if each == "nics" else thing[-1].tag
                    )  # of a host they have another name alone
            for link in thing.iterfind("disk_attachments/disk_attachment/disk"):
                if link.get("id") in disks:
                    link.extend(etree.fromstring(etree.tostring(disks[link.get("id")])))
        bodies[collection] = etree.tostring(root, encoding="unicode")
    return bodies
