"""A page whose push was lost (Redis frozen, or begun anew) is shown what the rows say all the same."""

from __future__ import annotations

import json

import pytest
from channels.db import database_sync_to_async as in_database
from django.db.models.functions import Now

from compute.models import Vm
from portal import consumers
from portal.jobs.models import Job
from portal.jobs.states import JobStatus
from tests.pages.socket_client import SocketClient
from tests.pages.test_sockets import session_of, socket

pytestmark = pytest.mark.long


@pytest.fixture
def vm(demo, monkeypatch):
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.2)
    return demo.make_vm("alice")


async def opened_by(demo, name: str, path: str = "/ws/page/") -> SocketClient:
    opened = socket(path, await in_database(session_of)(demo, name))
    await opened.connect()
    return opened


async def test_a_machine_that_changed_untold_is_sent(demo, vm):
    opened = await opened_by(demo, "alice")
    await opened.say(json.dumps({"watch": [f"row:{vm.pk}"]}))
    assert "state-down" not in await opened.hear()
    await in_database(Vm.objects.filter(pk=vm.pk).update)(status="down")
    assert "state-down" in await opened.hear()
    assert await opened.silent(2), "once is enough"
    await in_database(Vm.objects.filter(pk=vm.pk).delete)()
    assert await opened.hear() == f'<tr id="row-{vm.pk}" hx-swap-oob="delete"></tr>'
    await opened.leave()


async def test_the_end_of_a_job_that_was_never_told_is_sent(demo, vm):
    job = await in_database(Job.objects.get)(target_uid=vm.pk)
    await in_database(set_status)(job, JobStatus.STARTED)
    opened = await opened_by(demo, "alice")
    waiting = await opened_by(demo, "alice", f"/ws/jobs/{job.pk}/")
    await opened.say(json.dumps({"watch": [f"job:{job.pk}"]}))
    assert f"job-{job.pk}" in await opened.hear()
    assert json.loads(await waiting.hear())["status"] == JobStatus.STARTED
    assert await waiting.silent(1), "nothing new, nothing told"
    await in_database(set_status)(job, JobStatus.FINISHED)
    assert f"job-{job.pk}" in await opened.hear()
    assert json.loads(await waiting.hear())["status"] == JobStatus.FINISHED
    assert await waiting.close_code() == 1000
    await opened.leave()


def set_status(job: Job, status: str) -> None:
    """As the engine does, without a word to anybody."""
    Job.objects.filter(pk=job.pk).update(status=status, changed_at=Now())
