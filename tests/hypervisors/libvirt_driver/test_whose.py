"""What libvirt tells of itself and of our own things, by its driver that keeps everything in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import libvirt
import pytest

from portal.hypervisors.errors import NotFound
from portal.hypervisors.libvirt import copies, names
from portal.hypervisors.libvirt.driver import LibvirtDriver
from portal.hypervisors.libvirt.xml import parse
from portal.hypervisors.specs import Connection, NicSpec

PORTAL = UUID("11111111-2222-3333-4444-555555555555")
POOL = "default-pool"
MAIL = """<domain type='test'><name>mail</name><uuid>0d6b1f3e-5a77-4f0e-9a52-3f1c2b7d9e10</uuid><memory>8192</memory>
<os><type>hvm</type></os><devices><disk type='file'><source file='{path}'/><target dev='hda'/></disk></devices></domain>"""


@pytest.fixture
def driver() -> Iterator[LibvirtDriver]:
    connection = Connection(kind="libvirt", address="test:///default", portal_id=PORTAL, provider_uid=uuid4())
    driver = LibvirtDriver(connection)
    yield driver
    driver.close()


def test_the_folder_of_our_own_pool_is_no_volume_to_make_a_template_of(driver: LibvirtDriver) -> None:
    pool = driver._session.libvirt().storagePoolLookupByName(POOL)
    made = [
        pool.createXML(f"<volume><name>{name}</name><capacity>1</capacity></volume>")
        for name in ("golden", names.prefix(PORTAL))
    ]
    try:
        assert [row.external_id for row in driver.volumes(POOL)] == ["golden"]
    finally:
        for volume in made:
            volume.delete()


def test_disks_of_portals_push_nobodys_volume_off_the_list_and_one_is_found_by_name_on_no_list(
    driver: LibvirtDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MOST_VOLUMES", 2)
    pool = driver._session.libvirt().storagePoolLookupByName(POOL)
    ours, anothers = (names.volume(portal, uuid4(), suffix="qcow2") for portal in (PORTAL, UUID(int=1)))
    made = [
        pool.createXML(f"<volume><name>{name}</name><capacity>1</capacity></volume>")
        for name in (ours, names.volume(PORTAL, uuid4(), suffix="qcow2"), anothers, "zoo")
    ]
    try:
        assert [row.external_id for row in driver.volumes(POOL)] == sorted([anothers, "zoo"])
        made.append(pool.createXML("<volume><name>zebra</name><capacity>1</capacity></volume>"))
        assert [row.external_id for row in driver.volumes(POOL)] == ["zebra", "zoo"]
        for name in (ours, anothers, "zoo"):
            found = driver.find_volume(POOL, name)
            assert found is not None
            assert (found.external_id, found.uid is None, found.size_bytes) == (name, name != ours, 1)
        assert driver.find_volume(POOL, "none") is None
        assert driver.find_volume(POOL, "") is None
    finally:
        for volume in made:
            volume.delete()


@pytest.fixture
def mail(driver: LibvirtDriver) -> Iterator[Callable[[str], Any]]:
    """Somebody's machine that runs with a disk; called again it has another one from its next start on."""
    made: list[Any] = []

    def define(path: str) -> Any:
        made.append(driver._session.libvirt().defineXML(MAIL.format(path=path)))
        if not made[-1].isActive():
            made[-1].create()
        return made[-1]

    yield define
    if made[0].isActive():
        made[0].destroy()
    made[0].undefine()


def test_what_a_running_machine_has_from_its_next_start_on_is_its_too(
    driver: LibvirtDriver, mail: Callable[[str], Any]
) -> None:
    pool = driver._session.libvirt().storagePoolLookupByName(POOL)
    volume = pool.createXML("<volume><name>golden</name><capacity>1</capacity></volume>")
    try:
        mail("/elsewhere/now.img")
        mail(volume.path())
        [row] = driver.volumes(POOL)
        assert (row.users, row.in_use) == (("mail",), True)
    finally:
        volume.delete()


def test_a_file_that_a_machine_has_and_its_pool_does_not_list_yet_is_told_with_the_machine(
    driver: LibvirtDriver, mail: Callable[[str], Any]
) -> None:
    """Pools of several hosts over the same storage list what was there when each was read last."""
    pool = driver._session.libvirt().storagePoolLookupByName(POOL)
    folder = parse(pool.XMLDesc(0)).findtext("target/path")
    mail(f"{folder}/migrated.qcow2")
    [row] = driver.volumes(POOL)
    assert (row.external_id, row.users, row.in_use, row.format) == ("migrated.qcow2", ("mail",), True, "")
    assert driver.find_volume(POOL, "migrated.qcow2") == row
    assert driver.volume_users(POOL, "migrated.qcow2") == ("mail",)
    assert driver.volume_users(POOL, "other.qcow2") == ()
    mail(f"{folder}/below/other.qcow2")
    assert [one.external_id for one in driver.volumes(POOL)] == ["migrated.qcow2"]


