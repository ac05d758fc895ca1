"""The contract of drivers: storage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from uuid import uuid4

import pytest

from portal.hypervisors.base import Driver
from portal.hypervisors.errors import Busy, Invalid, NoCapacity, NotFound
from portal.hypervisors.specs import DiskFound, DiskRef, InitialRun
from tests.hypervisors.contract.things import MIB, Things, again_while_busy, at_once, eventually
from tests.hypervisors.contract.worlds import World, prefix
from tests.hypervisors.libvirt_driver.samples import UNFIT, qcow2

INITIAL = InitialRun("web-1", "alice", ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 alice",))
RAW = b"".join(bytes([number]) * 4096 for number in range(256))
IMAGE = qcow2() + RAW[4096:]


def chunks(content: bytes = IMAGE) -> Iterator[bytes]:
    return (content[at : at + 65536] for at in range(0, len(content), 65536))


def bare(disk: DiskFound | None) -> DiskFound:
    """Without what it takes, which is not known from the first moment on everywhere."""
    assert disk is not None
    return replace(disk, allocated_bytes=0)


# -- storage domains


@pytest.mark.needs("own_storage")
def test_a_storage_domain_made_twice_is_one_and_is_ours(world: World, driver: Driver) -> None:
    first, again = world.storage(driver), world.storage(world.driver())
    assert first == again == prefix(world.portal_id)
    [found] = [each for each in driver.inventory().storage_domains if each.external_id == first]
    assert found.status == "active"
    assert found.type == "dir"
    assert found.marker is not None
    assert found.marker.portal_id == world.portal_id
    assert 0 <= found.free_bytes <= found.total_bytes


@pytest.mark.needs("own_storage")
@pytest.mark.parametrize("name", ["default", "stegi-00000000", "", "../etc"])
def test_a_storage_domain_whose_name_is_not_ours_is_not_made(world: World, driver: Driver, name: str) -> None:
    before = world.dump()
    with pytest.raises(Invalid):
        driver.ensure_storage_domain(name, path=f"/var/lib/libvirt/images/{uuid4()}")
    assert world.dump() == before


@pytest.mark.needs("own_storage")
def test_a_storage_domain_goes_when_it_is_empty_and_deleting_it_twice_is_success(things: Things) -> None:
    driver, pool = things.driver, things.world.storage(things.driver)
    disk = things.disk(pool)
    with pytest.raises(Busy):
        driver.delete_storage_domain(pool)
    driver.delete_disk(disk)
    driver.delete_storage_domain(pool)
    driver.delete_storage_domain(pool)
    assert pool not in {each.external_id for each in driver.inventory().storage_domains}
    assert things.world.storage(driver) == pool


# -- disks


def test_a_disk_made_twice_is_one(things: Things) -> None:
    spec, driver = things.disk_spec(), things.driver
    first = bare(driver.create_disk(spec))
    assert bare(things.world.driver().create_disk(spec)) == first
    assert bare(driver.find_disk(DiskRef(spec.uid, spec.storage_domain))) == first
    assert bare(driver.find_disk(first.ref)) == first
    assert (first.ref.uid, first.size_bytes) == (spec.uid, MIB)
    assert [disk.ref.uid for disk in driver.our_disks(spec.storage_domain)] == [spec.uid]


def test_a_disk_made_by_several_at_once_is_one(things: Things) -> None:
    spec = things.disk_spec()
    made = at_once(things.world, lambda driver: driver.create_disk(spec))
    assert {disk.external_id for disk in made} == {made[0].external_id}
    assert len(things.driver.our_disks(spec.storage_domain)) == 1


def test_disks_may_come_and_go_while_others_are_looked_for_and_deleted(things: Things) -> None:
    pool = things.world.storage(things.driver)
    kept = things.disk(pool)

    def come_and_go(driver: Driver) -> None:
        for spec in [things.disk_spec(pool) for _ in range(5)]:
            made = again_while_busy(partial(driver.create_disk, spec))
            assert kept in {disk.ref for disk in again_while_busy(partial(driver.our_disks, pool))}
            again_while_busy(partial(driver.delete_disk, made.ref))

    at_once(things.world, come_and_go)
    eventually(lambda: len(things.driver.our_disks(pool)) == 1, "the deleted disks to be gone")
    assert [disk.ref for disk in things.driver.our_disks(pool)] == [kept]


def test_a_disk_that_somebody_removed_by_hand_is_gone_and_can_be_made_again(things: Things) -> None:
    spec, driver = things.disk_spec(), things.driver
    for _ in range(2):
        made = driver.create_disk(spec)
        things.world.remove_disk(spec.storage_domain, made.external_id)
        assert driver.find_disk(made.ref) is None
    assert driver.our_disks(spec.storage_domain) == ()
    driver.create_disk(spec)
    things.world.remove_disk(spec.storage_domain, made.external_id)
    driver.delete_disk(made.ref)


def test_a_deleted_disk_is_gone_and_deleting_it_twice_is_success(things: Things) -> None:
    disk = things.disk()
    things.delete_disk(disk)
    things.driver.delete_disk(disk)
    assert things.driver.our_disks(disk.storage_domain) == ()


def test_of_a_storage_domain_that_is_not_there_nothing_is_said_to_be_missing(things: Things) -> None:
    """A storage domain that is not there does not prove that a disk is not."""
    nowhere = f"{prefix(things.world.portal_id)}-nowhere"
    driver = things.driver
    for call in (
        lambda: driver.create_disk(things.disk_spec(nowhere)),
        lambda: driver.find_disk(DiskRef(uuid4(), nowhere)),
        lambda: driver.our_disks(nowhere),
    ):
        with pytest.raises(NotFound):
            call()
    driver.delete_disk(DiskRef(uuid4(), nowhere))
    driver.delete_first_boot(uuid4(), storage_domain=nowhere)


@pytest.mark.needs("fills_up")
def test_a_disk_for_which_there_is_no_room_is_refused_and_nothing_is_left(things: Things) -> None:
    pool = things.world.full_storage(things.driver)
    before = things.world.dump()
    with pytest.raises(NoCapacity):
        things.disk(pool)
    assert things.driver.our_disks(pool) == ()
    assert things.world.dump() == before


def test_the_disk_of_a_machine_is_not_deleted_while_the_machine_is_there(things: Things) -> None:
    disk = things.disk()
    ref = things.running(disks=(disk,))
    with pytest.raises(Busy):
        things.driver.delete_disk(disk)
    things.stop(ref)
    with pytest.raises(Busy):
        things.driver.delete_disk(disk)
    things.delete(ref)
    assert things.driver.find_disk(disk) is not None, "a machine's disks stay when it goes"
    things.delete_disk(disk)


# -- linked clones


@pytest.mark.needs("linked_clone")
@pytest.mark.parametrize("elsewhere", [False, True], ids=["beside", "elsewhere"])
def test_what_has_a_linked_clone_is_not_deleted(things: Things, elsewhere: bool) -> None:
    base = things.disk()
    pool = things.world.storage(things.driver, "second") if elsewhere else ""
    clone = things.disk(pool, base=base)
    with pytest.raises(Busy):
        things.driver.delete_disk(base)
    assert things.driver.find_disk(base) is not None
    things.driver.delete_disk(clone)
    things.driver.delete_disk(base)
    assert things.driver.find_disk(base) is None


@pytest.mark.needs("linked_clone")
def test_a_linked_clone_takes_little_room_and_may_be_larger_than_its_base(things: Things) -> None:
    spec = replace(things.disk_spec(base=things.disk()), size_bytes=1024 * MIB)
    clone = things.driver.create_disk(spec)
    assert clone.size_bytes == 1024 * MIB
    assert clone.allocated_bytes < MIB


@pytest.mark.needs("linked_clone")
def test_a_linked_clone_of_nothing_is_not_made(things: Things) -> None:
    spec = things.disk_spec()
    before = things.world.dump()
    with pytest.raises(NotFound):
        things.disk(spec.storage_domain, base=DiskRef(uuid4(), spec.storage_domain))
    assert things.world.dump() == before


# -- uploads


@pytest.mark.needs("disk_upload")
@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_an_uploaded_disk_has_the_bytes_that_were_sent(things: Things, form: str) -> None:
    spec, driver = things.disk_spec(format=form), things.driver
    image = IMAGE if form == "qcow2" else RAW
    found = driver.upload_disk(spec, chunks=chunks(image))
    assert things.world.content(spec.storage_domain, found.external_id) == hashlib.sha256(image).hexdigest()
    assert driver.find_disk(found.ref) == found
    assert driver.upload_disk(spec, chunks=chunks(image)) == found
    assert [disk.ref.uid for disk in driver.our_disks(spec.storage_domain)] == [spec.uid]
    driver.delete_disk(found.ref)
    assert driver.find_disk(found.ref) is None


@pytest.mark.needs("disk_upload")
def test_a_broken_upload_leaves_nothing_and_can_be_tried_again(things: Things) -> None:
    spec, driver = things.disk_spec(), things.driver
    before = things.world.dump()

    def breaks() -> Iterator[bytes]:
        yield from list(chunks())[:3]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        driver.upload_disk(spec, chunks=breaks())
    assert driver.find_disk(DiskRef(spec.uid, spec.storage_domain)) is None
    assert things.world.dump() == before
    driver.upload_disk(spec, chunks=chunks())
    assert driver.find_disk(DiskRef(spec.uid, spec.storage_domain)) is not None


@pytest.mark.needs("disk_upload", "first_boot_volume")
def test_an_upload_for_which_there_is_no_room_is_refused_and_nothing_is_left(things: Things) -> None:
    pool = things.world.full_storage(things.driver)
    before = things.world.dump()
    with pytest.raises(NoCapacity):
        things.driver.upload_disk(things.disk_spec(pool), chunks=chunks())
    with pytest.raises(NoCapacity):
        things.driver.create_first_boot(uuid4(), INITIAL, storage_domain=pool)
    assert things.world.dump() == before


@pytest.mark.needs("disk_upload")
@pytest.mark.parametrize("what", UNFIT)
def test_IN05_an_image_that_is_not_what_it_is_said_to_be_is_refused_and_nothing_is_left(  # noqa: N802
    things: Things, what: str
) -> None:
    form, image = UNFIT[what]
    spec = things.disk_spec(format=form)
    before = things.world.dump()
    for size in (50, 65536):  # the head may come in pieces
        with pytest.raises(Invalid):
            things.driver.upload_disk(spec, chunks=(image[at : at + size] for at in range(0, len(image), size)))
    assert things.world.dump() == before


@pytest.mark.needs("disk_upload")
def test_a_disk_is_not_there_before_its_upload_has_ended(things: Things) -> None:
    spec, driver, other = things.disk_spec(), things.driver, things.world.driver()
    ref = DiskRef(spec.uid, spec.storage_domain)
    seen = []

    def looking() -> Iterator[bytes]:
        for chunk in chunks():
            yield chunk
            seen.append(other.find_disk(ref))

    driver.upload_disk(spec, chunks=looking())
    assert seen == [None] * 16
    assert other.find_disk(ref) is not None


# -- first boot


@pytest.mark.needs("first_boot_volume")
def test_a_first_boot_volume_made_twice_is_one_and_is_no_disk(things: Things) -> None:
    driver, pool, uid = things.driver, things.world.storage(things.driver), uuid4()
    first = driver.create_first_boot(uid, INITIAL, storage_domain=pool)
    assert first is not None
    assert first == driver.create_first_boot(uid, INITIAL, storage_domain=pool)
    assert driver.our_disks(pool) == ()
    driver.delete_first_boot(uid, storage_domain=pool)
    driver.delete_first_boot(uid, storage_domain=pool)
    driver.delete_storage_domain(pool)


def test_where_first_boot_data_needs_no_volume_none_is_made(things: Things) -> None:
    pool = things.world.storage(things.driver)
    made = things.driver.create_first_boot(uuid4(), INITIAL, storage_domain=pool)
    assert (made is not None) == things.world.capabilities.first_boot_volume
