"""What a far host says is read to a bound, in bytes and in seconds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from portal.hypervisors.findings import Finding
from portal.hypervisors.libvirt import surroundings
from portal.hypervisors.specs import Connection

pytestmark = pytest.mark.once

FAR = Connection("libvirt", "qemu+ssh://root@far.example/system", uuid4(), uuid4(), secrets={"ssh_key": "key"})


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Finding]:
    """The look at its clock, where an SSH client does this."""

    def look(script: str) -> Finding:
        program = tmp_path / "ssh"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return next(probe for probe in surroundings.probes(FAR) if probe.step == "clock").look()

    return look


def test_a_host_that_talks_without_end_is_not_heard_to_it(clock: Callable[[str], Finding], tmp_path: Path) -> None:
    said_all = tmp_path / "said-all"
    found = clock(f"date +%s\nhead -c 1000000 /dev/zero\ntouch {said_all}")
    assert found.code == "clock_not_told"
    assert not said_all.exists()


def test_what_it_complains_of_is_no_answer_and_none_is_kept(clock: Callable[[str], Finding]) -> None:
    found = clock("head -c 1000000 /dev/zero >&2\ndate +%s.%N")
    assert (found.code, abs(int(found.data["skew_seconds"])) < 60) == ("", True)


def test_a_host_that_does_not_end_is_left_in_time(
    clock: Callable[[str], Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "CLOCK_SECONDS", 0.5)
    assert clock("date +%s\nexec sleep 60").code == "clock_not_told"
    assert clock("exec >&-\nexec sleep 60").code == "clock_not_told"


def test_a_command_that_fails_has_said_nothing(clock: Callable[[str], Finding]) -> None:
    assert clock("date +%s\nexit 1").code == "clock_not_told"
