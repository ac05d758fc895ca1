"""The contract of drivers: volumes as they are, and disks that are copied from one."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from portal.hypervisors.base import Driver
from portal.hypervisors.errors import Invalid, NotFound
from portal.hypervisors.specs import DiskRef, DiskSpec, VolumeRef
from tests.compute.image_files import backing_file, sound
from tests.hypervisors.contract.things import MIB, Things, at_once
from tests.hypervisors.contract.worlds import World

pytestmark = pytest.mark.needs("disk_copy")


def copy_spec(things: Things) -> DiskSpec:
    return DiskSpec(uuid4(), things.world.storage(things.driver), 16 * MIB)


def uploaded(things: Things, folder: Path) -> DiskRef:
    data = sound(folder)
    return things.driver.upload_disk(things.disk_spec(), chunks=iter([data])).ref


def source_of(things: Things, ref: DiskRef) -> VolumeRef:
    found = things.driver.find_disk(ref)
    assert found is not None
    return VolumeRef(ref.storage_domain, found.external_id, "qcow2")


def test_a_copy_of_a_linked_clone_stands_alone_and_all_else_stays_as_it_was(things: Things, tmp_path: Path) -> None:
    base = uploaded(things, tmp_path)
    clone = things.driver.create_disk(DiskSpec(uuid4(), base.storage_domain, 8 * MIB, base=base)).ref
    before, spec = things.world.dump(), copy_spec(things)
    made = things.driver.copy_disk(spec, source=source_of(things, clone))
    assert made.size_bytes == 8 * MIB
    assert (things.driver.copied_bytes(spec) or 0) > 0
    assert things.driver.copied_bytes(copy_spec(things)) is None
    assert things.driver.copy_disk(spec, source=source_of(things, clone)) == made, "again is the same"
    after = things.world.dump()
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1
    [row] = [row for row in things.driver.volumes(spec.storage_domain) if row.uid == spec.uid]
    assert (row.format, row.has_base, row.users) == ("qcow2", False, ())
    things.driver.delete_disk(clone)
    things.driver.delete_disk(base)
    assert things.driver.find_disk(made.ref) == made


def test_a_disk_is_handed_over_as_its_file_is_and_whoever_takes_it_can_end_that(things: Things, tmp_path: Path) -> None:
    ref, parts = uploaded(things, tmp_path), list[bytes]()
    things.driver.download_disk(ref, take=parts.append)
    assert b"".join(parts) == sound_again(tmp_path)

    def refuse(_part: bytes) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        things.driver.download_disk(ref, take=refuse)
    parts.clear()
    things.driver.download_disk(ref, take=parts.append)
    assert b"".join(parts) == sound_again(tmp_path), "the connection is as good as before"
    things.driver.delete_disk(ref)
    with pytest.raises(NotFound):
        things.driver.download_disk(ref, take=parts.append)


def sound_again(folder: Path) -> bytes:
    """What ``sound`` made there."""
    return (folder / "disk.qcow2").read_bytes()


def test_a_copy_asked_for_several_times_at_once_is_one(things: Things, tmp_path: Path) -> None:
    source, spec = source_of(things, uploaded(things, tmp_path)), copy_spec(things)
    made = at_once(things.world, lambda driver: driver.copy_disk(spec, source=source))
    assert len({disk.ref for disk in made}) == 1
    assert len(things.driver.our_disks(spec.storage_domain)) == 2


def test_a_volume_of_somebody_elses_is_listed_with_who_has_it_and_copied(things: Things, tmp_path: Path) -> None:
    pool, data = things.world.storage(things.driver), sound(tmp_path)
    things.world.put_volume(pool, "golden.qcow2", data)
    ours, used = things.disk(pool), things.disk(pool)
    machine = things.vm(disks=(used,), name="web-1")
    listed = {row.external_id: row for row in things.driver.volumes(pool)}
    golden = listed["golden.qcow2"]
    assert (golden.format, golden.uid, golden.has_base, golden.users, golden.in_use) == (
        "qcow2",
        None,
        False,
        (),
        False,
    )
    assert {name: things.driver.find_volume(pool, name) for name in listed} == listed
    assert {name: things.driver.volume_users(pool, name) for name in listed} == {
        name: row.users for name, row in listed.items()
    }
    by_uid = {row.uid: row for row in listed.values()}
    assert (by_uid[ours.uid].users, by_uid[used.uid].users) == ((), ("web-1",))
    assert by_uid[used.uid].user_ids == (machine.external_id,)
    assert things.driver.volume_head(pool, "golden.qcow2", length=4096) == data[:4096]
    assert things.driver.volume_head(pool, "golden.qcow2", length=1 << 30) == data
    things.driver.copy_disk(copy_spec(things), source=VolumeRef(pool, "golden.qcow2", "qcow2"))
    assert things.driver.volume_head(pool, "golden.qcow2", length=1 << 30) == data


@pytest.mark.parametrize(("kind", "said"), [("qcow2", "raw"), ("raw", "qcow2")])
def test_what_is_of_another_format_than_was_said_is_not_copied(
    things: Things, tmp_path: Path, kind: str, said: str
) -> None:
    pool = things.world.storage(things.driver)
    things.world.put_volume(pool, "golden.img", sound(tmp_path, kind=kind))
    refused(things, VolumeRef(pool, "golden.img", said))


def test_what_lies_over_a_file_of_the_host_is_not_copied(things: Things, tmp_path: Path) -> None:
    pool = things.world.storage(things.driver)
    things.world.put_volume(pool, "evil.qcow2", backing_file(tmp_path))
    [row] = things.driver.volumes(pool)
    assert row.has_base
    refused(things, VolumeRef(pool, "evil.qcow2", "qcow2"))


def refused(things: Things, source: VolumeRef) -> None:
    before, spec = things.world.dump(), copy_spec(things)
    with pytest.raises(Invalid):
        things.driver.copy_disk(spec, source=source)
    assert things.world.dump() == before
    assert things.driver.find_disk(DiskRef(spec.uid, spec.storage_domain)) is None


def test_of_what_is_not_there_nothing_is_copied_or_read(world: World, driver: Driver, things: Things) -> None:
    pool, spec = world.storage(driver), copy_spec(things)
    for call in (
        lambda: driver.copy_disk(spec, source=VolumeRef(pool, "none", "raw")),
        lambda: driver.copy_disk(spec, source=VolumeRef("nowhere", "none", "raw")),
        lambda: driver.volume_head(pool, "../../../etc/passwd", length=10),
        lambda: driver.volumes("nowhere"),
        lambda: driver.find_volume("nowhere", "none"),
    ):
        with pytest.raises(NotFound):
            call()
    assert driver.find_volume(pool, "none") is None
    assert driver.volume_users(pool, "none") == driver.volume_users("nowhere", "none") == ()
    assert driver.our_disks(pool) == ()
