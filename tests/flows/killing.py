"""Workers that are killed with -9 at a point of their job, and others that take over."""

from __future__ import annotations

import signal
from dataclasses import dataclass

import pytest

from portal.jobs.models import Job
from tests.jobs.conftest import hurry
from tests.jobs.fixtures import Plant
from tests.jobs.workers import Workers


@dataclass(kw_only=True)
class Killing:
    """Plants deaths, and lets others go on."""

    plant: Plant
    workers: Workers
    monkeypatch: pytest.MonkeyPatch
    config: pytest.Config

    def kill_at(self, point: str, job: Job) -> None:
        """A worker dies at the point: if the point is not passed, the case proves nothing and fails."""
        self.plant(point, "kill")
        assert self.workers.run(job.uid) == -signal.SIGKILL, f"no worker passed {point}"

    def take_over(self, job: Job) -> Job:
        """The dead worker's lease runs out (the clock is not waited for); another worker goes on."""
        hurry(job)
        assert self.workers.run(job.uid) == 0
        job.refresh_from_db()
        return job
