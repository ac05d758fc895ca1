"""IN05, seen from outside: which files a worker and its programs open while hostile images are inspected."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from compute.models import Image
from portal.jobs.models import Job
from tests.compute import image_files
from tests.compute.image_files import HOSTILE, backing_file, sound
from tests.compute.test_images import begin, send
from tests.jobs.workers import running_workers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long]

# Programs and the files they open, of all processes beneath; the filter in the kernel lets everything else run at full speed.
STRACE = ("strace", "--seccomp-bpf", "-f", "-qq", "-s", "4096", "-e", "trace=execve,open,openat,creat")
CALL = re.compile(r'^(?P<pid>\d+) +(?P<call>\w+)\((?:AT_FDCWD, |\d+[^,]*, )?"(?P<path>(?:[^"\\]|\\.)*)"')
NAMING_FILES = {
    "backing file",
    "backing file said to be raw",
    "data file",
    "json: as bytes",
    "VMDK descriptor",
    "VMDK descriptor said to be raw",
}
FOR_QEMU_IMG = {"truncated", "table beyond the end"}
SYSTEM = ("/lib/", "/usr/", "/etc/", "/proc/", "/sys/", "/dev/", "/nix/")


def opened(log: Path) -> dict[str, list[str]]:
    """The paths that were opened, by the program of their process."""
    programs: dict[str, str] = defaultdict(str)
    found: dict[str, list[str]] = defaultdict(list)
    for line in log.read_text(errors="replace").splitlines():
        seen = CALL.match(line)
        if seen is None:
            continue
        if seen["call"] == "execve":
            if line.endswith("= 0"):
                programs[seen["pid"]] = Path(seen["path"]).name
                found[Path(seen["path"]).name].append("")
        else:
            found[programs[seen["pid"]]].append(seen["path"])
    return dict(found)


@pytest.fixture
def bait(tmp_path: Path, monkeypatch: Any) -> Path:
    """A file of the host that hostile images name, and that nobody has a reason to open."""
    path = tmp_path / "bait"
    path.write_bytes(b"secret" * 1000)
    monkeypatch.setattr(image_files, "SECRET", str(path))
    return path


def test_the_watch_sees_a_program_that_is_taken_in(tmp_path, bait):
    image, log = tmp_path / "over.qcow2", tmp_path / "log"
    image.write_bytes(backing_file(tmp_path))
    subprocess.run([*STRACE, "-o", str(log), "qemu-img", "check", str(image)], check=False, capture_output=True)
    assert str(bait) in opened(log)["qemu-img"]


@pytest.mark.turns
def test_IN05_nothing_but_the_upload_is_opened_and_by_nobody_who_must_not(institute, tmp_path, settings, bait):  # noqa: N802
    settings.IMAGE_SPOOL = tmp_path / "spool"
    log, images = tmp_path / "log", {}
    for case in NAMING_FILES | FOR_QEMU_IMG:
        make, said, _reason = HOSTILE[case]
        data = make(tmp_path)
        images[case] = send(institute, begin(institute, data, format=said), data)
    data = sound(tmp_path)
    images["sound"] = send(institute, begin(institute, data), data)
    with running_workers((*STRACE, "-o", str(log))) as workers:
        for image in images.values():
            assert workers.run(Job.objects.get(target_uid=image.pk).pk) == 0
    found = opened(log)
    ends = dict(Image.objects.values_list("pk", "reason"))
    wanted = {case: HOSTILE[case][2] if case in HOSTILE else "" for case in images}
    assert {case: ends[image.pk] for case, image in images.items()} == wanted

    everything = [path for paths in found.values() for path in paths]
    for told in (str(bait), "data.raw", "json:", "nbd:"):
        assert [path for path in everything if told in path] == [], told
    uploads = {str(settings.IMAGE_SPOOL / f"{image.pk}.upload"): case for case, image in images.items()}
    by_qemu = {path for path in found["qemu-img"] if path and not path.startswith(SYSTEM)}
    assert by_qemu <= uploads.keys(), "nothing but uploads"
    seen = {uploads[path] for path in by_qemu}
    assert seen == FOR_QEMU_IMG | {"sound"}, "what is qcow2 and stands alone, and the watch sees qemu-img at its work"
    programs = {name for name in found if name.startswith("qemu")}
    assert programs == {"qemu-img"}
