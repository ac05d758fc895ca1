"""What libvirt tells of itself and of our own things, by its driver that keeps everything in memory."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from portal.hypervisors.libvirt import names
from portal.hypervisors.libvirt.driver import LibvirtDriver
from portal.hypervisors.specs import Connection

PORTAL = UUID("11111111-2222-3333-4444-555555555555")
POOL = "default-pool"


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


def test_a_host_is_known_by_its_uuid_and_name_together(driver: LibvirtDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards of one maker may bear one UUID, so that it alone is nobody's."""
    assert driver.about().identity == "", "this one tells no UUID"
    monkeypatch.setattr(driver._inventories, "_host_uuid", "6c1f")
    assert driver.about().identity == f"{driver.about().host_name}/6c1f"
