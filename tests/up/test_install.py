"""The install step: looks first, starts no service, leaves the machine's own policy as it was."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import install
import pytest


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(install, "POLICY", path)
    return path


def test_missing_packages_are_those_dpkg_has_not_installed() -> None:
    assert install.missing_packages(["dpkg", "no-such-package-anywhere"]) == ["no-such-package-anywhere"]


def test_lists_name_each_package_once_and_comments_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "PACKAGE_LISTS", tmp_path)
    (tmp_path / "a.txt").write_text("# why\nqemu-utils\n\nmtools  # for FAT\n")
    (tmp_path / "b.txt").write_text("mtools\n")
    assert install.wanted_packages("a", "b") == ["qemu-utils", "mtools"]
    with pytest.raises(install.InstallError, match=r"c\.txt"):
        install.wanted_packages("c")


@pytest.mark.parametrize("name", ["base", "run", "test", "tiny-linux", "node"])
def test_every_list_is_there(name: str) -> None:
    assert install.wanted_packages(name)


def test_services_are_denied_while_packages_install_and_no_trace_remains(policy: Path) -> None:
    with install._no_service_starts():
        assert subprocess.run([str(policy), "redis-server", "start"], check=False).returncode == 101
    assert not policy.exists()


def test_services_stay_denied_only_as_long_even_when_installing_fails(policy: Path) -> None:
    with pytest.raises(install.InstallError), install._no_service_starts():
        raise install.InstallError("apt-get failed", "try again")
    assert not policy.exists()


def test_what_came_along_does_not_start_at_the_next_boot_and_what_was_there_is_left_alone(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, disabled = {"mdadm"}, list[str]()
    monkeypatch.setattr(install, "wanted_packages", lambda *_lists: ["guestfs-tools"])
    monkeypatch.setattr(install, "missing_packages", lambda wanted: [name for name in wanted if name not in there])
    monkeypatch.setattr(install, "_apt_install", lambda _missing: there.update({"guestfs-tools", "lvm2"}))
    monkeypatch.setattr(install, "_disable_at_boot", disabled.extend)
    assert install.install_packages("seal") == ["guestfs-tools"]
    assert disabled == ["lvm2"]


def test_the_machines_own_policy_is_left_alone(policy: Path) -> None:
    policy.write_text("#!/bin/sh\nexit 0\n")
    policy.chmod(0o750)
    with install._no_service_starts():
        assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert stat.S_IMODE(policy.stat().st_mode) == 0o750


def test_what_a_killed_run_left_is_cleared_by_the_next(policy: Path) -> None:
    policy.write_text(install.POLICY_TEXT)
    with install._no_service_starts():
        assert policy.exists()
    assert not policy.exists()


def test_an_unchanged_lock_starts_neither_pip_nor_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no pip and no npm to be had, only a step that starts neither can succeed."""
    install.install_python("base", "test")
    install.install_browser_libraries()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(install, "PIP_SECONDS", 0)
    assert install.install_python("base", "test") == install.VENV_PYTHON
    install.install_browser_libraries()


def test_the_lock_of_the_browser_libraries_names_no_registry() -> None:
    lock = (install.BROWSER_LIBRARIES / "package-lock.json").read_text()
    assert "resolved" not in lock
    assert lock.count('"integrity": "sha512-') == lock.count('"node_modules/')


def test_a_failed_program_is_told_by_its_error_and_not_by_its_last_line() -> None:
    said = "Reading package lists...\nE: Unable to locate package nonsense\nsome advice\n"
    assert install._telling_line(said) == "E: Unable to locate package nonsense"
    assert install._telling_line("") == "it said nothing"


@pytest.mark.long
def test_a_program_that_is_not_there_or_hangs_is_a_failed_run() -> None:
    assert install._logged(["/no/such/program"], seconds=5).returncode == 127
    assert install._logged(["sleep", "30"], seconds=1).returncode == 124
