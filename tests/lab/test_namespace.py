"""The lab's namespaces: what is started in them cannot outlive them, however they end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.namespace import LABS, PREFIX
from tests.lab.servers import wait_until

pytestmark = pytest.mark.libvirt
PROGRAM = Path(__file__).with_name("namespace.py")
Lab = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Starts a shell's words in a lab within the lab."""
    started: list[subprocess.Popen[str]] = []

    def starts(words: str) -> subprocess.Popen[str]:
        command = ["/usr/bin/python3", str(PROGRAM), "/bin/sh", "-c", words]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield starts
    for process in started:
        process.kill()
        process.wait(timeout=10)
        if process.stdout:
            process.stdout.close()


def sleepers(seconds: str) -> list[int]:
    """The processes `sleep <seconds>`, those of labs within included."""
    needle = f"sleep\0{seconds}\0".encode()
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _content(path) == needle]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_it_ends_with_the_commands_exit_code(lab: Lab) -> None:
    assert lab("exit 7").wait(timeout=30) == 7
    assert lab("kill -TERM $$").wait(timeout=30) == 128 + signal.SIGTERM


def test_what_the_machines_own_libvirt_has_is_not_there(lab: Lab) -> None:
    folders = [
        Path("/etc/libvirt", name) for name in ("qemu", "qemu/networks/autostart", "storage", "storage/autostart")
    ]
    described = [folder / "of-the-machine.xml" for folder in folders]
    try:
        for path in described:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("<domain/>")
        found = lab("find /etc/libvirt -name 'of-the-machine*'; test -e /etc/libvirt/qemu.conf")
        assert found.stdout is not None
        assert (found.stdout.read(), found.wait(timeout=30)) == ("", 0)
    finally:
        for path in described:
            path.unlink()


def test_what_the_command_left_behind_ends_with_it(lab: Lab) -> None:
    assert lab("setsid sleep 86301 & sleep 0.2").wait(timeout=30) == 0
    assert sleepers("86301") == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_lab_that_is_ended_from_outside_takes_its_processes_along(lab: Lab, how: signal.Signals) -> None:
    seconds = str(86310 + how)
    process = lab(f"setsid sleep {seconds} & exec sleep {seconds}")
    wait_until(lambda: len(sleepers(seconds)) == 2, "the lab to run")
    process.send_signal(how)
    wait_until(lambda: not sleepers(seconds), "its processes to end")


def test_whoever_ends_the_program_of_the_tests_ends_its_lab() -> None:
    """By its process id alone, as a service does that runs it."""
    process = subprocess.Popen([str(PROGRAM.parents[2] / "bin" / "test"), "--exec", "sleep", "86341"])
    wait_until(lambda: bool(sleepers("86341")), "the lab to run")
    process.terminate()
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    wait_until(lambda: not sleepers("86341"), "its processes to end")


def test_the_folder_of_a_killed_lab_goes_with_the_next_run_and_no_living_one_does(lab: Lab) -> None:
    before = set(LABS.glob(f"{PREFIX}*"))
    living, killed = lab("sleep 86331"), lab("sleep 86332")
    wait_until(lambda: bool(sleepers("86331") and sleepers("86332")), "both labs to run")
    killed.kill()
    killed.wait(timeout=10)
    assert len(set(LABS.glob(f"{PREFIX}*")) - before) == 2
    assert lab("true").wait(timeout=30) == 0
    assert len(set(LABS.glob(f"{PREFIX}*")) - before) == 1
    living.terminate()
    living.wait(timeout=10)


def test_temporary_files_are_the_labs_and_their_paths_short(lab: Lab) -> None:
    told = lab("echo $TMPDIR; mktemp; ls -ld --time-style=+ $TMPDIR").communicate(timeout=30)[0].split()
    assert told[0] == "/run/lab/tmp"
    assert told[1].startswith("/run/lab/tmp/")
    assert told[2] == "drwxrwxrwt"


def test_no_proxy_is_asked_for_what_is_on_loopback(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "http_proxy", "http://192.0.2.1:3128")
    assert lab("echo [$http_proxy]").communicate(timeout=30)[0].strip() == "[]"


def test_labs_that_begin_at_the_same_moment_leave_each_other_alone(lab: Lab) -> None:
    assert [each.wait(timeout=60) for each in [lab("exit 0") for _ in range(16)]] == [0] * 16
