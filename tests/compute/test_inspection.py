"""IN05: what somebody uploads who wants the host's files, or to fill its disks, is refused for a named reason."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from compute import inspection, qemu_img, spool
from compute.choices import IMAGE_REFUSALS
from compute.inspection import Refused
from compute.qemu_img import Bounds, QemuImgFailed
from tests.compute.image_files import BOMBS, HOSTILE, MIB, backing_file, repeated, sound
from tests.compute.test_images import uploaded

pytestmark = pytest.mark.once  # the images are the subject
MOST = 64 * 1024**3


@pytest.fixture(autouse=True)
def own_spool(settings: Any, tmp_path: Path) -> None:
    settings.IMAGE_SPOOL = tmp_path / "spool"


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("case", HOSTILE)
def test_IN05_a_hostile_image_is_refused_for_a_named_reason_and_no_byte_stays(institute, tmp_path, case):  # noqa: N802
    make, said, reason = HOSTILE[case]
    image = uploaded(institute, make(tmp_path), format=said)
    assert (image.status, image.reason) == ("refused", reason)
    assert reason in IMAGE_REFUSALS
    assert list(spool.folder().iterdir()) == []


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("case", BOMBS)
def test_IN06_a_bomb_is_refused_for_a_named_reason_and_no_byte_stays(institute, tmp_path, case):  # noqa: N802
    make, said, reason = BOMBS[case]
    bomb = make(tmp_path)
    assert len(bomb) <= MIB
    image = uploaded(institute, bomb, format=said)
    assert (image.status, image.reason) == ("refused", reason)
    assert list(spool.folder().iterdir()) == []


@pytest.mark.parametrize("case", [case for case, (_make, _said, reason) in HOSTILE.items() if reason != "broken"])
def test_IN05_no_program_of_qemu_sees_it(tmp_path, monkeypatch, case):  # noqa: N802
    make, said, reason = HOSTILE[case]
    path = tmp_path / "uploaded"
    path.write_bytes(make(tmp_path))
    monkeypatch.setattr(qemu_img, "_run", lambda *_args, **_more: pytest.fail("qemu-img was run"))
    with pytest.raises(Refused) as refused:
        inspection.inspect(path, said=said, most_virtual_bytes=MOST)
    assert refused.value.code == reason


@examples(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=6000), st.sampled_from(["qcow2", "raw"]), st.booleans())
def test_whatever_the_bytes_are_they_are_facts_or_a_named_reason(tmp_path, data, said, has_head):
    path = tmp_path / "uploaded"
    path.write_bytes((b"QFI\xfb" + struct.pack(">I", 3) if has_head else b"") + data)
    assert _verdict(path, said) in {said, *IMAGE_REFUSALS}


def _verdict(path: Path, said: str) -> str:
    try:
        return inspection.inspect(path, said=said, most_virtual_bytes=MOST).format
    except Refused as refused:
        return refused.code


def test_a_conversion_says_the_format_and_is_whole_or_not_there(tmp_path):
    source, target = tmp_path / "a.upload", tmp_path / "b.qcow2"
    source.write_bytes(sound(tmp_path, kind="raw"))
    torso = tmp_path / "b.torso.part"
    torso.write_bytes(b"x")
    qemu_img.convert(source, said="raw", target=target, bounds=Bounds(60, 64 * MIB))
    assert inspection.inspect(target, said="qcow2", most_virtual_bytes=MOST).virtual_bytes == 8 * MIB
    assert not torso.exists()
    target.unlink()
    with pytest.raises(QemuImgFailed):
        qemu_img.convert(source, said="raw", target=target, bounds=Bounds(60, 64 * 1024))
    assert sorted(path.name for path in tmp_path.glob("b.*")) == []


def test_a_raw_image_whose_bytes_are_a_qcow2_head_opens_nothing_even_if_it_came_so_far(tmp_path):
    source, target = tmp_path / "a.upload", tmp_path / "b.qcow2"
    source.write_bytes(backing_file(tmp_path))
    qemu_img.convert(source, said="raw", target=target, bounds=Bounds(60, 64 * MIB))
    assert b"root:" not in target.read_bytes()


def test_IN06_a_bomb_is_stopped_by_the_bound_on_what_is_written(tmp_path):  # noqa: N802
    source, target = tmp_path / "a.upload", tmp_path / "b.qcow2"
    source.write_bytes(repeated(tmp_path))
    with pytest.raises(QemuImgFailed):
        qemu_img.convert(source, said="qcow2", target=target, bounds=Bounds(60, 32 * MIB))
    assert not target.exists()


def test_what_takes_too_long_is_stopped(tmp_path):
    source = tmp_path / "a.upload"
    source.write_bytes(sound(tmp_path))
    with pytest.raises(QemuImgFailed, match="longer"):
        qemu_img.check(source, bounds=Bounds(0.0001, file_bytes=0))


def test_a_large_image_is_told_by_its_first_bytes(tmp_path, monkeypatch):
    path, read = tmp_path / "uploaded", []
    path.write_bytes(b"KDMV" + struct.pack("<IIQQQQ", 1, 3, 1 << 30, 128, 1 << 40, 1 << 30))
    with path.open("r+b") as file:
        file.truncate(1 << 34)
    eat = inspection.format_inspector.InspectWrapper.read
    monkeypatch.setattr(
        inspection.format_inspector.InspectWrapper, "read", lambda self, size: read.append(size) or eat(self, size)
    )
    with pytest.raises(Refused):
        inspection.inspect(path, said="raw", most_virtual_bytes=1 << 40)
    assert sum(read) <= inspection.SEARCHED
