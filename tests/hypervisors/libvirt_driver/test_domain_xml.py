"""A machine's XML: what is asked for and nothing else, whichever way it got in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lxml import etree

from portal.hypervisors.errors import Invalid
from portal.hypervisors.libvirt.domain_xml import (
    ALLOWED,
    LISTEN,
    LONG_AGO,
    DiskSource,
    NicSource,
    OwnDisk,
    domain,
    read_domain,
    refuse_unknown,
    vnc_with_password,
)
from portal.hypervisors.libvirt.xml import parse
from portal.hypervisors.specs import Marker
from tests.hypervisors.libvirt_driver.samples import MARKUP, NOT_FOR_XML, PORTAL, UID, parts, spec

QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
# What would reach the host's files, devices, network or program, put where libvirt takes it.
SMUGGLED = {
    "qemu:commandline": (".", f"<q:commandline xmlns:q='{QEMU}'><q:arg value='-device'/></q:commandline>"),
    "hostdev": ("devices", "<hostdev mode='subsystem' type='pci'><source/></hostdev>"),
    "filesystem": ("devices", "<filesystem type='mount'><source dir='/'/><target dir='root'/></filesystem>"),
    "a block disk": ("devices", "<disk type='block' device='disk'><source dev='/dev/sda'/></disk>"),
    "a file disk": ("devices", "<disk type='file' device='disk'><source file='/etc/shadow'/></disk>"),
    "a network disk": ("devices", "<disk type='network' device='disk'><source protocol='nbd' name='x'/></disk>"),
    "a disk's own path": ("devices/disk", "<source file='/etc/shadow'/>"),
    "a backing store": ("devices/disk", "<backingStore type='file'><source file='/etc/shadow'/></backingStore>"),
    "emulator": ("devices", "<emulator>/tmp/qemu</emulator>"),
    "loader": ("os", "<loader>/tmp/firmware</loader>"),
    "nvram": ("os", "<nvram template='/etc/shadow'>/tmp/x</nvram>"),
    "kernel": ("os", "<kernel>/etc/shadow</kernel>"),
    "init": ("os", "<init>/bin/sh</init>"),
    "seclabel": (".", "<seclabel type='none'/>"),
    "user interface": ("devices", "<interface type='user'><mac address='52:54:00:00:00:03'/></interface>"),
    "a bridge": ("devices", "<interface type='bridge'><source bridge='br0'/></interface>"),
    "a card on the host's": ("devices", "<interface type='direct'><source dev='eth0'/></interface>"),
    "an interface's script": ("devices/interface", "<script path='/tmp/x'/>"),
    "a file as serial port": ("devices", "<serial type='file'><source path='/etc/passwd'/></serial>"),
    "a socket as channel": ("devices", "<channel type='unix'><source mode='connect' path='/run/x'/></channel>"),
    "graphics for all": ("devices", "<graphics type='vnc' listen='0.0.0.0'/>"),
    "tpm": ("devices", "<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"),
    "shared memory": ("devices", "<shmem name='x'/>"),
    "redirected USB": ("devices", "<redirdev bus='usb' type='tcp'/>"),
    "launch security": (".", "<launchSecurity type='sev'/>"),
    "cpu tuning": (".", "<cputune><shares>9999</shares></cputune>"),
    "xi:include": (".", "<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='/etc/passwd'/>"),
    "an attribute": ("devices/disk", None),
    "another type": (".", None),
}


@pytest.fixture
def root() -> etree._Element:
    return etree.fromstring(domain(spec(), parts()))


def paths(element: etree._Element, path: str = "") -> Iterator[str]:
    """The path of every element."""
    yield path
    for child in element:
        yield from paths(child, f"{path}/{child.tag}".lstrip("/"))


def test_a_machine_is_what_was_asked_for(root: etree._Element) -> None:
    assert root.findtext("name") == "web-1-aaaaaaaa"
    assert root.findtext("uuid") == str(UID)
    assert [source.get("volume") for source in root.iterfind("devices/disk/source")] == ["disk.qcow2", "first-boot.iso"]
    assert [target.get("dev") for target in root.iterfind("devices/disk/target")] == ["vda", "vdb"]
    assert [disk.find("readonly") is not None for disk in root.iterfind("devices/disk")] == [False, True]
    assert [nic.find("filterref") is not None for nic in root.iterfind("devices/interface")] == [True, False]
    assert root.find("devices/interface/filterref/parameter").get("value") == "10.98.0.2"


def test_CO15_there_is_always_a_display_password_and_the_first_ran_out_long_ago(root: etree._Element) -> None:  # noqa: N802
    graphics = root.find("devices/graphics")
    assert (graphics.get("passwd"), graphics.get("passwdValidTo")) == ("s3cret-8", LONG_AGO)
    assert graphics.get("listen") == graphics.find("listen").get("address") == LISTEN == "127.0.0.1"


def test_what_is_read_is_what_was_written() -> None:
    facts = read_domain(domain(spec(), parts(accelerator="kvm")))
    assert (facts.name, facts.uuid, facts.marker) == ("web-1-aaaaaaaa", UID, Marker(PORTAL, UID))
    assert (facts.memory_mib, facts.vcpus, facts.accelerated) == (256, 2, True)
    assert facts.nics == (("52:54:00:00:00:01", "lan"), ("52:54:00:00:00:02", "wan"))
    assert facts.disks == ("disk.qcow2", "first-boot.iso")
    assert (facts.vnc_port, facts.agent_connected) == (0, False)


@pytest.mark.parametrize(("unit", "mib"), [("KiB", 0), ("MiB", 3), ("GiB", 3072), ("bytes", 0), ("M", 3), ("?", 0)])
def test_memory_in_every_unit(unit: str, mib: int) -> None:
    assert read_domain(f"<domain><uuid>{UID}</uuid><memory unit='{unit}'>3</memory></domain>").memory_mib == mib


# -- IN02


@pytest.mark.parametrize("text", MARKUP)
def test_IN02_a_description_is_one_element_and_adds_no_node(root: etree._Element, text: str) -> None:  # noqa: N802
    other = parse(domain(spec(description=text), parts()))
    assert [each.text for each in other.iter("description")] == [text]
    assert list(paths(other)) == list(paths(root))


@pytest.mark.parametrize("text", NOT_FOR_XML)
def test_IN02_a_description_that_xml_cannot_carry_is_invalid(text: str) -> None:  # noqa: N802
    with pytest.raises(Invalid):
        domain(spec(description=text), parts())


@pytest.mark.parametrize("text", MARKUP)
def test_names_of_all_kinds_add_no_node_either(root: etree._Element, text: str) -> None:
    disks = (DiskSource(text, text), DiskSource(text, text, "raw", read_only=True))
    nics = (NicSource(text, text, text, text), NicSource(text, text))
    other = parse(domain(spec(name=text), parts(disks=disks, nics=nics, password=text)))
    assert list(paths(other)) == list(paths(root))


# -- IN03


@pytest.mark.parametrize("what", SMUGGLED)
def test_IN03_what_is_not_on_the_list_cannot_be_defined(root: etree._Element, what: str) -> None:  # noqa: N802
    where, text = SMUGGLED[what]
    place = root.find(where)
    if text is not None:
        place.append(etree.fromstring(text))
    elif what == "another type":
        place.set("type", "xen")
    else:
        place.set("rawio", "yes")
    with pytest.raises(Invalid) as refused:
        refuse_unknown(root)
    assert refused.value.detail.startswith("domain XML holds what it must not: ")


def test_IN03_a_card_is_on_the_bridge_that_was_asked_for_and_on_no_other() -> None:  # noqa: N802
    root = etree.fromstring(domain(spec(), parts(nics=(NicSource("52:54:00:00:00:01", "", "filter", bridge="br0"),))))
    [nic] = root.iterfind("devices/interface")
    assert (nic.get("type"), dict(nic.find("source").attrib)) == ("bridge", {"bridge": "br0"})
    assert nic.find("filterref").get("filter") == "filter"
    refuse_unknown(root, bridges=["br0"])
    for bridges in ((), ["br1"]):
        with pytest.raises(Invalid):
            refuse_unknown(root, bridges=bridges)


def test_IN03_values_of_our_own_types_are_held_against_the_list_too() -> None:  # noqa: N802
    with pytest.raises(Invalid):
        domain(spec(), parts(disks=(DiskSource("pool", "x", "vmdk"),)))


def test_IN03_the_list_holds_nothing_that_is_not_needed() -> None:  # noqa: N802
    built = {
        path
        for accelerator in ("kvm", "tcg")
        for path in paths(etree.fromstring(domain(spec(), parts(accelerator=accelerator))))
    }
    assert built == set(ALLOWED)


# -- the display


RUNNING = """<domain><devices><graphics type='spice' port='5901'/>
<graphics type='vnc' port='5900' autoport='yes' listen='127.0.0.1' keymap='el' passwd='old' passwdValidTo='1970-01-01T00:00:01'>
<listen type='address' address='127.0.0.1'/></graphics></devices></domain>"""


def test_a_new_password_changes_nothing_else() -> None:
    before = parse(RUNNING).find("devices/graphics[@type='vnc']")
    text = vnc_with_password(RUNNING, password="n3w", valid_to="2030-01-01T00:00:00")
    assert text is not None
    after = parse(text)
    assert dict(after.attrib) == dict(before.attrib) | {"passwd": "n3w", "passwdValidTo": "2030-01-01T00:00:00"}
    assert [dict(child.attrib) for child in after] == [dict(child.attrib) for child in before]


def test_a_machine_without_a_display_has_no_password() -> None:
    assert vnc_with_password("<domain><devices/></domain>", password="n3w", valid_to="2030-01-01T00:00:00") is None


@pytest.mark.parametrize("port", ["-1", "", "²", "5900x", "9" * 30])
def test_a_port_that_is_none_is_0(port: str) -> None:
    text = f"<domain><uuid>{UID}</uuid><devices><graphics type='vnc' port='{port}'/></devices></domain>"
    assert read_domain(text).vnc_port == 0


def test_only_what_a_machine_writes_on_counts_as_its_disk() -> None:
    disks = """<disk type='file'><source file='/a'/><target dev='vda'/></disk>
    <disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vdb'/></disk>
    <disk type='file' device='cdrom'><source file='/c'/><target dev='sda'/><readonly/></disk>
    <disk type='file' device='disk'><source file='/d'/><target dev='vdc'/><readonly/></disk>
    <disk type='file' device='disk'><target dev='vdd'/></disk>"""
    found = read_domain(f"<domain><uuid>{UID}</uuid><devices>{disks}</devices></domain>").own_disks
    assert found == (OwnDisk("vda", "", ""), OwnDisk("vdb", "p", "v"))
