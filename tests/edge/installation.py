"""A real installation as processes: production settings, TLS, PostgreSQL and Redis with passwords, secrets from files."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography.fernet import Fernet

from tests.compute.console.certificates import Authority
from tests.compute.console.screen import Screen
from tests.doubles.hypervisor_state import HypervisorDouble
from tests.lab.postgres_server import PostgresServer
from tests.lab.redis_server import RedisServer
from tests.lab.servers import free_port, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "web": ["-m", "portal.serve"],
    "worker": ["-m", "celery", "-A", "portal", "worker", "--pool=prefork", "--concurrency=2", "--loglevel=DEBUG", "--without-gossip", "--without-mingle"],
    "beat": ["-m", "celery", "-A", "portal", "beat", "--pidfile=", "--loglevel=DEBUG"],
    "watcher": ["manage.py", "watch"],
}  # fmt: skip


class GuardedRedis(RedisServer):
    """Redis that asks for a password."""

    def __init__(self, password: str) -> None:
        super().__init__()
        self.password = password

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        (self.folder / "password.conf").write_text(f"requirepass {self.password}\n")
        program, *options = super().command()
        return [program, str(self.folder / "password.conf"), *options]

    def answers(self) -> bool:
        try:
            return self.say("PING", seconds=2).startswith(b"+PONG")
        except OSError:
            return False

    def link(self, *, seconds: float) -> socket.socket:
        """A connection that has given the password."""
        link = socket.create_connection(("127.0.0.1", self.port), timeout=seconds)
        link.sendall(f"AUTH {self.password}\r\n".encode())
        assert link.recv(64).startswith(b"+OK")
        return link

    def say(self, *words: str, seconds: float = 10.0) -> bytes:
        """One command's answer, as far as it comes at once."""
        with self.link(seconds=seconds) as link:
            link.sendall(" ".join(words).encode() + b"\r\n")
            return link.recv(1 << 20)


class Listener(threading.Thread):
    """Everything that is said to a Redis while it runs: Celery's messages, pushes to pages, all keys."""

    def __init__(self, redis: GuardedRedis) -> None:
        super().__init__(daemon=True)
        self._redis = redis
        self._over = threading.Event()
        self.heard = bytearray()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                with self._redis.link(seconds=0.5) as link:
                    link.sendall(b"MONITOR\r\n")
                    self._listen(link)
            except (OSError, AssertionError):
                time.sleep(0.05)

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _listen(self, link: socket.socket) -> None:
        while not self._over.is_set():
            try:
                data = link.recv(1 << 16)
            except TimeoutError:
                continue
            if not data:
                return
            self.heard += data


