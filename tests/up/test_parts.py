"""The parts of bin/up that need no portal running."""

from __future__ import annotations

import os
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path

import addresses
import engine
import processes
import pytest
import supervisor as supervising
import virtualization
from failure import StartError
from folder import DataFolder
from options import parse
from processes import Identity
from supervisor import Program, Supervisor

from tests.up.portal_run import eventually, stranger

pytestmark = pytest.mark.long


def test_a_process_number_with_another_start_is_a_stranger() -> None:
    bystander = stranger()
    found = processes.identify(bystander.pid)
    assert found
    processes.end([Identity(found.pid, found.started + 1)], grace=0)
    assert bystander.poll() is None
    processes.end([found], grace=0)
    assert bystander.wait(timeout=10) == -signal.SIGTERM


def test_a_zombie_does_not_live() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    assert eventually(lambda: processes.identify(process.pid) is None)
    process.wait()


def test_secrets_are_made_once_and_closed(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "d")
    folder.make()
    before = [path.read_text() for path in (folder.secret_key, folder.seal_keys)]
    folder.secret_key.chmod(0o644)
    folder.make()
    assert [path.read_text() for path in (folder.secret_key, folder.seal_keys)] == before
    assert stat.S_IMODE(folder.secret_key.stat().st_mode) == 0o600
    assert len(folder.secret_key.read_text().strip()) >= 50


def test_a_folder_with_other_files_is_neither_used_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")
    folder = DataFolder(tmp_path)
    with pytest.raises(StartError, match="not a portal's"):
        folder.make()
    with pytest.raises(StartError, match="no portal's data folder"):
        folder.remove()
    assert (tmp_path / "letter").read_text() == "dear"


@pytest.mark.parametrize("path", ["/tmp/a b", "/tmp/a?b", "/tmp/a%20b", "/tmp/" + "x" * 90])
def test_a_path_that_no_socket_or_url_can_carry_is_refused(path: str) -> None:
    with pytest.raises(StartError, match="--data"):
        DataFolder(Path(path)).make()


def test_a_second_holder_of_a_folder_is_refused(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "d")
    folder.make()
    with folder.alone(), pytest.raises(StartError, match="already runs") as refused, folder.alone():
        pass
    assert f"bin/up --data {tmp_path}/d --stop" in str(refused.value)


