"""The whole portal as separate processes, with the double for its hypervisor, for a browser to look at."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 60
SETTLE_SECONDS = 60
OPEN_JOBS = "SELECT operation, target_name FROM jobs_job WHERE status IN ('queued', 'started', 'unwinding')"
IMAGE_BYTES = 64 * 1024


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PortalServer:
    """``url``, and ``password(username)`` of the demo's people; ends the processes it started, and no others."""

    def __init__(self, *, redis_url: str) -> None:
        self.data = Path(tempfile.mkdtemp(prefix="pages-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.hypervisor = self.data / "hypervisor"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "portal.settings.test",
            "DATA_DIR": str(self.data),
            "DATABASE_URL": f"sqlite:///{self.data / 'portal.sqlite3'}",
            "REDIS_URL": redis_url,
            "PUBLIC_ORIGINS": self.url,
            "STEGI_TEST_PASS": "",
            "TMPDIR": "",
        }

    def start(self) -> None:
        image = self.data / "image.qcow2"
        image.write_bytes(b"QFI\xfb" + bytes(IMAGE_BYTES))
        self.hypervisor.mkdir()
        self.manage("migrate", "--verbosity=0")
        self.manage("collectstatic", "--noinput", "--verbosity=0")
        demo = ["--kind=double", f"--address=double://{self.hypervisor}", f"--image={image}"]
        self.manage("make_demo", *demo, f"--passwords-out={self.data / 'logins.json'}")
        self.run("-m", "portal.serve", f"--port={self.port}")
        self.run("-m", "celery", "-A", "portal", "worker", "--pool=threads", "--concurrency=4", "--beat", self.schedule)
        self.run("manage.py", "watch")
        self._wait_until_it_answers()

    @property
    def schedule(self) -> str:
        return f"--schedule={self.data / 'beat'}"

    def manage(self, *arguments: str) -> None:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, *arguments: str) -> None:
        log = (self.data / f"process-{len(self.processes)}.log").open("wb")
        self.processes.append(
            subprocess.Popen(
                [sys.executable, *arguments], cwd=REPOSITORY, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        )

    def password(self, username: str) -> str:
        logins = json.loads((self.data / "logins.json").read_text())
        return next(login["password"] for login in logins if login["username"] == username)

    def settle(self) -> None:
        """Wait until no job is under way: what one test left to do would meet what the next one arms and counts."""
        end = time.monotonic() + SETTLE_SECONDS
        while under_way := self._open_jobs():
            assert time.monotonic() < end, f"still under way: {under_way}\n{self.logs()}"
            time.sleep(0.05)

    def _open_jobs(self) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(f"file:{self.data / 'portal.sqlite3'}?mode=ro", uri=True, timeout=10)) as database:
            return database.execute(OPEN_JOBS).fetchall()

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-4000:] for path in sorted(self.data.glob("process-*.log")))

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)
        shutil.rmtree(self.data, ignore_errors=True)

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"{self.url}/login/", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise AssertionError(f"the portal did not answer:\n{self.logs()}")
