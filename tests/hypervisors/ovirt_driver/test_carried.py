"""What the driver reads in answers that real engines gave, the double's answers carry too: else nothing here would try it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ovirtsdk4.reader import Reader

from portal.hypervisors.ovirt import convert
from portal.hypervisors.ovirt.consoles import _addresses
from portal.hypervisors.ovirt.inventory import Inventories
from tests.doubles.ovirt_engine import reference
from tests.doubles.ovirt_engine.institute import key
from tests.hypervisors.ovirt_driver.replay import PORTAL, ReplaySession, recordings
from tests.hypervisors.ovirt_driver.traced import Paths, TracedSession, traced
from tests.hypervisors.ovirt_driver.world import RUNNING, Engine

pytestmark = [pytest.mark.once, pytest.mark.long]


def read_all(session: Any, paths: Paths) -> None:
    Inventories(TracedSession(session, paths)).inventory()  # type: ignore[arg-type]


def read_volumes(disks: Iterable[Any], paths: Paths) -> None:
    for one in traced(list(disks), "disks", paths):
        convert.volume(one, storage_domain="pool", portal_id=PORTAL)
        convert.disk(one, portal_id=PORTAL)


def read_addresses(devices: Iterable[Any], paths: Paths) -> None:
    listed = list(devices)
    macs = {convert.mac_of(one) for one in listed}
    assert list(_addresses(traced(listed, "reporteddevices", paths), macs)) or not listed


def recorded(folder: Path) -> Paths:
    paths: Paths = set()
    for _name, bodies in recordings(folder):
        read_all(ReplaySession(bodies), paths)
    for one in reference.recordings(folder):
        for body in one.bodies:
            if one.path.endswith("/disks"):
                read_volumes(Reader.read(body), paths)
            elif one.path.endswith("/reporteddevices"):
                read_addresses([each for each in Reader.read(body) if each.ips], paths)
    return paths


def test_what_is_read_in_recordings_the_double_carries(engine: Engine, reference_folder: Path) -> None:
    engine.double.put(
        "storagedomains", key("storagedomains", "exports"), data_center=""
    )  # detached by an administrator
    system = engine.driver._session.system()
    paths: Paths = set()
    read_all(engine.driver._session, paths)
    read_volumes(system.disks_service().list(), paths)
    read_addresses(system.vms_service().vm_service(RUNNING).reported_devices_service().list(), paths)

    real = {path for path in recorded(reference_folder) if not path.startswith(".")}  # the entry point was not recorded
    assert len(real) > 50
    assert {path.partition(".")[0] for path in real} >= {"vms", "hosts", "templates", "disks", "reporteddevices"}
    assert not sorted(real - paths)
