"""From the SDK's types to the contract's: what every field becomes, and what becomes of fields that are not there."""

from __future__ import annotations

import pytest
from lxml import etree
from ovirtsdk4 import types

from portal.hypervisors.errors import Invalid
from portal.hypervisors.ovirt import bodies, convert, statuses
from portal.hypervisors.ovirt.marks import Mark, pin_of
from portal.hypervisors.specs import Inventory, Marker, VmSpec, VmStatus
from tests.hypervisors.ovirt_driver.replay import PORTAL, changed, inventories
from tests.hypervisors.ovirt_driver.samples import (
    BODIES,
    CENTER,
    CLUSTER,
    DISK,
    DOMAIN,
    HOST,
    ID,
    NETWORK,
    PROFILE,
    TEMPLATE,
    read,
    vm,
)

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return inventories(BODIES).inventory()


def test_who_answers_and_where_machines_run(inventory: Inventory) -> None:
    about = inventory.about
    assert (about.product, about.version, about.api_version) == ("oVirt Engine", "4.5.6-1.el8", "4.5")
    assert about.host_name == "engine.example"
    [zone], [cluster], [host] = inventory.zones, inventory.clusters, inventory.hosts
    assert (zone.external_id, zone.name, zone.status) == (CENTER, "Default", "up")
    assert (cluster.zone, cluster.cpu_type, cluster.version) == (CENTER, "Intel Nehalem Family", "4.6")
    assert cluster.memory_overcommit_percent == 150
    assert (host.cpus, host.memory_mib, host.memory_free_mib, host.status) == (16, 8192, 4096, "down")
    assert (host.cluster, host.version) == (CLUSTER, "vdsm-4.50.3")
    assert host.addresses == ("node1.example", "198.51.100.7", "192.0.2.1", "2001:db8::1")


def test_storage_has_the_status_of_where_it_is_attached(inventory: Inventory) -> None:
    data, iso = inventory.storage_domains
    assert (data.status, data.total_bytes, data.used_bytes, data.free_bytes) == ("inactive", 400, 100, 300)
    assert (data.type, data.holds_disks, data.zones) == ("nfs", True, (CENTER,))
    assert (iso.status, iso.holds_disks, iso.zones) == ("inactive", False, ())


def test_networks_have_their_profiles_and_those_for_storage_are_not_for_machines(inventory: Inventory) -> None:
    lan, storage = inventory.networks
    assert (lan.external_id, lan.zone, lan.active) == (NETWORK, CENTER, True)
    assert [profile.external_id for profile in lan.profiles] == [PROFILE]
    assert not storage.active
    assert (lan.clusters, storage.clusters) == ((CLUSTER,), ())
    hosts = convert.network(read("<network><usages><usage>vm</usage><usage>management</usage></usages></network>"))
    assert (hosts.is_management, lan.is_management, hosts.active) == (True, False, True)


def test_where_clusters_do_not_tell_their_networks_nothing_is_known_of_it() -> None:
    def without(root: etree._Element) -> None:
        for each in list(root.iterdescendants("networks")):
            each.getparent().remove(each)  # type: ignore[union-attr]

    assert [one.clusters for one in inventories(changed(BODIES, without)).inventory().networks] == [None, None]


def test_templates_have_versions_and_disks_and_the_empty_one_is_none(inventory: Inventory) -> None:
    [template] = inventory.templates
    assert (template.external_id, template.base, template.version, template.version_name) == (
        TEMPLATE,
        HOST,
        2,
        "trixie",
    )
    assert (template.status, template.memory_mib) == ("locked", 1024)
    [disk] = template.disks
    assert (disk.external_id, disk.size_bytes, disk.storage_domains, disk.bootable) == (DISK, 4096, (DOMAIN,), True)
    assert [(one.name, one.memory_mib, one.vcpus) for one in inventory.instance_types] == [("Tiny", 512, 1)]


def test_a_machine_is_what_it_is(inventory: Inventory) -> None:
    [found] = inventory.vms
    assert (found.external_id, found.name, found.status) == (str(ID), "web-1", VmStatus.UP)
    assert (found.memory_mib, found.vcpus, found.macs) == (1024, 6, ("56:6f:59:c0:00:01",))
    assert (found.disks, found.host, found.cluster) == ((DISK,), HOST, CLUSTER)
    assert (found.marker, found.is_copy) == (None, False)


