"""Templates of machines that are sealed: what is told, what is refused, and what a cancelled one leaves."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from compute import guestfs, qemu_img, sealing, spool
from compute.guestfs import GuestfsFailed, Room
from compute.models import ReadinessResult, Template, Vm
from compute.operations import sealed_copies
from compute.services import readiness, template_copies
from portal.common.errors import Conflict, Invalid
from portal.jobs.context import JobContext
from portal.jobs.control import cancel_job
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job, Step
from tests.compute.fake_sysprep import FAILS, MARK, SEALS, said_to, stand_in
from tests.compute.image_files import sound
from tests.compute.test_template_copies import double, machine, wish
from tests.doubles.hypervisor_state import HypervisorDouble
from tests.doubles.hypervisor_storage import DoubleStorage
from tests.flows.patience import until

__all__ = ["double"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def programs(settings: Any, tmp_path: Path) -> Path:
    return stand_in(settings, tmp_path / "programs")


@pytest.fixture
def vm(institute: Any) -> Vm:
    """A machine of alice's that is off."""
    return machine(institute, run=False)


def asked(institute: Any, vm: Vm) -> tuple[Template, Job]:
    request = wish(institute, accept_unsealed=False, seal=True)
    return template_copies.template_of_machine(institute.actor("physics-admin"), vm.pk, request)