SHARE = """<pool type='netfs'><name>{name}</name><source><host name='nas'/><dir path='/{name}'/><format type='nfs'/></source>
<target><path>/mnt/{name}</path></target></pool>"""
BY_NAME = MAIL.replace("type='file'", "type='volume'").replace("file='{path}'", "pool='{pool}' volume='golden'")


@pytest.fixture
def shares(driver: LibvirtDriver) -> Iterator[dict[str, Any]]:
    """Two pools over storage of the network, which run."""
    made = {}
    for name in ("gold", "lead"):
        made[name] = driver._session.libvirt().storagePoolDefineXML(SHARE.format(name=name))
        made[name].create()
    yield made
    for pool in made.values():
        if pool.name() in driver._session.libvirt().listStoragePools():
            pool.destroy()
        if pool.name() in driver._session.libvirt().listDefinedStoragePools():
            pool.undefine()


@pytest.mark.parametrize("is_defined", [True, False])
def test_of_a_pool_that_does_not_run_those_machines_are_told_that_may_have_the_volume(
    driver: LibvirtDriver, mail: Callable[[str], Any], shares: dict[str, Any], *, is_defined: bool
) -> None:
    """Their paths stay in their definitions; what is in another pool over storage of the network is not it."""
    shares["gold"].destroy()
    if not is_defined:
        shares["gold"].undefine()
    for path, users in {
        "/mnt/gold/golden": ("mail",),
        "/mnt/by-hand/golden": ("mail",),
        "/mnt/lead/golden": (),
        "/mnt/gold/golden.old": (),
    }.items():
        mail(path).destroy()
        assert driver.volume_users("gold", "golden") == users, path
        assert driver.volume_users("lead", "golden") == (("mail",) if path.startswith("/mnt/lead/") else ()), path
    for pool, users in {"gold": ("mail",), "lead": ()}.items():
        driver._session.libvirt().defineXML(BY_NAME.format(pool=pool))
        assert driver.volume_users("gold", "golden") == users, pool
    with pytest.raises(NotFound):
        driver.volume_users("gold", "unit:0:0:1")


GROUP = """<pool type='logical'><name>lab</name><source><name>lab</name></source>
<target><path>/dev/lab</path></target></pool>"""


def test_a_device_that_a_machine_has_by_another_path_is_its_too(
    driver: LibvirtDriver, mail: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libvirt knows the volume behind each path of a device; this one, which has no devices, is helped."""
    connection = driver._session.libvirt()
    pool = connection.storagePoolDefineXML(GROUP)
    pool.create()
    pool.createXML("<volume><name>golden</name><capacity>1</capacity></volume>")
    look = libvirt.virConnect.storageVolLookupByPath
    paths = {"/dev/mapper/lab-golden": "/dev/lab/golden"}
    monkeypatch.setattr(libvirt.virConnect, "storageVolLookupByPath", lambda it, path: look(it, paths.get(path, path)))
    mail("/dev/mapper/lab-golden").destroy()
    mail("/dev/elsewhere").destroy()
    assert [row.users for row in driver.volumes("lab")] == [()]
    mail("/dev/mapper/lab-golden").destroy()
    try:
        assert [(row.users, row.in_use) for row in driver.volumes("lab")] == [(("mail",), False)]
    finally:
        pool.storageVolLookupByName("golden").delete()
        pool.destroy()
        pool.undefine()


@pytest.mark.parametrize(
    "leads_to",
    ["<forward mode='bridge'><interface dev='eth0'/></forward>", "<forward mode='bridge'/><bridge name='st1'/>"],
)
def test_what_was_offered_and_leads_to_a_card_or_anothers_bridge_now_takes_no_cards(
    driver: LibvirtDriver, leads_to: str
) -> None:
    """Past a filter, and past the rules of the network that made the bridge."""
    connection, uid = driver._session.libvirt(), uuid4()
    made = [
        connection.networkDefineXML(f"<network><name>lan</name><uuid>{uid}</uuid>{leads_to}</network>"),
        connection.networkDefineXML("<network><name>other</name><bridge name='st1'/></network>"),
    ]
    try:
        with pytest.raises(NotFound):
            driver._machines._networks.attach(NicSpec(uuid4(), "52:54:00:00:00:01", str(uid), offered="network"))
    finally:
        for network in made:
            network.undefine()


def test_a_host_is_known_by_its_uuid_and_name_together(driver: LibvirtDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards of one maker may bear one UUID, so that it alone is nobody's."""
    assert driver.about().identity == "", "this one tells no UUID"
    monkeypatch.setattr(driver._inventories, "_host_uuid", "6c1f")
    assert driver.about().identity == f"{driver.about().host_name}/6c1f"
