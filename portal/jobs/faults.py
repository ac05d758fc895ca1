"""Named places where tests kill, fail or delay a worker. No-ops unless ``settings.FAULT_POINTS_DIR`` names a folder.

A file there, named after the point (``<operation>.<step>.before``), says what happens when a process passes it: ``kill``
(SIGKILL, so that nothing is cleaned up), ``stop`` (SIGSTOP, until somebody lets it go on), ``fail``, ``retry:<times>``,
``sleep:<seconds>`` or ``hold:<path>`` (until there is such a file). It is taken by renaming it, so that of several processes exactly one falls in, once.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from uuid import uuid4

from django.conf import settings

from portal.jobs.operation import StepFailed


def fault_point(name: str) -> None:
    """Suffer what the file of this name says, if there is one. Raises ``StepFailed`` for ``fail`` and ``retry``."""
    if settings.FAULT_POINTS_DIR:
        _suffer(Path(settings.FAULT_POINTS_DIR), name)


def _suffer(folder: Path, name: str) -> None:
    fault, _, amount = _take(folder, name).partition(":")
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fault == "hold":
        while not Path(amount).exists():
            time.sleep(0.02)
    elif fault == "sleep":
        time.sleep(float(amount))
    elif fault == "retry":
        if int(amount) > 1:
            (folder / name).write_text(f"retry:{int(amount) - 1}")
        raise StepFailed("A planted fault; it passes.", code="planted", can_retry=True)
    elif fault == "fail":
        raise StepFailed("A planted fault.", code="planted")
    elif fault:
        raise ValueError(f"unknown fault {fault!r} at {name}")


def _take(folder: Path, name: str) -> str:
    taken = folder / f"taken-{uuid4().hex}-{name}"
    try:
        (folder / name).rename(taken)
    except FileNotFoundError:
        return ""
    return taken.read_text().strip()