def has_ended(folder: Path) -> bool:
    """Whether what a program started is gone, or waits to be forgotten; the kernel takes a moment."""
    try:
        stat = Path(f"/proc/{(folder / 'child').read_text().strip()}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.split()[2] in {"Z", "X"}


def assert_nothing_is_left(double: HypervisorDouble, template: Template) -> None:
    assert not Template.objects.filter(pk=template.pk).exists()
    assert str(template.pk) not in str(double.things("disk").keys())
    assert list(spool.folder().iterdir()) == []


def test_what_is_sent_in_the_place_of_the_copy_is_sealed_and_alone(institute, double, vm, programs, tmp_path):
    before = double.things("vm"), double.things("disk")
    template, job = asked(institute, vm)
    ended = run_to_end(job.pk)
    assert ended.status == "finished", ended.error
    template.refresh_from_db()
    assert (template.status, template.is_sealed) == ("ok", True)
    things = double.things("disk")
    [key] = things.keys() - before[1].keys()
    stored = double.store.folder / f"{things.pop(key)['sha256']}.bytes"
    bounds = qemu_img.Bounds(60, file_bytes=1 << 31)
    qemu_img.check(stored, bounds=bounds)
    assert bytes([MARK]) * 512 in stored.read_bytes()
    assert (double.things("vm"), things) == before
    assert list(spool.folder().iterdir()) == []
    [told] = said_to(programs, "virt-sysprep")
    assert {"--no-network", "--format=qcow2"} <= set(told)
    [operations] = [words for words in told if "," in words and "hostkeys" in words]
    assert set(operations.split(",")) == {name for part in sealing.PARTS for name in part.operations} | {"customize"}


@pytest.mark.parametrize(
    ("systems", "sysprep", "code"),
    [
        ((), "", "unknown_system"),
        (("linux", "windows"), "", "not_linux"),
        (("linux",), FAILS, "failed"),
        (("linux",), "echo 'virt-sysprep: warning: mount: /dev/sdb1: no such device (ignored)' >&2", "left_out"),
    ],
)
def test_what_virt_sysprep_does_not_know_is_refused_with_the_remedy(
    institute, double, vm, settings, tmp_path, systems, sysprep, code
):
    folder = stand_in(settings, tmp_path / "programs", systems=systems, sysprep=sysprep)
    template, job = asked(institute, vm)
    ended = run_to_end(job.pk)
    assert (ended.status, ended.error["code"]) == ("failed", f"seal_{code}")
    assert "make the template without sealing" in ended.error["text"]
    assert said_to(folder, "virt-sparsify") == []
    assert_nothing_is_left(double, template)


TRACE = "libguestfs: trace: "
LISTED = 'list_filesystems = ["/dev/sda1", "xfs", "/dev/sda2", "swap", "/dev/sda3", "unknown"]'
FAILED = "mount_options = -1 (error)"


@pytest.mark.parametrize(
    ("program", "lines", "is_sealed"),
    [
        ("sysprep", [f'{TRACE}sysprep: mount_options "" "/dev/sdb1" "/srv"', f"{TRACE}sysprep: {FAILED}"], False),
        ("sysprep", [f'{TRACE}rm "/root/.bash_history"', f"{TRACE}rm = -1 (error)"], True),
        ("sysprep", [f'{TRACE}glob_expand = ["/tmp/log file (ignored)"]'], True),
        ("sparsify", ["virt-sparsify: warning: fstrim operation is not supported on /dev/sda1 (vfat)."], False),
        ("sparsify", [TRACE + LISTED, f'{TRACE}mount_options "discard" "/dev/sda1" "/"', TRACE + FAILED], False),
        ("sparsify", [TRACE + LISTED, f'{TRACE}mount_options "discard" "/dev/sda2" "/"', TRACE + FAILED], True),
        ("sparsify", [TRACE + LISTED, f'{TRACE}mount_options "discard" "/dev/sda1" "/"', f"{TRACE}mount_options = 0"], True),
    ],
)  # fmt: skip
def test_what_a_program_left_out_is_not_sealed_although_it_ended_well(settings, tmp_path, program, lines, is_sealed):
    told = tmp_path / "told"
    told.write_text("\n".join([*lines, ""]))
    stand_in(settings, tmp_path / "programs", **{"sysprep": "", program: f"cat {told} >&2"})
    room = Room(tmp_path, seconds=20)
    if is_sealed:
        sealing.seal(tmp_path / "none", room=room, report=lambda _percent: None)
    else:
        with pytest.raises(sealing.SealRefused) as refused:
            sealing.seal(tmp_path / "none", room=room, report=lambda _percent: None)
        assert refused.value.code == "left_out"


def test_a_cancelled_one_stops_in_the_midst_and_leaves_nothing(institute, double, vm, settings, tmp_path, monkeypatch):
    folder = stand_in(settings, tmp_path / "programs", sysprep='sleep 60 & echo $! >"$(dirname "$0")/child"; wait')
    monkeypatch.setattr(guestfs, "ASK_SECONDS", 0.05)
    template, job = asked(institute, vm)
    Step.objects.filter(job=job).update(first_tried_at=timezone.now() - timedelta(hours=1))  # it waited in turn
    look = JobContext.is_cancelled

    def cancel(self: JobContext) -> bool:
        if (folder / "child").exists() and (folder / "child").read_text():
            cancel_job(job.pk)
        return look(self)

    monkeypatch.setattr(JobContext, "is_cancelled", cancel)
    began = time.monotonic()
    ended = run_to_end(job.pk)
    assert (ended.status, ended.error["code"]) == ("aborted", "cancelled")
    assert time.monotonic() - began < 30
    until(lambda: has_ended(folder), seconds=10)
    assert_nothing_is_left(double, template)


def test_a_copy_that_is_not_what_it_must_be_gets_to_none_of_the_programs(
    institute, double, vm, programs, monkeypatch, tmp_path
):
    evil = tmp_path / "evil.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", evil, "1M"], check=True
    )
    for brought in (evil.read_bytes(), sound(tmp_path)[: 1 << 17]):  # the second was cut off
        with monkeypatch.context() as patch:
            patch.setattr(DoubleStorage, "download_disk", lambda _self, _ref, *, take, brought=brought: take(brought))
            template, job = asked(institute, vm)
            assert run_to_end(job.pk).error["code"] == "seal_broken"
        assert said_to(programs, "virt-sysprep") == []
        assert_nothing_is_left(double, template)


def test_a_killed_try_leaves_nothing_for_the_next_one_and_what_was_brought_goes_once_it_is_sealed(
    institute, double, vm, settings, tmp_path, monkeypatch
):
    listed = f"ls {spool.folder()} >{tmp_path}/listed"
    stand_in(settings, tmp_path / "programs", sysprep=f"{listed}\n{SEALS}")
    template, job = asked(institute, vm)
    (spool.folder() / f"{template.pk}.killed.part").touch()
    sent: list[set[str]] = []
    upload = DoubleStorage.upload_disk

    def look(self: DoubleStorage, *args: Any, **more: Any) -> Any:
        sent.append({path.name for path in spool.folder().iterdir()})
        return upload(self, *args, **more)

    monkeypatch.setattr(DoubleStorage, "upload_disk", look)
    assert run_to_end(job.pk).status == "finished"
    assert "killed" not in (tmp_path / "listed").read_text()
    assert sent == [{spool.converted(template.pk).name}]


