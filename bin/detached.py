"""--detach: the same program in the background, its progress shown until the portal answers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import install
import running
from folder import DataFolder

CHILD: Final = "STEGI_UP_DETACHED"


def is_child() -> bool:
    return os.environ.get(CHILD) == "1"


def launch(arguments: Sequence[str], folder: DataFolder) -> int:
    """Starts the background process, prints its lines until it lets go of us, and returns 0 when it is ready."""
    command = [sys.executable, str(Path(__file__).with_name("start.py")), *arguments]
    process = subprocess.Popen(
        command, env=os.environ | {CHILD: "1"}, cwd=Path.cwd(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    try:
        for line in process.stdout or ():
            stream = sys.stderr if ": FAILED: " in line else sys.stdout
            print(line, end="", file=stream, flush=True)
    except KeyboardInterrupt:
        process.terminate()
        return process.wait() or 130
    # The end of its output means that it let go of us, or that it ended.
    return 0 if running.is_ready(folder, process.pid) else process.wait()


def let_go(folder: DataFolder) -> None:
    """From here on our lines go to the log; closing the pipe tells the launcher that all is well."""
    handle = os.open(folder.log("up"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    for standard in (1, 2):
        os.dup2(handle, standard)
    os.close(handle)
    os.chdir(install.REPOSITORY)
