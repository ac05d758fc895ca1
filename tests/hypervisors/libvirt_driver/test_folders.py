"""Keys lie in files for a moment, also where a process ended in that moment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from portal.hypervisors.libvirt import folders
from portal.hypervisors.libvirt.folders import KEPT_SECONDS, KEYS, SCREENS
from portal.hypervisors.libvirt.transport import private_folder
from tests.lab.servers import wait_until

pytestmark = pytest.mark.once


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folders, "MEMORY", tmp_path)
    monkeypatch.setattr(folders, "_later", later := folders._Later())
    monkeypatch.setattr(folders.tempfile, "gettempdir", lambda: str(tmp_path))
    yield tmp_path
    if later.timer is not None:
        later.timer.cancel()


@pytest.fixture
def left(memory: Path) -> Callable[..., Path]:
    """A folder with a key, as of a process that was killed so long ago."""

    def leave(name: str, *, seconds: float) -> Path:
        folder = memory / name
        folder.mkdir(0o700)
        (folder / "key").write_text("secret")
        os.utime(folder, (time.time() - seconds,) * 2)
        return folder

    return leave


def test_what_a_killed_process_left_is_swept_at_the_next_use_and_nothing_that_may_be_in_use(
    left: Callable[..., Path], memory: Path
) -> None:
    old = [left(f"{KEYS}old", seconds=KEPT_SECONDS + 5), left(f"{SCREENS}old", seconds=KEPT_SECONDS + 5)]
    young = left(f"{KEYS}young", seconds=KEPT_SECONDS - 60)
    other = left("another-program", seconds=KEPT_SECONDS + 5)
    with private_folder() as own:
        assert not any(folder.exists() for folder in old)
        assert (young / "key").exists()
        assert other.exists()
    assert not own.exists()
    assert set(memory.iterdir()) == {young, other}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_not_ours(left: Callable[..., Path]) -> None:
    others = left(f"{KEYS}others", seconds=KEPT_SECONDS + 5)
    os.chown(others, 65534, 65534)
    with private_folder():
        assert others.exists()


def test_what_is_too_young_at_the_start_is_swept_later_though_no_other_folder_is_made(
    left: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "KEPT_SECONDS", 0.3)
    young = left(f"{KEYS}young", seconds=0)
    with private_folder():
        assert young.exists()
    wait_until(lambda: not young.exists(), "it to be swept")
