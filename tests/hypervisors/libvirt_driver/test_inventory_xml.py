"""What makes a pool the same on two hosts, which interfaces are bridges, what a network's XML says of its ranges."""

from __future__ import annotations

from uuid import UUID, uuid4

import libvirt
import pytest

from portal.hypervisors.errors import Unavailable
from portal.hypervisors.libvirt.failures import refuse_silence
from portal.hypervisors.libvirt.network_xml import read_bridge, read_network
from portal.hypervisors.libvirt.processor import features_of
from portal.hypervisors.libvirt.storage_xml import UNREAD, read_pool
from portal.hypervisors.libvirt.xml import parse

NFS = "<pool type='netfs'><name>{}</name><source><host name='{}'/><dir path='{}'/><format type='nfs'/></source></pool>"
RBD = "<pool type='rbd'><name>a</name><source><name>vms</name><host name='{}'/><host name='{}' port='6789'/></source></pool>"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (NFS.format("a", "nas", "/export"), NFS.format("b", "NAS", "/export/"), True),
        (NFS.format("a", "nas", "/export"), NFS.format("a", "nas2", "/export"), False),
        (NFS.format("a", "nas", "/export"), NFS.format("a", "nas", "/other"), False),
        (RBD.format("mon1", "mon2"), RBD.format("mon2", "mon1"), True),
        (RBD.format("mon1", "mon2"), RBD.format("mon1", "mon3"), False),
    ],
)
def test_a_pool_is_the_same_where_its_source_is(one: str, other: str, same: bool) -> None:
    assert (read_pool(one).shared_source == read_pool(other).shared_source) is same
    assert read_pool(one).shared_source


@pytest.mark.parametrize(
    "text",
    [
        "<pool type='dir'><name>a</name><target><path>/mnt/nas</path></target></pool>",
        "<pool type='logical'><name>a</name><source><device path='/dev/sdb'/><name>vg</name></source></pool>",
        "<pool type='netfs'><name>a</name></pool>",
        "<pool><name>a</name></pool>",
    ],
)
def test_what_a_host_alone_has_is_shared_with_nobody(text: str) -> None:
    assert read_pool(text).shared_source == ""
    assert bool(read_pool(text).why_no_disks(UUID(int=0))) is ("logical" in text)


@pytest.mark.parametrize(
    ("kind", "holds_disks", "tells_use", "is_read"),
    [
        ("dir", True, True, True),
        ("netfs", True, True, True),
        ("logical", False, True, True),
        ("gluster", False, True, False),
        ("rbd", False, True, False),
        ("iscsi", False, False, True),
        ("iscsi-direct", False, False, False),
        ("scsi", False, False, True),
    ],
)
def test_what_can_be_made_and_read_in_a_pool_is_told_by_its_type(
    kind: str, *, holds_disks: bool, tells_use: bool, is_read: bool
) -> None:
    facts = read_pool(f"<pool type='{kind}'><name>a</name></pool>")
    found = (not facts.why_no_disks(UUID(int=0)), facts.tells_use, kind not in UNREAD)
    assert found == (holds_disks, tells_use, is_read)


def test_disks_are_made_in_no_pool_of_another_portals() -> None:
    ours, pool = UUID(int=0x5E << 120), "<pool type='dir'><name>{}</name></pool>"
    for name in ("stegi-5e000000", "stegi-5e000000-more", "stegi-lab", "default"):
        assert read_pool(pool.format(name)).why_no_disks(ours) == ""
    for name in ("stegi-12345678", "stegi-12345678-more"):
        assert "another portal's" in read_pool(pool.format(name)).why_no_disks(ours)


def test_a_bridge_is_read_with_its_cards_and_other_interfaces_are_none() -> None:
    bridge = read_bridge(
        "<interface type='bridge' name='br0'><bridge><interface type='ethernet' name='eth1'/>"
        "<interface type='ethernet' name='eth0'/></bridge></interface>"
    )
    assert bridge is not None
    assert (bridge.name, bridge.members) == ("br0", ("eth0", "eth1"))
    assert read_bridge("<interface type='ethernet' name='eth0'/>") is None


@pytest.mark.parametrize(("forward", "told"), [("", ""), ("<forward/>", "nat"), ("<forward mode='bridge'/>", "bridge")])
def test_a_network_tells_where_it_leads_and_all_its_ranges(forward: str, told: str) -> None:
    facts = read_network(
        f"<network><name>x</name><uuid>{uuid4()}</uuid>{forward}<ip family='ipv6' address='fd00::1' prefix='64'/>"
        "<ip address='10.1.2.3' netmask='255.255.255.0'/><ip address='10.9.0.1' prefix='16'/></network>"
    )
    assert (facts.forward, facts.cidr) == (told, "10.1.2.0/24")
    assert facts.ranges == ("fd00::/64", "10.1.2.0/24", "10.9.0.0/16")


def test_features_that_are_switched_off_are_not_there() -> None:
    text = "<cpu><feature policy='require' name='b'/><feature name='a'/><feature policy='disable' name='c'/></cpu>"
    assert features_of(parse(text)) == ("a", "b")


def test_only_a_connection_that_broke_stops_what_could_do_without() -> None:
    broken = libvirt.libvirtError("x")
    broken.err = (libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_FROM_REMOTE, "gone", 0, "", "", "", 0, 0)
    with pytest.raises(Unavailable):
        refuse_silence(broken, what="try")
    lacking = libvirt.libvirtError("x")
    lacking.err = (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_INTERFACE, "no such", 0, "", "", "", 0, 0)
    refuse_silence(lacking, what="try")