def test_what_to_type_names_the_folder_where_it_is_not_the_usual_one(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    words = shlex.split(DataFolder(folder).command("status"))
    assert (words[0], parse(words[1:]).action, parse(words[1:]).data) == ("bin/up", "status", folder)
    assert DataFolder(parse([]).data).command("stop") == "bin/up --stop"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--tls-cert=/etc/hostname"], "belong together"),
        (["--json"], "--status"),
        (["--tls-cert=/nowhere", "--tls-key=/nowhere"], "cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_named(arguments: list[str], complaint: str) -> None:
    with pytest.raises(StartError, match=complaint):
        parse(arguments)


@pytest.mark.parametrize("arguments", [["--port=0"], ["--port=70000"], ["--bind=example"], ["--stop", "--status"]])
def test_options_that_mean_nothing_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parse(arguments)
    assert refused.value.code == 2


def test_an_engine_without_the_demo_is_refused_and_its_port_stays_the_same(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="--with-ovirt adds to the demo"):
        parse(["--with-ovirt", "--no-demo"])
    folder = DataFolder(tmp_path / "d")
    folder.make()
    assert engine.address(folder) == "", "none was ever started"
    first = engine.program(folder, tmp_path / "image").command
    assert engine.program(folder, tmp_path / "image").command == first
    assert engine.address(folder).startswith("https://127.0.0.1:")


def test_the_engine_is_held_to_the_schema_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DataFolder(tmp_path / "d")
    folder.make()
    for named, more in (("", []), ("/srv/reference", ["--reference=/srv/reference"])):
        monkeypatch.setenv("STEGI_REFERENCE", named)
        command = engine.program(folder, tmp_path / "image").command
        assert [part for part in command if part.startswith("--reference")] == more


def test_a_loopback_address_needs_no_tls_and_any_other_gets_it(tmp_path: Path) -> None:
    assert addresses.reach(parse(["--bind=::1", "--port=8123"]), tmp_path).url == "http://[::1]:8123/"
    beyond = addresses.reach(parse(["--bind=192.0.2.7", "--port=443"]), tmp_path)
    assert beyond.url == "https://192.0.2.7/"
    assert beyond.key
    assert stat.S_IMODE(beyond.key.stat().st_mode) == 0o600


def test_a_certificate_is_kept_until_the_names_change(tmp_path: Path) -> None:
    first = addresses.generated(tmp_path, ("192.0.2.7",))[0].read_text()
    assert addresses.generated(tmp_path, ("192.0.2.7",))[0].read_text() == first
    assert addresses.generated(tmp_path, ("192.0.2.7", "stegi.example"))[0].read_text() != first


def test_a_certificate_and_a_foreign_key_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    certificate, _ = addresses.generated(tmp_path / "a", ("localhost",))
    _, key = addresses.generated(tmp_path / "b", ("localhost",))
    with pytest.raises(StartError, match="no usable pair"):
        addresses.reach(parse([f"--tls-cert={certificate}", f"--tls-key={key}"]), tmp_path)


def test_a_grown_log_is_put_aside_and_its_writer_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "LOG_BYTES", 10)
    path = tmp_path / "web.log"
    with path.open("ab", buffering=0) as writer:
        for turn in range(6):
            writer.write(f"turn {turn} of a long log\n".encode())
            supervising.rotate(path)
        writer.write(b"after\n")
    assert path.read_text() == "after\n"
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == ["web.log", "web.log.1", "web.log.2", "web.log.3"]
    assert (tmp_path / "web.log.1").read_text().startswith("turn 5")
    assert (tmp_path / "web.log.3").read_text().startswith("turn 3")


@pytest.fixture
def watch_over(tmp_path: Path) -> Supervisor:
    folder = DataFolder(tmp_path / "d")
    folder.make()
    return Supervisor(folder, {"PATH": os.environ["PATH"]}, lambda: None)


class Clock:
    """The supervisor's clock, which the test alone puts forward."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_delays_grow_while_a_process_keeps_ending(watch_over: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(supervising, "time", clock)
    child = watch_over.add(Program("short", ["/bin/true"]))
    for restarts, delay in enumerate((0.5, 1, 2, 4)):
        assert eventually(lambda: watch_over.tick() or child.process is None), "its end was not seen"
        clock.now += delay - 0.01
        watch_over.tick()
        assert child.restarts == restarts
        clock.now += 0.02
        watch_over.tick()
        assert child.restarts == restarts + 1
    watch_over.stop()


def test_a_process_that_ignores_the_request_to_end_is_killed_with_its_children(watch_over: Supervisor) -> None:
    stubborn = "import signal,subprocess,sys,time;signal.signal(15,1);subprocess.Popen(['sleep','300']);print('on',flush=True);time.sleep(300)"
    child = watch_over.add(Program("stubborn", [sys.executable, "-c", stubborn], grace=0.5))
    assert eventually(lambda: "on" in child.log.read_text())
    assert len(processes.marked(watch_over.mark)) == 2
    watch_over.stop()
    assert processes.marked(watch_over.mark) == []


def test_a_program_that_vanished_is_tried_again_and_the_others_run_on(watch_over: Supervisor, tmp_path: Path) -> None:
    other = watch_over.add(Program("other", ["sleep", "300"]))
    program = tmp_path / "program"
    program.symlink_to("/bin/true")
    child = watch_over.add(Program("gone", [str(program)]))
    program.unlink()
    assert eventually(lambda: watch_over.tick() or child.restarts > 0)
    assert child.process is None
    assert other.process
    assert other.process.poll() is None
    watch_over.stop()


@pytest.mark.parametrize("answers", [True, False])
def test_a_libvirtd_that_another_start_brings_up_meanwhile_is_taken(monkeypatch, answers: bool) -> None:
    tried: list[str] = []
    monkeypatch.setattr(virtualization, "_start_commands", lambda: [["false"], ["false", "-d"]])
    monkeypatch.setattr(virtualization, "answers", lambda: bool(tried) and answers)
    monkeypatch.setattr(virtualization, "OVERTAKEN_SECONDS", 0)
    monkeypatch.setattr(virtualization, "say", tried.append)
    if answers:
        virtualization.ensure()
    else:
        with pytest.raises(StartError, match="false failed with exit code 1"):
            virtualization.ensure()
    assert tried == ["starting libvirtd"]