def test_a_mark_is_ours_or_a_copy_of_ours() -> None:
    ours = Marker(PORTAL, ID)
    for pin, is_copy in ((pin_of(str(ID)), False), ("00000000", True), ("", True)):
        found = convert.vm(vm(comment=f"text {Mark(ours, pin).text}"), portal_id=PORTAL)
        assert (found.marker, found.is_copy) == (ours, is_copy)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("down", VmStatus.DOWN),
        ("image_illegal", VmStatus.UNKNOWN),
        ("unassigned", VmStatus.UNKNOWN),
        ("of a version to come", VmStatus.UNKNOWN),
        ("migrating", VmStatus.MIGRATING),
        ("saving_state", VmStatus.SAVING_STATE),
    ],
)
def test_statuses_have_the_engines_names(said: str, status: VmStatus) -> None:
    assert statuses.of_vm(vm(status=said)) == (status, "")


def test_why_a_machine_is_paused_is_told_and_of_a_locked_disk_one_that_is_off_is_locked() -> None:
    paused = "paused</status><status_detail>EnoSpc</status_detail><stop_reason>x</stop_reason><status>paused"
    assert statuses.of_vm(vm(status=paused)) == (VmStatus.PAUSED, "enospc")
    assert statuses.of_vm(vm(status=paused.replace("EnoSpc", "none"))) == (VmStatus.PAUSED, "")
    off = vm(status="down")
    off.disk_attachments[0].disk.status = statuses.types.DiskStatus.LOCKED
    assert statuses.of_vm(off)[0] is VmStatus.IMAGE_LOCKED
    off.status = statuses.types.VmStatus.UP
    assert statuses.of_vm(off)[0] is VmStatus.UP, "of a snapshot, say"


def test_any_field_may_be_missing_and_any_may_be_new() -> None:
    whole = inventories(BODIES).inventory()
    tags = {each.tag for body in BODIES.values() for each in etree.fromstring(body).iterdescendants()}
    lists = {etree.fromstring(body)[0].tag for body in BODIES.values()}

    def new(root: etree._Element) -> None:
        for each in list(root.iter()):
            if len(each):
                etree.SubElement(each, "of_a_version_to_come").text = "<b/>"

    assert inventories(changed(BODIES, new)).inventory() == whole
    for tag in tags - lists:

        def without(root: etree._Element, tag: str = tag) -> None:
            for each in list(root.iterdescendants(tag)):
                each.getparent().remove(each)  # type: ignore[union-attr]

        found = inventories(changed(BODIES, without)).inventory()
        assert [one.external_id for one in found.vms] == [str(ID)], tag
        assert len(found.hosts) == len(found.clusters) == len(found.zones) == 1


def test_a_topology_has_no_more_sockets_than_an_engine_takes() -> None:
    for vcpus in (1, 2, 16, 17, 24, 64, 97):
        made = bodies.topology(vcpus)
        assert made.sockets * made.cores == vcpus
        assert made.sockets <= bodies.MOST_SOCKETS
    with pytest.raises(Invalid):
        bodies.vm(VmSpec(ID, "web", "bell \x07", 1, 1, (), cluster=CLUSTER), portal_id=PORTAL)


def test_profiles_that_see_others_traffic_or_take_a_hosts_card_are_given_to_nobody() -> None:
    passed = types.VnicPassThrough(mode=types.VnicPassThroughMode.ENABLED)
    plain = types.VnicPassThrough(mode=types.VnicPassThroughMode.DISABLED)
    profiles = [
        types.VnicProfile(id=ID, name="mirror", port_mirroring=True),
        types.VnicProfile(id=HOST, name="own card", pass_through=passed),
        types.VnicProfile(id=PROFILE, name="lan", port_mirroring=False, pass_through=plain),
        types.VnicProfile(id=CENTER, name="old"),
    ]
    found = convert.network(types.Network(id=NETWORK, name="lan", vnic_profiles=profiles))
    assert [profile.name for profile in found.profiles] == ["lan", "old"]
