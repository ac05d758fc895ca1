"""The server at a system's usual limits: a thousand idle connections of a stranger leave room for everybody else."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.browser.portal_server import REPOSITORY, free_port

USUAL = 1024


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    number = free_port()
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "portal.settings.test", "DATA_DIR": str(tmp_path)}
    (tmp_path / "static").mkdir()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
    subprocess.run(migrate, cwd=REPOSITORY, env=environment, check=True, timeout=120)
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({USUAL}, {hard})); "
        f"sys.argv[1:] = ['--port={number}']; from portal.serve import main; main()"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, env=environment) as server:
        try:
            until = time.monotonic() + 60
            while not answers(number):
                assert time.monotonic() < until, "the server did not start"
                assert server.poll() is None, "the server ended"
                time.sleep(0.1)
            yield number
        finally:
            server.kill()


def answers(number: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{number}/login/", timeout=15) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.long
def test_DO01_a_thousand_idle_connections_leave_room_for_others(port):  # noqa: N802
    with ExitStack() as opened:
        for _ in range(USUAL + 100):
            opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=15))
        assert answers(port)