@pytest.mark.parametrize("way", ["brought", "told", "dwindling"])
def test_a_folder_that_gets_full_is_said_to_be_full(institute, double, vm, settings, tmp_path, monkeypatch, way):
    told = "echo 'virt-sysprep: error: No space left on device' >&2; exit 1"
    stand_in(settings, tmp_path / "programs", sysprep=told if way == "told" else "sleep 60")
    monkeypatch.setattr(guestfs, "ASK_SECONDS", 0.05)
    if way == "brought":
        full = OSError(errno.ENOSPC, "No space left on device")
        monkeypatch.setattr(sealed_copies._Bringing, "take", Mock(side_effect=full))
    if way == "dwindling":
        monkeypatch.setattr(sealed_copies, "LEAST_BYTES", 1 << 60)
    template, job = asked(institute, vm)
    assert run_to_end(job.pk, timeout=30).error["code"] == "spool_full"
    assert_nothing_is_left(double, template)


def test_a_copy_that_is_not_removed_is_not_taken_for_the_sealed_one(institute, double, vm, programs, monkeypatch):
    before, delete, tries = double.things("disk"), DoubleStorage.delete_disk, []

    def later(self: DoubleStorage, *args: Any, **more: Any) -> None:
        tries.append(args)
        if len(tries) > 1:
            delete(self, *args, **more)

    monkeypatch.setattr(DoubleStorage, "delete_disk", later)
    monkeypatch.setattr(sealed_copies, "CLEAR_SECONDS", 0.05)
    _template, job = asked(institute, vm)
    assert run_to_end(job.pk).status == "finished"
    things = double.things("disk")
    [key] = things.keys() - before.keys()
    assert bytes([MARK]) * 512 in (double.store.folder / f"{things[key]['sha256']}.bytes").read_bytes()


def test_more_bytes_than_the_disk_can_have_are_not_taken(institute, double, vm, programs, monkeypatch):
    monkeypatch.setattr(qemu_img, "most_bytes", lambda _size: 1000)
    template, job = asked(institute, vm)
    assert run_to_end(job.pk).error["code"] == "copy_too_large"
    assert_nothing_is_left(double, template)


def test_where_it_cannot_be_done_it_is_refused_at_once_and_tried_once(institute, vm, settings, tmp_path):
    with pytest.raises(Conflict) as refused:
        asked(institute, vm)
    assert [(reason.code, reason.field) for reason in refused.value.reasons] == [("sealing_unavailable", "seal")]
    folder = stand_in(settings, tmp_path / "programs")
    (folder / "vmlinuz").unlink()
    assert sealing.lacking() == "sealing_kernel_missing"
    (folder / "vmlinuz").touch()
    settings.SYSPREP_EMULATED = True
    (folder / "virt-filesystems").write_text('#!/bin/sh\necho >>"$(dirname "$0")/tries"\nexit 1\n')
    assert (sealing.lacking(), sealing.tried(), sealing.tried(), sealing.lacking()) == ("", *["sealing_fails"] * 3)
    assert (folder / "tries").read_text() == "\n"
    assert sealing.tried(anew=True) == "sealing_fails"
    (folder / "virt-sysprep").unlink()
    assert sealing.lacking() == "sealing_programs_missing"


def test_whoever_waits_for_a_try_takes_what_it_found_and_hears_a_cancel(settings, tmp_path, monkeypatch):
    folder = stand_in(settings, tmp_path / "programs")
    settings.SYSPREP_EMULATED = True
    (folder / "virt-filesystems").write_text('#!/bin/sh\necho >>"$(dirname "$0")/tries"\nexit 1\n')
    monkeypatch.setattr(sealing, "WAIT_SECONDS", 0.01)
    asked: list[bool] = []

    def go_on() -> bool:
        asked.append(True)
        if len(asked) == 1:
            sealing.remember("")  # the other one
            other.close()
        return True

    lock = guestfs.machine_folder() / "try.lock"
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert (sealing.tried(go_on, anew=True), sealing.lacking()) == ("", "")
    assert not (folder / "tries").exists()
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(guestfs.Stopped):
            sealing.tried(lambda: False, anew=True)


