"""Jobs carried by a real Celery worker over a real Redis: delivered twice, or lost with the broker."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from portal.jobs.models import Job
from portal.jobs.states import JobStatus
from tests.jobs.conftest import Start
from tests.jobs.fixtures import Plant
from tests.jobs.workers import REPOSITORY, database_url
from tests.jobs.world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


class Worker:
    """A Celery worker of two processes with the scheduler in it; its log is `log`."""

    def __init__(self, folder: Path, broker_url: str) -> None:
        self.log = folder / "worker.log"
        self._broker_url = broker_url
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = os.environ | {
            "DATABASE_URL": database_url(),
            "REDIS_URL": self._broker_url,
            "DJANGO_SETTINGS_MODULE": "tests.jobs.celery_settings",
            "FAULT_POINTS_DIR": settings.FAULT_POINTS_DIR,
        }
        command = [sys.executable, "-m", "celery", "-A", "portal", "worker", "-B", "-c", "2", "-l", "INFO",
                   "-I", "tests.jobs.toy", "-s", str(self._folder / "beat")]  # fmt: skip
        with self.log.open("ab") as log:
            # A session of its own: its processes are then one group, which a kill reaches as a whole.
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        """Kill -9, the worker with its children."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=10)
            self._process = None


@pytest.fixture
def worker(tmp_path: Path, plant: Plant, broker: Callable[[str], None], redis_server: Any) -> Iterator[Worker]:
    broker(redis_server.url)
    worker = Worker(tmp_path, redis_server.url)
    with ExitStack() as stack:
        stack.callback(worker.kill)
        worker.start()
        yield worker


@pytest.mark.turns
def test_tf05_a_task_that_outlives_the_visibility_time_out_is_delivered_again_and_done_once(
    worker: Worker, start: Start, world: World, plant: Plant
):
    plant("toy.make.disk.made", "sleep:12")
    job = start()

    _until(lambda: Job.objects.get().status == JobStatus.FINISHED)

    received = re.findall(r"run_job\[([0-9a-f-]+)\] received", worker.log.read_text())
    assert len(received) > len(set(received)), "the same message was not delivered twice: nothing is proved"
    assert world.calls() == ["do disk", "do nic", "do vm"]
    assert [step.attempts for step in job.steps.all()] == [1, 1, 1]


@pytest.mark.turns
def test_tf07_jobs_outlive_a_broker_and_workers_that_are_killed(worker: Worker, start: Start, world: World,
                                                                redis_server: Any):  # fmt: skip
    first = start()
    _until(lambda: Job.objects.get(uid=first.uid).status == JobStatus.FINISHED)
    worker.kill()
    jobs = [start() for _ in range(30)]
    redis_server.kill()
    jobs.append(start())
    redis_server.start()
    worker.start()

    _until(lambda: not Job.objects.exclude(status=JobStatus.FINISHED).exists())

    assert Job.objects.count() == len(jobs) + 1


def _until(is_so: Callable[[], bool], *, seconds: float = 100) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, [str(job) for job in Job.objects.all()]
        time.sleep(0.2)
