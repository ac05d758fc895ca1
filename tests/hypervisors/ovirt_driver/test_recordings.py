"""Answers that real engines gave, read without loss or crash: as they are, with fields removed, and with unknown ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from ovirtsdk4 import types
from ovirtsdk4.reader import Reader

from portal.hypervisors.displays import ENGINE_PORTS, Home, Reach, checked
from portal.hypervisors.ovirt import convert
from portal.hypervisors.ovirt.consoles import _addresses
from portal.hypervisors.specs import ConsoleTarget, Inventory
from tests.doubles.ovirt_engine import reference
from tests.hypervisors.ovirt_driver.replay import PORTAL, changed, inventories, recordings

pytestmark = [pytest.mark.once, pytest.mark.long]


# Of the entry point; one does not tell.
VERSIONS = ("4.3.10", "4.4.10", "4.5.6", "")
CONVERTED: dict[type[Any], Callable[[Any], Any]] = {
    types.DataCenter: convert.zone,
    types.Cluster: convert.cluster,
    types.Host: convert.host,
    types.StorageDomain: lambda one: convert.storage_domain(one, {}),
    types.Network: convert.network,
    types.Template: convert.template,
    types.Vm: lambda one: convert.vm(one, portal_id=PORTAL),
}


def ids(body: str) -> list[str]:
    return [str(thing.get("id")) for thing in etree.fromstring(body.encode())]


def lists(found: Inventory) -> dict[str, list[str]]:
    kinds = {
        "vms": found.vms,
        "hosts": found.hosts,
        "clusters": found.clusters,
        "datacenters": found.zones,
        "storagedomains": found.storage_domains,
        "networks": found.networks,
        "templates": found.templates,
    }
    return {kind: sorted(one.external_id for one in things) for kind, things in kinds.items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_that_an_engine_told_is_found(reference_folder: Path, version: str) -> None:
    count = 0
    for name, bodies in recordings(reference_folder):
        found = inventories(bodies, version).inventory()
        assert found.about.api_version == (version.rpartition(".")[0] or "unknown")
        for kind, there in lists(found).items():
            known = [one for one in ids(bodies[kind]) if not (kind == "templates" and set(one) <= set("0-"))]
            assert there == sorted(known), (name, kind)
        assert all(host.cpus and host.memory_mib and host.cluster for host in found.hosts if host.status == "up"), name
        assert all(vm.memory_mib and vm.vcpus and vm.cluster for vm in found.vms), name
        said = etree.fromstring(bodies["vms"].encode()).iterfind("vm/status")
        assert sorted(vm.status for vm in found.vms) == sorted(str(status.text) for status in said), name
        assert all(template.vcpus and template.base for template in found.templates), name
        macs = etree.fromstring(bodies["vms"].encode()).iterfind("vm/nics/nic/mac/address")
        assert sorted(mac for vm in found.vms for mac in vm.macs) == sorted(str(mac.text) for mac in macs), name
        disks = etree.fromstring(bodies["vms"].encode()).iterfind("vm/disk_attachments/disk_attachment/disk")
        assert sorted(disk for vm in found.vms for disk in vm.disks) == sorted(str(disk.get("id")) for disk in disks), (
            name
        )
        centers = etree.fromstring(bodies["datacenters"].encode())
        told = {one.get("id"): one.findtext("status") for one in centers.iterfind("data_center/storage_domains/*")}
        statuses = {domain.external_id: domain.status for domain in found.storage_domains}
        assert all((statuses[str(uid)] == "active") == (status == "active") for uid, status in told.items()), name
        count += len(found.vms)
    assert count > 10


def test_IN09_real_displays_listen_on_an_address_of_a_host_and_a_port_of_an_engines(reference_folder: Path) -> None:  # noqa: N802
    count = 0
    for name, bodies in recordings(reference_folder):
        homes = tuple(Home(host.addresses) for host in inventories(bodies).inventory().hosts)
        for display in etree.fromstring(bodies["vms"].encode()).iterfind("vm/display[address]"):
            port = int(display.findtext("port") or display.findtext("secure_port") or 0)
            told = ConsoleTarget("vnc", str(display.findtext("address")), port)
            assert checked(told, Reach(ENGINE_PORTS, homes=homes)).host == told.host, name
            count += 1
    assert count > 3


def test_no_field_is_needed_and_none_is_too_many(reference_folder: Path) -> None:
    last = {name.partition(",")[0]: bodies for name, bodies in recordings(reference_folder)}  # of each file's turns
    for name, bodies in last.items():
        whole = inventories(bodies).inventory()

        def new(root: etree._Element) -> None:
            for thing in list(root.iter()):
                if len(thing):
                    etree.SubElement(thing, "of_a_version_to_come").text = "x"

        assert inventories(changed(bodies, new)).inventory() == whole, name
        kept = {path: body for path, body in bodies.items() if "/" not in path}
        items = {
            etree.fromstring(body.encode())[0].tag for body in kept.values() if len(etree.fromstring(body.encode()))
        }
        tags = {thing.tag for body in kept.values() for thing in etree.fromstring(body.encode()).iterdescendants()}
        for tag in sorted(map(str, tags - items)):

            def without(root: etree._Element, tag: str = tag) -> None:
                for thing in list(root.iterdescendants(tag)):
                    thing.getparent().remove(thing)  # type: ignore[union-attr]

            less = kept | changed({path: body for path, body in kept.items() if f"<{tag}" in body}, without)
            assert lists(inventories(less).inventory()) == lists(whole), (name, tag)


def answers(folder: Path, last: str = "") -> Iterator[tuple[str, str]]:
    """Every body of the addresses that end so, however often and with whatever query they were asked for."""
    for one in reference.recordings(folder):
        if one.path.endswith(last):
            yield from ((f"{one.source} {one.path}", body) for body in one.bodies)


def each(body: str) -> list[Any]:
    read = Reader.read(body)
    return list(read) if isinstance(read, list) else [read]


def test_whatever_was_asked_for_and_however_is_converted(reference_folder: Path) -> None:
    seen: set[type[Any]] = set()
    for name, body in answers(reference_folder):
        for one in each(body):
            if type(one) in CONVERTED:
                seen.add(type(one))
                assert CONVERTED[type(one)](one).external_id == one.id, name
    assert seen == set(CONVERTED)


def test_every_disk_is_a_volume_of_its_size_and_the_engines_own_are_none(reference_folder: Path) -> None:
    count = 0
    for name, body in answers(reference_folder, "/disks"):
        for told, one in zip(etree.fromstring(body.encode()), each(body), strict=True):
            is_data = told.findtext("content_type") in {None, "data", "iso"}
            found = convert.volume(one, storage_domain="pool", portal_id=PORTAL)
            assert (found is not None) == is_data, name
            if found is not None:
                count += 1
                sizes = int(told.findtext("provisioned_size") or 0), int(told.findtext("actual_size") or 0)
                assert (found.external_id, found.size_bytes, found.allocated_bytes) == (told.get("id"), *sizes), name
                assert found.format == {"cow": "qcow2", "raw": "raw"}[str(told.findtext("format"))], name
                assert found.uid is None, name
    assert count > 10


def test_every_address_that_a_guest_reported_is_told_of_the_card_that_has_it(reference_folder: Path) -> None:
    count = 0
    for name, body in answers(reference_folder, "/reporteddevices"):
        devices = etree.fromstring(body.encode())
        told = [
            (device.findtext("mac/address"), str(ip.findtext("address")))
            for device in devices
            for ip in device.iterfind("ips/ip")
            if not (
                ip_address(str(ip.findtext("address"))).is_link_local or ip.findtext("address") in {"127.0.0.1", "::1"}
            )
        ]
        macs = {str(device.findtext("mac/address")) for device in devices}
        assert [(one.mac, one.ip) for one in _addresses(each(body), macs)] == told, name
        count += len(told)
    assert count > 3
