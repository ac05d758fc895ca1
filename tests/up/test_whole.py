"""bin/up as an operator runs it: real processes, a real Redis, a real libvirtd."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.up.portal_run import PortalRun, eventually, stranger

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("libvirtd")]
NAMES = {"redis", "worker", "beat", "watcher", "web"}


@pytest.fixture(scope="module")
def started() -> Iterator[PortalRun]:
    """One portal for all tests here, for the first start of one takes longest."""
    run = PortalRun.new()
    assert "applying migrations" in run.start()
    yield run
    run.close()


@pytest.fixture
def running(started: PortalRun) -> PortalRun:
    """It runs, even when the last test ended it."""
    if not started.living():
        started.start()
    return started


@pytest.fixture
def stopped(started: PortalRun) -> PortalRun:
    """It was there before, and does not run."""
    if started.living():
        assert started.up("--stop").returncode == 0
    return started


class TestARunningPortal:
    def test_a_detached_start_returns_when_the_portal_answers(self, started: PortalRun) -> None:
        assert started.answers()

    def test_status_names_every_process_with_its_number(self, started: PortalRun) -> None:
        status = started.status()
        assert status["url"] == f"http://127.0.0.1:{started.port}/"
        assert {entry["name"] for entry in status["processes"]} == NAMES
        assert {entry["status"] for entry in status["processes"]} == {"running"}
        for entry in status["processes"]:
            os.kill(entry["pid"], 0)

    def test_the_super_admin_has_a_generated_password(self, started: PortalRun) -> None:
        (login,) = started.status()["logins"]
        assert login["rank"] == "super-admin"
        assert len(login["password"]) >= 16

    def test_everything_is_for_its_owner_alone(self, started: PortalRun) -> None:
        assert stat.S_IMODE(started.data.stat().st_mode) == 0o700
        files = [started.data / "state.json", *(started.data / "secrets").iterdir()]
        assert {path.name for path in files} >= {"state.json", "secret_key", "seal_keys", "logins.json"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}

    def test_no_secret_is_in_a_listing_of_processes(self, started: PortalRun) -> None:
        password = started.status()["logins"][0]["password"]
        secrets = [(started.data / "secrets" / name).read_text().strip() for name in ("secret_key", "seal_keys")]
        for pid in started.living():
            shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
            assert not [secret for secret in (*secrets, password) if secret.encode() in shown]

    def test_redis_listens_on_no_port(self, started: PortalRun) -> None:
        listing = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
        assert f"pid={started.process('redis')['pid']}," not in listing
        assert stat.S_ISSOCK((started.data / "redis" / "redis.sock").stat().st_mode)

    def test_a_second_start_is_refused_in_one_line(self, started: PortalRun) -> None:
        again = started.up("--no-demo")
        assert again.returncode == 1
        assert "already runs" in again.stderr
        assert len(again.stderr.splitlines()) == 1
        assert started.answers()

    @pytest.mark.parametrize("name", ["worker", "web", "redis"])
    def test_a_killed_process_is_started_again(self, started: PortalRun, name: str) -> None:
        before = started.process(name)
        pool = [int(pid) for pid in Path(f"/proc/{before['pid']}/task/{before['pid']}/children").read_text().split()]
        os.kill(before["pid"], signal.SIGKILL)
        assert eventually(lambda: started.process(name)["restarts"] == before["restarts"] + 1)
        assert eventually(lambda: started.process(name)["status"] == "running")
        assert started.process(name)["pid"] != before["pid"]
        assert not [pid for pid in pool if Path(f"/proc/{pid}").exists()]
        assert eventually(started.answers)


def test_a_second_start_keeps_all(running: PortalRun) -> None:
    logins = running.status()["logins"]
    assert running.up("--stop").returncode == 0
    second = running.start()
    assert "applying migrations" not in second
    assert "collecting" not in second
    assert running.status()["logins"] == logins


def test_stop_ends_every_process_of_ours_and_no_stranger_whatever_the_state_file_says(running: PortalRun) -> None:
    state, bystander = running.state(), stranger()
    assert running.up("--stop").returncode == 0
    assert running.living() == []
    assert bystander.poll() is None
    assert running.up("--status").returncode == 3
    # The file of before, with numbers that are a stranger's by now.
    state["supervisor"] = [bystander.pid, 1]
    for entry in state["processes"]:
        entry["identity"] = [bystander.pid, 1]
    (running.data / "state.json").write_text(json.dumps(state))
    assert running.up("--stop").returncode == 0
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_ctrl_c_ends_every_process(stopped: PortalRun) -> None:
    process = stopped.start_in_foreground()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert stopped.living() == []


def test_a_port_in_use_is_one_clear_line(portal_run: PortalRun) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", portal_run.port))
        taken.listen()
        done = portal_run.up("--detach", "--no-demo")
    assert done.returncode == 1
    assert f"port {portal_run.port}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert portal_run.living() == []


def test_an_address_beyond_loopback_gets_tls_with_a_generated_certificate(stopped: PortalRun) -> None:
    """Inside the lab's own network namespace, so that nothing outside can reach it."""
    output = stopped.start("--bind=0.0.0.0")
    assert "SHA-256 fingerprint" in output
    context = ssl.create_default_context(cafile=stopped.data / "tls" / "certificate.pem")
    with socket.create_connection(("127.0.0.1", stopped.port), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as secured:
            secured.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert secured.recv(12).startswith(b"HTTP/1.1 ")
    assert stopped.status()["url"].startswith("https://")


def test_what_a_killed_supervisor_left_is_ended_by_stop(running: PortalRun) -> None:
    os.kill(running.state()["supervisor"][0], signal.SIGKILL)
    assert running.living() != []
    assert running.up("--status").returncode == 3
    assert running.up("--stop").returncode == 0
    assert running.living() == []
