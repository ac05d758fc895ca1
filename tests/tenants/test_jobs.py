"""Jobs over the API: whose they are, and who may cancel them."""

from __future__ import annotations

from uuid import uuid4

import pytest

from portal.events.models import Event
from portal.jobs.models import Job
from tests.people import PASSWORD


@pytest.fixture
def job(people):
    return Job.objects.create(
        operation="none", actor_uid=people.alice.pk, actor_name="alice", target_kind="vm", target_uid=uuid4(),
        data_center_uid=people.physics.pk,
    )  # fmt: skip


def headers(client, username, scope="write"):
    body = {"username": username, "password": PASSWORD, "name": "t", "scope": scope}
    token = client.post("/api/v1/tokens/", body, content_type="application/json").json()["token"]
    return {"Authorization": f"Bearer {token}"}


def cancel(client, uid, who):
    return client.post(f"/api/v1/jobs/{uid}/cancel/", {}, content_type="application/json", headers=who)


def test_one_sees_ones_own_jobs_and_an_admin_those_of_his_data_center(client, job):
    for name, status in (("alice", 200), ("physics_admin", 200), ("bob", 404), ("informatics_admin", 404)):
        who = headers(client, name)
        assert client.get(f"/api/v1/jobs/{job.pk}/", headers=who).status_code == status
        listed = client.get("/api/v1/jobs/", headers=who).json()["results"]
        assert [row["id"] for row in listed] == ([str(job.pk)] if status == 200 else [])


def test_a_job_nobody_may_see_answers_as_one_that_is_not_there(client, job):
    bob = headers(client, "bob")
    hidden, missing = (cancel(client, uid, bob) for uid in (job.pk, uuid4()))
    assert hidden.status_code == missing.status_code == 404
    assert hidden.json() | {"request_id": ""} == missing.json() | {"request_id": ""}


def test_a_read_token_cancels_nothing(client, job):
    answer = cancel(client, job.pk, headers(client, "alice", "read"))
    assert answer.status_code == 403


@pytest.mark.parametrize("name", ["alice", "physics_admin", "super_admin"])
def test_a_job_that_is_past_stopping_is_409_and_the_attempt_is_on_record(client, job, name):
    Job.objects.filter(pk=job.pk).update(status="finished")
    answer = cancel(client, job.pk, headers(client, name))
    assert answer.status_code == 409
    assert Event.objects.get(code="JOB_CANCEL_REFUSED").actor_name == name
