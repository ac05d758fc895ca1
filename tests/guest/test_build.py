"""The builder of Tiny Linux: the same image each time, no network with a full cache, one clear line on failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.guest.conftest import BUILDER, CACHE, run_builder

pytestmark = pytest.mark.libvirt
NO_NETWORK = ("unshare", "--net")


@pytest.fixture
def impatient(tmp_path: Path) -> dict[str, str]:
    """An environment in which apt gives up at the first refusal."""
    settings = tmp_path / "apt.conf"
    settings.write_text('Acquire::Retries "0";')
    return {**os.environ, "APT_CONFIG": str(settings)}


def _build_offline(*arguments: str | Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [*NO_NETWORK, sys.executable, BUILDER, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=170, check=False, env=env)


def test_facts_are_those_of_the_image(tiny_linux: dict[str, Any]) -> None:
    image = Path(tiny_linux["file"])
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", image], timeout=30))
    assert (info["format"], info["virtual-size"]) == ("qcow2", tiny_linux["virtual_bytes"])
    assert image.stat().st_size == tiny_linux["file_bytes"] < 35_000_000
    assert tiny_linux["name"] == "Tiny Linux"
    assert tiny_linux["minimum_memory_mib"] <= 192
    assert "cloud" in tiny_linux["kernel"]


def test_full_cache_needs_no_network_and_gives_the_same_image(
    tiny_linux: dict[str, Any], impatient: dict[str, str], tmp_path: Path
) -> None:
    built = _build_offline(tmp_path / "again.qcow2", "--cache", CACHE, "--json", env=impatient)
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["sha256"] == tiny_linux["sha256"]


def test_empty_cache_without_network_is_one_line_with_a_remedy(impatient: dict[str, str], tmp_path: Path) -> None:
    built = _build_offline(tmp_path / "none.qcow2", "--cache", tmp_path / "cache", env=impatient)
    assert built.returncode == 1
    assert built.stdout == ""
    last = built.stderr.splitlines()[-1]
    assert "mirror" in last
    assert "Traceback" not in built.stderr
    assert not (tmp_path / "none.qcow2").exists()


def test_damaged_package_is_noticed(tiny_linux: dict[str, Any], impatient: dict[str, str], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (cache / "packages").mkdir(parents=True)
    sums = json.loads((CACHE / "packages.json").read_text())
    for name in sums:
        (cache / "packages" / name).symlink_to(CACHE.resolve() / "packages" / name)
    (cache / "packages.json").write_text(json.dumps(sums))
    spoilt = cache / "packages" / next(iter(sums))
    spoilt.unlink()
    spoilt.write_bytes(b"half a download")
    built = _build_offline(tmp_path / "none.qcow2", "--cache", cache, env=impatient)
    assert built.returncode == 1
    assert "downloading" in built.stderr


def test_missing_tools_are_named_with_their_packages(tmp_path: Path) -> None:
    # Only sbin is left, where mke2fs and sfdisk live.
    built = run_builder(tmp_path / "none.qcow2", "--cache", tmp_path, env={**os.environ, "PATH": "/nowhere"})
    assert built.returncode == 1
    assert built.stderr.count("\n") == 1
    assert "mtools" in built.stderr
    assert "syslinux" in built.stderr


def test_unwritable_output_is_one_line(tiny_linux: dict[str, Any]) -> None:
    built = run_builder("/proc/nowhere/tiny.qcow2", "--cache", CACHE)
    assert built.returncode == 1
    assert "Traceback" not in built.stderr
