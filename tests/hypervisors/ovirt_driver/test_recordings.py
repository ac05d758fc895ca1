"""Answers that real engines gave, read without loss or crash: as they are, with fields removed, and with unknown ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from portal.hypervisors.specs import Inventory
from tests.hypervisors.ovirt_driver.replay import changed, inventories, recordings

pytestmark = [pytest.mark.once, pytest.mark.long]


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


def test_everything_that_an_engine_told_is_found(reference_folder: Path) -> None:
    count = 0
    for name, bodies in recordings(reference_folder):
        found = inventories(bodies).inventory()
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


def test_no_field_is_needed_and_none_is_too_many(reference_folder: Path) -> None:
    for name, bodies in recordings(reference_folder):
        whole = inventories(bodies).inventory()

        def new(root: etree._Element) -> None:
            for each in list(root.iter()):
                if len(each):
                    etree.SubElement(each, "of_a_version_to_come").text = "x"

        assert inventories(changed(bodies, new)).inventory() == whole, name
        kept = {path: body for path, body in bodies.items() if "/" not in path}
        items = {
            etree.fromstring(body.encode())[0].tag for body in kept.values() if len(etree.fromstring(body.encode()))
        }
        tags = {each.tag for body in kept.values() for each in etree.fromstring(body.encode()).iterdescendants()}
        for tag in sorted(map(str, tags - items)):

            def without(root: etree._Element, tag: str = tag) -> None:
                for each in list(root.iterdescendants(tag)):
                    each.getparent().remove(each)  # type: ignore[union-attr]

            assert lists(inventories(changed(kept, without)).inventory()) == lists(whole), (name, tag)
