"""PostgreSQL of Debian's package on a database cluster of its own, reached by a unix socket alone."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.lab.servers import RealPartFailed, Server, new_folder

PROGRAMS: Final = Path("/usr/lib/postgresql")
DATABASE: Final = "stegi"
# The data live as long as the test run: nothing is lost by not waiting for the disk.
SETTINGS: Final = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=300",
    "listen_addresses=",
)


class PostgresServer(Server):
    name = "postgres"

    def __init__(self) -> None:
        super().__init__(new_folder("pg"))
        self.data = self.folder / "data"

    @property
    def user(self) -> str | None:
        """initdb and postgres refuse to run as root: the package's own user, who runs nothing else here."""
        return "postgres" if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        """For DATABASE_URL; the folder of the socket travels as a quoted host name."""
        return f"postgres://{self._role}@{quote(str(self.folder), safe='')}/{DATABASE}"

    def prepare(self) -> None:
        if self.data.exists():
            return
        if self.user:
            shutil.chown(self.folder, self.user, self.user)
        options = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
        self._once("initdb", *options, f"--username={self._role}", "-D", str(self.data))

    def command(self) -> Sequence[str]:
        settings = [argument for setting in SETTINGS for argument in ("-c", setting)]
        return [_program("postgres"), "-D", str(self.data), "-k", str(self.folder), *settings]

    def start(self) -> None:
        super().start()
        if not self.sql(f"select 1 from pg_database where datname = '{DATABASE}'"):
            self.sql(f"create database {DATABASE}")

    def answers(self) -> bool:
        asked = [_program("pg_isready"), "-q", "-h", str(self.folder), "-t", "2"]
        return subprocess.run(asked, check=False, timeout=10).returncode == 0

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        """Runs a statement, in the maintenance database unless another is named; what it answers, unadorned."""
        return self._once("psql", "-h", str(self.folder), "-U", self._role, "-d", database, "-qAtc", statement).strip()

    @property
    def _role(self) -> str:
        return self.user or pwd.getpwuid(os.geteuid()).pw_name

    def _once(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [_program(program), *arguments], cwd=self.folder, user=self.user, group=self.user,
            extra_groups=[] if self.user else None, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        if done.returncode != 0:
            raise RealPartFailed(f"{program} failed: {done.stderr.strip()}")
        return done.stdout


def _program(name: str) -> str:
    """Debian keeps PostgreSQL's programs off the PATH, one folder for each version; the newest wins."""
    found = sorted(PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    if not found:
        raise RealPartFailed(f"there is no {name} under {PROGRAMS} (Debian package postgresql)")
    return str(found[-1])
