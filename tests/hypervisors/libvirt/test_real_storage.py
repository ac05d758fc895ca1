"""A storage domain on a real file system that is full: a clear refusal, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from compute.models import StorageDomain, Template, Vm
from compute.services.providers import pool_name
from compute.services.sharing import assign
from compute.services.templates import TemplateRequest, import_template
from compute.sync.inventory import sync_provider
from portal.common.actor import system_actor
from portal.common.errors import Conflict
from portal.hypervisors.base import Driver
from portal.hypervisors.errors import NoCapacity
from portal.hypervisors.specs import DiskRef, DiskSpec, InitialRun
from portal.jobs.engine import run_to_end
from tests.hypervisors.libvirt.real import RealPlace
from tests.hypervisors.libvirt.seen import charges

pytestmark = pytest.mark.libvirt

MOUNT = Path("/var/lib/libvirt/images/small")
SIZE_MIB = 64
KIB, MIB, GIB = 1024, 1024**2, 1024**3


@dataclass
class SmallStorage:
    """A storage domain on a file system of its own, with a template; all else on it is ballast."""

    name: str
    template: Template

    def leave(self, free: int) -> None:
        """Fill it up but for so many bytes."""
        with self._ballast.open("ab") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, self._ballast.stat().st_size + self._free() - free)

    def empty(self) -> None:
        """Take the ballast out again."""
        self._ballast.unlink(missing_ok=True)

    def files(self) -> dict[str, int]:
        """What lies in the pool's folder."""
        return {path.name: path.stat().st_size for path in (MOUNT / "pool").iterdir()}

    @property
    def _ballast(self) -> Path:
        path = MOUNT / "ballast"
        path.touch()
        return path

    @staticmethod
    def _free() -> int:
        found = os.statvfs(MOUNT)
        return found.f_bavail * found.f_frsize


@pytest.fixture(scope="module")
def mounted(package_place: RealPlace) -> Iterator[SmallStorage]:
    place, actor, name = package_place, system_actor(), f"{pool_name()}-small"
    MOUNT.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=711", "tmpfs", MOUNT], check=True, timeout=20)
    place.driver.ensure_storage_domain(name, path=str(MOUNT / "pool"))
    sync_provider(place.provider)
    storage = StorageDomain.objects.get(provider=place.provider, external_id=name)
    template, job = import_template(actor, TemplateRequest("Small", place.image, storage, 1, 256, 128))
    place.ended(job)
    template.refresh_from_db()
    for kind, row in (("storage_domain", storage), ("template", template)):
        assign(actor, place.centers["physics"].pk, kind, row.pk)
    yield SmallStorage(name, template)
    place.driver.delete_disk(DiskRef(template.pk, name))
    place.driver.delete_storage_domain(name)
    subprocess.run(["umount", MOUNT], check=True, timeout=20)
    MOUNT.rmdir()


@pytest.fixture
def small(mounted: SmallStorage, place: RealPlace) -> Iterator[SmallStorage]:
    yield mounted
    mounted.empty()
    sync_provider(place.provider)


def clone(driver: Driver, small: SmallStorage) -> Any:
    spec = DiskSpec(uuid4(), small.name, GIB, base=DiskRef(small.template.pk, small.name))
    return driver.create_disk(spec)


def empty_disk(driver: Driver, small: SmallStorage) -> Any:
    return driver.create_disk(DiskSpec(uuid4(), small.name, GIB))


def upload(driver: Driver, small: SmallStorage) -> Any:
    return driver.upload_disk(DiskSpec(uuid4(), small.name, MIB, format="raw"), chunks=iter([b"x" * MIB]))


def first_boot(driver: Driver, small: SmallStorage) -> Any:
    return driver.create_first_boot(uuid4(), InitialRun("web-1", "alice"), storage_domain=small.name)


@pytest.mark.parametrize("free", [0, 64 * KIB])
@pytest.mark.parametrize("make", [clone, empty_disk, upload, first_boot])
def test_tf15_what_has_no_room_is_refused_and_leaves_nothing(
    place: RealPlace, small: SmallStorage, make: Callable[[Driver, SmallStorage], Any], free: int
) -> None:
    before = small.files()
    small.leave(free)
    with pytest.raises(NoCapacity) as refused:
        make(place.driver, small)
    assert small.files() == before
    assert str(MOUNT) not in refused.value.public
    small.empty()
    assert make(place.driver, small)
    for name in small.files().keys() - before:
        place.libvirtd.virsh("vol-delete", name, "--pool", small.name)


@pytest.mark.parametrize(("free", "step"), [(0, "make_disks"), (230 * KIB, "first_boot")])
def test_tf15_a_machine_that_finds_the_storage_full_is_undone_and_its_quota_comes_back(
    place: RealPlace, small: SmallStorage, free: int, step: str
) -> None:
    files, machines, charged = small.files(), set(Vm.objects.values_list("pk", flat=True)), charges()
    domains = place.libvirtd.virsh("list", "--all", "--name").stdout
    small.leave(free)
    _vm, job = place.ask("squeezed", template=small.template)
    assert charges() != charged
    ended = run_to_end(job.pk)
    assert (ended.status, ended.error["step"], ended.error["code"]) == ("failed", step, "hypervisor_no_capacity")
    assert ended.error["text"] == "The hypervisor has no room left for this."
    assert small.files() == files
    assert charges() == charged
    assert set(Vm.objects.values_list("pk", flat=True)) == machines
    assert place.libvirtd.virsh("list", "--all", "--name").stdout == domains


def test_tf15_a_full_storage_is_told_at_the_door_and_served_when_it_has_room_again(
    place: RealPlace, small: SmallStorage
) -> None:
    small.leave(0)
    sync_provider(place.provider)
    with pytest.raises(Conflict) as refused:
        place.ask("squeezed", template=small.template)
    assert [reason.code for reason in refused.value.reasons] == ["storage_full"]
    small.empty()
    sync_provider(place.provider)
    vm = place.machine("squeezed", template=small.template, run=False)
    place.do("delete", vm)


def test_tf15_a_template_that_does_not_fit_is_not_there(place: RealPlace, small: SmallStorage) -> None:
    files, templates = small.files(), Template.objects.count()
    small.leave(place.image.stat().st_size - 8 * KIB)  # only its end does not fit
    request = TemplateRequest("Too large", place.image, small.template.storage_domain, 1, 256, 128)
    _template, job = import_template(system_actor(), request)
    ended = run_to_end(job.pk)
    assert (ended.status, ended.error["code"]) == ("failed", "hypervisor_no_capacity")
    assert small.files() == files
    assert Template.objects.count() == templates