@dataclass
class Installation:
    """``canaries``: everything secret there is by what it is. What processes say is in ``logs()``."""

    folder: Path
    postgres: PostgresServer
    canaries: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.canaries |= {name: f"canary{secrets.token_hex(16)}" for name in ("redis password", "database password")}
        self.canaries |= {"secret key": secrets.token_urlsafe(64), "display password": "dw" + secrets.token_hex(3)}
        self.canaries |= {f"seal key {number}": Fernet.generate_key().decode() for number in (1, 2)}
        self.canaries["provider password"] = f"canary{secrets.token_hex(16)}"
        self.redis = GuardedRedis(self.canaries["redis password"])
        self.screen = Screen(b"the-screen-of-this-machine")
        self.hypervisor = HypervisorDouble(self.folder / "hypervisor")
        self.hypervisor.configure(console_port=self.screen.port, console_password=self.canaries["display password"])
        self.port = free_port()
        self.address = f"localhost:{self.port}"
        self.origin = f"https://{self.address}"

    @property
    def environment(self) -> dict[str, str]:
        """As of the units: secrets by file alone."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "tests.edge.production_settings",
            "DATA_DIR": str(self.folder),
            "LOG_LEVEL": "DEBUG",
            "ALLOWED_HOSTS": "localhost",
            "PUBLIC_ORIGINS": self.origin,
        } | {
            f"{name}_FILE": str(self.folder / name) for name in ("SECRET_KEY", "SEAL_KEYS", "DATABASE_URL", "REDIS_URL")
        }

    @property
    def ca(self) -> str:
        """The certificate of whom to trust."""
        return str(self.folder / "tls" / "ca-cert.pem")

    def start(self) -> None:
        """Servers, rows, processes."""
        self.redis.start()
        self._write_secrets()
        self._make_rows()
        tls = Authority.make("Lab CA").issue(self.folder / "tls", host="localhost")
        certificate = [f"--certificate={tls / 'server-cert.pem'}", f"--key={tls / 'server-key.pem'}"]
        more = {"web": [f"--port={self.port}", *certificate], "beat": [f"--schedule={self.folder / 'beat'}"]}
        for name, program in PROGRAMS.items():
            self.run(name, *program, *more.get(name, []))
        wait_until(self._answers, "the portal to answer", log=self.folder / "web.log")

    def stop(self) -> None:
        """Ends the processes it started, politely, so that what they say last is heard too."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(15)
        self.processes.clear()

    def close(self) -> None:
        """Everything."""
        self.stop()
        self.redis.stop()
        self.screen.close()

    def run(self, name: str, *command: str) -> None:
        """A process with a log of its own."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *command],
                cwd=REPOSITORY,
                env=self.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def manage(self, *command: str, text: str = "", changes: dict[str, str] | None = None, fails: bool = False) -> None:
        """A management command to its end; what it says is a log too."""
        with (self.folder / "manage.log").open("ab") as log:
            done = subprocess.run(
                [sys.executable, "manage.py", *command], cwd=REPOSITORY, env=self.environment | (changes or {}),
                input=text.encode(), stdout=log, stderr=log, timeout=60, check=False,
            )  # fmt: skip
        assert (done.returncode != 0) == fails, (self.folder / "manage.log").read_text()[-2000:]

    def password(self, username: str) -> str:
        logins = json.loads((self.folder / "logins.json").read_text())
        return str(next(login["password"] for login in logins if login["username"] == username))

    def logs(self) -> dict[str, str]:
        """What each process has said so far."""
        return {path.stem: path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log"))}

    def listings(self) -> Iterator[tuple[str, str]]:
        """What a listing of processes shows of ours and their children: command lines and environments."""
        for pid in self._family():
            for what in ("cmdline", "environ"):
                try:
                    yield f"{what} of {pid}", Path(f"/proc/{pid}/{what}").read_bytes().decode(errors="replace")
                except OSError:
                    continue  # ended meanwhile

    def tables(self) -> Iterator[tuple[str, str]]:
        """A dump of every table of the portal's database."""
        names = self._sql("select tablename from pg_tables where schemaname = 'public'").split()
        for name in names:
            yield f"table {name}", self._sql(f'select t::text from "{name}" t')

    def _family(self) -> list[int]:
        family = [process.pid for process in self.processes.values()]
        for pid in family:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            family += [int(child) for child in children.read_text().split()] if children.exists() else []
        return family

    def _write_secrets(self) -> None:
        socket_folder = quote(str(self.postgres.folder), safe="")
        password = self.canaries["database password"]
        self.postgres.sql(f"create role portal login password '{password}'")
        self.postgres.sql("create database portal owner portal")
        for name, text in {
            "SECRET_KEY": self.canaries["secret key"],
            "SEAL_KEYS": f"{self.canaries['seal key 1']}\n{self.canaries['seal key 2']}",
            "DATABASE_URL": f"postgres://portal:{password}@{socket_folder}/portal",
            "REDIS_URL": self.redis.url,
        }.items():
            (self.folder / name).write_text(text + "\n")

    def _make_rows(self) -> None:
        image = self.folder / "image.qcow2"
        image.write_bytes(b"QFI\xfb" + bytes(65532))
        self.manage("migrate", "--verbosity=0")
        demo = ["--kind=double", f"--address={self.hypervisor.address}", f"--image={image}"]
        self.manage("make_demo", *demo, f"--passwords-out={self.folder / 'logins.json'}")
        self.canaries["password of alice"] = self.password("alice")
        self.manage("shell", "--no-imports", text=SEAL % {"password": self.canaries["provider password"]})

    def _answers(self) -> bool:
        assert all(process.poll() is None for process in self.processes.values()), str(self.logs())[-3000:]
        with socket.socket() as link:
            return link.connect_ex(("127.0.0.1", self.port)) == 0

    def _sql(self, statement: str) -> str:
        return self.postgres.sql(statement, database="portal")


SEAL = """
from portal.common.sealed import seal_json
from portal.hypervisors.models import Provider
Provider.objects.update(username="operator", sealed_secrets=seal_json({"password": "%(password)s"}))
"""


def exchanged(found: Any) -> str:
    """An HTTP answer as one text."""
    return f"{found.status_code} {found.url} {dict(found.headers)} {found.text}"
