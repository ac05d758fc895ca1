"""IN06, measured: what the bounds let a bomb have of memory, processor and disk, where nothing before them has stopped it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from compute.qemu_img import MEMORY_BYTES
from tests.compute.image_files import BOMBS, MIB, counted_in_memory, repeated, unpacked_for_ever

pytestmark = [pytest.mark.once, pytest.mark.long]
CONVERT = "qemu_img.convert(Path(sys.argv[2]), said='qcow2', target=Path(sys.argv[3]), bounds=qemu_img.Bounds({}, {}))"
CHECK = "qemu_img.check(Path(sys.argv[2]), bounds=qemu_img.Bounds(120, file_bytes=0))"
# A process of its own, so that what its children needed is theirs alone.
RUN = """
import json, resource, subprocess, sys
from pathlib import Path
from compute import inspection, qemu_img
failed = ""
def own():  # the largest that it was; getrusage would tell what this process was forked from
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
before = own()
try:
    exec(sys.argv[1])
except (qemu_img.QemuImgFailed, inspection.Refused) as error:
    failed = error.detail
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([failed, used.ru_maxrss * 1024, used.ru_utime + used.ru_stime, (own() - before) * 1024]))
"""


@dataclass(frozen=True, slots=True)
class Used:
    """What a call needed: of memory and of the processor by its children, of memory by itself. In bytes and seconds."""

    failed: str
    rss: int
    cpu: float
    own_rss: int


def measured(code: str, *paths: Path) -> Used:
    command = [sys.executable, "-c", RUN, code, *map(str, paths)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return Used(*json.loads(done.stdout))


def test_IN06_memory_is_refused_to_an_image_that_wants_more_than_the_bound(tmp_path: Path) -> None:  # noqa: N802
    counted_in_memory(tmp_path / "small", mib=256)
    small = measured(CHECK, tmp_path / "small")
    assert (small.failed, small.rss > 256 * MIB) == ("", True), "it is a bomb when it is larger"
    counted_in_memory(tmp_path / "bomb", mib=MEMORY_BYTES // MIB)
    got = measured(CHECK, tmp_path / "bomb")
    assert "Cannot allocate memory" in got.failed
    assert got.rss < MEMORY_BYTES // 4


def test_IN06_the_kernel_ends_what_unpacks_for_ever_even_where_nobody_looks_at_the_clock(tmp_path: Path) -> None:  # noqa: N802
    (tmp_path / "bomb").write_bytes(unpacked_for_ever(tmp_path))
    blind = "run = subprocess.run; subprocess.run = lambda *a, timeout, **k: run(*a, **k); "
    got = measured(blind + CONVERT.format(1, 64 * MIB), tmp_path / "bomb", tmp_path / "made.qcow2")
    assert "ended with -9" in got.failed
    assert 0.9 < got.cpu < 3
    assert list(tmp_path.glob("made*")) == []


def test_IN06_no_more_is_written_than_the_bound(tmp_path: Path) -> None:  # noqa: N802
    (tmp_path / "bomb").write_bytes(repeated(tmp_path))
    kept = "Path.unlink = lambda *a, **k: None; "  # so that what it wrote is there to be measured
    got = measured(kept + CONVERT.format(60, 16 * MIB), tmp_path / "bomb", tmp_path / "made.qcow2")
    assert got.failed
    [part] = tmp_path.glob("made*")
    assert part.suffix == ".part"
    assert MIB < part.stat().st_blocks * 512 <= 16 * MIB + 4096


def test_IN06_looking_at_bombs_needs_little(tmp_path: Path) -> None:  # noqa: N802
    for number, (make, _said, _reason) in enumerate(BOMBS.values()):
        (tmp_path / f"{number}.image").write_bytes(make(tmp_path))
    (tmp_path / "packed.image").write_bytes(unpacked_for_ever(tmp_path))
    counted_in_memory(tmp_path / "holes.image", mib=MEMORY_BYTES // MIB)
    looks = """
for path in sorted(Path(sys.argv[2]).glob("*.image")):
    try:
        inspection.inspect(path, said="qcow2", most_virtual_bytes=1 << 40)
    except inspection.Refused as error:
        failed += f"{error.code} "
"""
    got = measured(looks, tmp_path)
    assert len(got.failed.split()) == len(BOMBS) - 1, "a table of a million entries is found by qemu-img"
    assert got.own_rss < 48 * MIB
    assert got.cpu == 0, "no program was run"