def test_a_try_without_room_fails_and_is_not_remembered_and_readiness_tells_and_hears_a_cancel(
    institute, settings, tmp_path, monkeypatch
):
    folder = stand_in(settings, tmp_path / "programs")
    settings.SYSPREP_EMULATED, spool_folder = True, settings.IMAGE_SPOOL
    settings.IMAGE_SPOOL = folder / "vmlinuz"
    assert (sealing.tried(anew=True), sealing.lacking()) == ("sealing_fails", "")
    job = readiness.check_readiness(institute.actor("root"))
    assert run_to_end(job.pk).status == "finished"
    assert ReadinessResult.objects.get(step="sealing").code == "sealing_fails"
    settings.IMAGE_SPOOL = spool_folder
    monkeypatch.setattr(guestfs, "ASK_SECONDS", 0.05)
    (folder / "virt-filesystems").write_text("#!/bin/sh\nexec sleep 60\n")
    job = readiness.check_readiness(institute.actor("root"))
    report = JobContext.report
    monkeypatch.setattr(
        JobContext, "report", lambda self, *args, **more: (cancel_job(job.pk), report(self, *args, **more))
    )
    assert run_to_end(job.pk, timeout=30).status == "aborted"


def test_a_kernel_counts_with_its_modules_alone(settings, tmp_path, monkeypatch):
    stand_in(settings, tmp_path / "programs")
    settings.SYSPREP_KERNEL = ""
    monkeypatch.setattr(sealing, "BOOT", tmp_path)
    monkeypatch.setattr(sealing, "MODULES", tmp_path / "modules")
    assert sealing.lacking() == "sealing_kernel_missing"
    (tmp_path / "vmlinuz-6.1").touch()
    assert sealing.lacking() == "sealing_kernel_missing"
    (tmp_path / "modules" / "6.1").mkdir(parents=True)
    assert sealing.lacking() == ""


def test_where_kvm_does_not_work_it_is_emulated_and_that_is_remembered(settings, tmp_path, monkeypatch):
    folder = stand_in(settings, tmp_path / "programs")
    monkeypatch.setattr(sealing, "KVM", folder / "vmlinuz")
    (folder / "virt-filesystems").write_text(
        '#!/bin/sh\n[ "$LIBGUESTFS_BACKEND_SETTINGS" = force_tcg ] || exec sleep 60\n'
    )
    monkeypatch.setattr(sealing, "KVM_SECONDS", 0.3)
    assert not sealing.is_emulated()
    assert (sealing.tried(), sealing.is_emulated()) == ("", True)


def test_volumes_and_images_are_not_sealed_and_the_api_says_so(institute, double, vm, programs):
    name = double.plant_volume("golden.qcow2", b"", size=8 << 20)
    root, domain = institute.actor("root"), institute.template.storage_domain_id
    offer = template_copies.get_offer(root, domain, name)
    with pytest.raises(Invalid, match="of that machine"):
        template_copies.template_of_volume(root, *offer, wish(institute, seal=True))
    client = Client()
    client.force_login(institute.users["physics-admin"])
    body = {
        "name": "g",
        "storage_domain": str(domain),
        "data_center": str(vm.data_center_id),
        "vm": str(vm.pk),
        "seal": True,
    }
    other = {name: value for name, value in body.items() if name != "vm"} | {"image": str(uuid4())}
    refused = client.post("/api/v1/templates/", other, content_type="application/json")
    [reason] = refused.json()["reasons"]
    assert (refused.status_code, reason["code"], reason["field"]) == (400, "image_not_sealed", "seal")
    made = client.post("/api/v1/templates/", body, content_type="application/json")
    assert made.status_code == 202, made.content
    assert made.json()["job"]["operation"] == "compute.sealed_template_of_machine"


def test_the_programs_get_nothing_of_ours_and_end_with_all_they_started(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "not for them")
    folder = stand_in(
        settings,
        tmp_path / "programs",
        sysprep='env >"$(dirname "$0")/env"; sleep 60 & echo $! >"$(dirname "$0")/child"; wait',
    )
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(GuestfsFailed, match="longer than"):
        guestfs.sysprep(tmp_path / "none", [], Room(work, seconds=1))
    assert "not for them" not in (folder / "env").read_text()
    assert "LIBGUESTFS_BACKEND=direct" in (folder / "env").read_text()
    until(lambda: has_ended(folder), seconds=10)
    (folder / "virt-sysprep").write_text('#!/bin/sh\nsleep 60 & echo $! >"$(dirname "$0")/child"\n')
    guestfs.sysprep(tmp_path / "none", [], Room(work, seconds=20))
    until(lambda: has_ended(folder), seconds=10)
