"""Real worker processes for the engine's tests: forked from one that has loaded everything, killed with -9 at will.

As a program it reads requests (a JSON object a line) and answers each with a line. It never touches the database
itself, so that every fork opens a connection of its own.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import django
from django.conf import settings
from django.db import connection

# Settings that say where a test has its own of something.
OWN = (
    "FAULT_POINTS_DIR",
    "IMAGE_SPOOL",
    "DATA_DIR",
    "SYSPREP_FOLDER",
    "SYSPREP_KERNEL",
    "SYSPREP_MODULES",
)
REPOSITORY = Path(__file__).resolve().parent.parent.parent


class Workers:
    """The tests' end: starts worker processes and learns how they ended."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def spawn(self, job_uid: UUID, **options: Any) -> int:
        """A process that works on a job until there is nothing to do for it; its process number."""
        return int(self._ask({"act": "work", "job": str(job_uid), **_folders(), **options}))

    def spawn_call(self, function: str, **arguments: Any) -> int:
        """A process that calls a function ("a.module:name") and ends, as a web process may; its process number."""
        request = {"act": "call", "function": function, "arguments": arguments, **_folders()}
        return int(self._ask(request))

    def call(self, function: str, **arguments: Any) -> int:
        """Both in one."""
        return self.wait(self.spawn_call(function, **arguments))

    def wait(self, pid: int) -> int:
        """How the process ended: 0, or minus the signal that killed it."""
        return int(self._ask({"act": "wait", "pid": pid}))

    def run(self, job_uid: UUID, **options: Any) -> int:
        """Both in one."""
        return self.wait(self.spawn(job_uid, **options))

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())


def _folders() -> dict[str, str]:
    """Where a test has its own of what workers share with it."""
    return {name: str(getattr(settings, name)) for name in OWN}


@contextmanager
def running_workers(watched_by: tuple[str, ...] = ()) -> Iterator[Workers]:
    """Workers on the database that the tests use now; beneath a program that watches them, when one is named."""
    environment = os.environ | {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "portal.settings.test"}
    command = [*watched_by, sys.executable, "-m", "tests.jobs.workers"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        yield Workers(server)
        assert server.stdin is not None
        server.stdin.close()
        server.wait(timeout=60 if watched_by else 20)


def database_url() -> str:
    """The address of the database that the tests run on, for other processes."""
    given = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{given['NAME']}"
    credentials = quote(given["USER"], safe="") + (f":{quote(given['PASSWORD'], safe='')}" if given["PASSWORD"] else "")
    port = f":{given['PORT']}" if given["PORT"] else ""
    return f"postgres://{credentials}@{quote(given['HOST'], safe='')}{port}/{given['NAME']}"


def serve() -> None:
    gc.freeze()  # a fork that looks for garbage in what it has from here copies all of it
    for line in sys.stdin:
        request = json.loads(line)
        if request["act"] == "wait":
            answer = os.waitstatus_to_exitcode(os.waitpid(request["pid"], 0)[1])
        else:
            answer = _forked(request)
        print(answer, flush=True)


def _forked(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for name in OWN:
            setattr(settings, name, request[name])
        {"work": _work, "call": _call}[request["act"]](request)
        code = 0
    finally:
        os._exit(code)


def _work(request: dict[str, Any]) -> None:
    claim.LEASE_SECONDS = request.get("lease", claim.LEASE_SECONDS)
    claim.HEARTBEAT_SECONDS = request.get("heartbeat", claim.HEARTBEAT_SECONDS)
    job_uid = UUID(request["job"])
    while (pause := engine.advance(job_uid)) is not None:
        if pause:
            Job.objects.filter(uid=job_uid, lease_until=None).update(not_before=None)


def _call(request: dict[str, Any]) -> None:
    module, _, name = request["function"].partition(":")
    getattr(import_module(module), name)(**request["arguments"])


if __name__ == "__main__":
    django.setup()

import tests.jobs.toy  # noqa: E402, F401  models load only once Django is set up
from portal.jobs import claim, engine  # noqa: E402
from portal.jobs.models import Job  # noqa: E402

if __name__ == "__main__":
    serve()
