"""Inspections of images: so many at once that other jobs have workers, and each hears a cancel."""

from __future__ import annotations

import ast
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured

from compute import inspection, qemu_img, spool
from compute.models import Image
from compute.operations import images as operations
from portal.common.phrases import said
from portal.jobs.control import cancel_job
from portal.jobs.engine import advance, run_to_end
from portal.jobs.models import Job
from tests.compute.image_files import sound
from tests.compute.test_images import begin, send

pytestmark = pytest.mark.django_db(transaction=True)
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_spool(settings: Any, tmp_path: Path) -> None:
    settings.IMAGE_SPOOL = tmp_path / "spool"
    settings.DATA_DIR = tmp_path


def arrived(institute: Any, tmp_path: Path, **more: Any) -> tuple[Image, Job]:
    data = sound(tmp_path, **more)
    image = send(institute, begin(institute, data, format=more.get("kind", "qcow2")), data)
    return image, Job.objects.get(target_uid=image.pk)


def test_an_inspection_waits_its_turn_and_leaves_other_workers_free(institute, tmp_path, monkeypatch):
    image, job = arrived(institute, tmp_path)
    looked: list[str] = []
    count, check = inspection.digest_of, qemu_img.check

    def places(work: str, act: Any) -> Any:
        def acted(*args: Any, **more: Any) -> Any:
            with spool.inspecting() as has_another, spool.slow_work() as has_place:
                looked.append(f"{work} {has_another} {has_place}")
            return act(*args, **more)

        return acted

    monkeypatch.setattr(inspection, "digest_of", places("checksum", count))
    monkeypatch.setattr(qemu_img, "check", places("check", check))
    with spool.inspecting() as has_place:
        assert has_place
        for _ in range(3):
            advance(job.pk)
        waiting = Job.objects.get(pk=job.pk)
        assert waiting.status == "started"
        assert "being inspected" in str(said(waiting.steps.get(name="checksum").message))
        assert looked == []
    assert run_to_end(job.pk).status == "finished"
    assert looked == ["checksum False True", "check False True"]
    image.refresh_from_db()
    assert image.status == "ready"


def test_qemus_look_waits_its_turn_too(institute, tmp_path, monkeypatch):
    _image, job = arrived(institute, tmp_path)
    look, held = inspection.inspect, ExitStack()

    def looked(*args: Any, **more: Any) -> Any:
        assert held.enter_context(spool.inspecting())
        return look(*args, **more)

    monkeypatch.setattr(inspection, "inspect", looked)
    with held:
        for _ in range(4):
            advance(job.pk)
        check = Job.objects.get(pk=job.pk).steps.get(name="check")
        assert "being inspected" in str(said(check.message))
    assert run_to_end(job.pk).status == "finished"


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0.0, 3600.0])
def test_a_cancel_is_heard_while_the_checksum_is_counted(institute, tmp_path, monkeypatch, seconds):
    image, job = arrived(institute, tmp_path, kind="raw")
    read: list[int] = []
    count = inspection.digest_of

    def counted(path: Path, *, report: Any) -> str:
        def told(so_far: int) -> None:
            if not read:
                cancel_job(job.pk)
            read.append(so_far)
            report(so_far)

        return count(path, report=told)

    # Either by the clock, or by how far it is.
    monkeypatch.setattr(operations, "LOOK_SECONDS", seconds)
    monkeypatch.setattr(operations, "STEP_PERCENT", 5 if seconds else 1000)
    monkeypatch.setattr(inspection, "digest_of", counted)
    ended = run_to_end(job.pk)
    assert (ended.status, ended.error["code"]) == ("aborted", "cancelled")
    assert read == [inspection.CHUNK], "of eight"
    assert not spool.uploaded(image.pk).exists()


@pytest.mark.once
def test_a_worker_is_always_free_besides_what_holds_one_for_long():
    slow = configured.SLOW_WORK_AT_ONCE + configured.INSPECTIONS_AT_ONCE
    unit = (REPOSITORY / "deploy/systemd/stegi-worker.service").read_text()
    ours = ast.unparse(ast.parse((REPOSITORY / "bin/programs.py").read_text()))
    for text in (unit, ours):
        assert int(text.partition("--concurrency=")[2].split()[0].strip("',")) > slow
