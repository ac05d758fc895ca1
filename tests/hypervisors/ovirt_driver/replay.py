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
API = """<api><product_info><name>oVirt Engine</name><vendor>ovirt.org</vendor>
<version><build>6</build><full_version>4.5.6-1.el8</full_version><major>4</major><minor>5</minor></version>
</product_info></api>"""
# What is asked for and was not recorded.
EMPTY = {"events": "<events/>", "instancetypes": "<instance_types/>"}

Change = Callable[[etree._Element], None]


class Replay(ovirtsdk4.Connection):  # type: ignore[misc]
    """The SDK's connection, without any."""

    def __init__(self, bodies: dict[str, str]) -> None:
        super().__init__(url=f"https://engine.example{BASE}", token="none")
        self.bodies = {"": API} | EMPTY | bodies
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

    def __init__(self, bodies: dict[str, str]) -> None:
        self.replay = Replay(bodies)
        self.portal_id = PORTAL
        self.connection = Connection("ovirt", f"https://engine.example{BASE}", PORTAL, PORTAL)

    def system(self) -> Any:
        return self.replay.system_service()


def inventories(bodies: dict[str, str]) -> Inventories:
    """The reading of these bodies."""
    return Inventories(ReplaySession(bodies))  # type: ignore[arg-type]


def recordings(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each recording's bodies by path, with what ``follow`` would have put in their places."""
    told: dict[str, dict[str, str]] = {}
    for one in reference.recordings(folder):
        if not one.query:
            told.setdefault(one.source, {}).setdefault(one.path.strip("/"), one.bodies[0])
    for source, bodies in told.items():
        yield source, _followed(bodies)


def changed(bodies: dict[str, str], change: Change) -> dict[str, str]:
    """Every body with the same thing done to it."""
    done = {}
    for path, body in bodies.items():
        root = etree.fromstring(body.encode())
        change(root)
        done[path] = etree.tostring(root, encoding="unicode")
    return done


def _followed(bodies: dict[str, str]) -> dict[str, str]:
    """``nics`` and ``disk_attachments.disk`` of machines and templates, storage domains of data centers, and networks of
    clusters, in place.
    """
    disks = {disk.get("id"): disk for disk in etree.fromstring(bodies["disks"].encode())} if "disks" in bodies else {}
    within = {
        "vms": ("nics", "diskattachments"), "templates": ("diskattachments",), "datacenters": ("storagedomains",),
        "clusters": ("networks",),
    }  # fmt: skip
    for collection, inner in within.items():
        root = etree.fromstring(bodies[collection].encode())
        for thing in root:
            for each in inner:
                body = bodies.get(f"{collection}/{thing.get('id')}/{each}")
                if body:
                    thing.append(etree.fromstring(body.encode()))
            for link in thing.iterfind("disk_attachments/disk_attachment/disk"):
                if link.get("id") in disks:
                    link.extend(etree.fromstring(etree.tostring(disks[link.get("id")])))
        bodies[collection] = etree.tostring(root, encoding="unicode")
    return bodies
