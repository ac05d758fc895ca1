"""A dry run of any door that writes rows: done, told and undone; its refusals are those of the real thing."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.common.models import IdempotencyKey
from portal.events.models import Event
from portal.jobs.models import Job
from tenants.models import DataCenter, User
from tests.people import Institute


@pytest.fixture
def root(institute: Institute) -> Client:
    client = Client()
    client.force_login(institute.users["root"])
    return client


def post(client: Client, path: str, body: dict[str, Any], **headers: str) -> Any:
    return client.post(path, body, content_type="application/json", headers=headers)


def test_what_would_be_made_is_told_and_is_not_there(root: Client) -> None:
    before = Event.objects.count()
    answer = post(root, "/api/v1/data-centers/?dry_run=1", {"name": "chemistry"})
    assert answer.status_code == 200
    assert answer.json()["possible"] is True
    assert answer.json()["answer"]["name"] == "chemistry"
    assert not DataCenter.objects.filter(name="chemistry").exists()
    assert Event.objects.count() == before


def test_job_that_would_run_tells_its_steps_and_is_neither_there_nor_sent(
    root: Client, institute: Institute, django_capture_on_commit_callbacks: Any
) -> None:
    jobs = Job.objects.count()
    body = {"name": "lab", "data_center": str(institute.centers["physics"].pk), "provider": str(institute.provider.pk)}
    with django_capture_on_commit_callbacks() as callbacks:
        told = post(root, "/api/v1/networks/?dry_run=1", body).json()
    assert told["steps"]
    assert "job" not in told["answer"]
    assert callbacks == []
    assert Job.objects.count() == jobs


def test_refusal_is_the_same_and_leaves_its_record_alone(root: Client) -> None:
    real = post(root, "/api/v1/data-centers/", {"name": "physics"})
    before = Event.objects.count()
    tried = post(root, "/api/v1/data-centers/?dry_run=1", {"name": "physics"})
    assert (tried.status_code, tried.json()["reasons"]) == (real.status_code, real.json()["reasons"])
    assert Event.objects.count() == before + 1
    told, again = Event.objects.order_by("-at")[:2]
    assert (told.code, told.message, told.data) == (again.code, again.message, again.data | {"dry_run": True})


def test_key_is_not_used_up_by_a_dry_run(root: Client) -> None:
    post(root, "/api/v1/data-centers/?dry_run=1", {"name": "chemistry"}, **{"Idempotency-Key": "once"})
    assert not IdempotencyKey.objects.exists()
    answer = post(root, "/api/v1/data-centers/", {"name": "chemistry"}, **{"Idempotency-Key": "once"})
    assert answer.status_code == 201
    assert DataCenter.objects.filter(name="chemistry").exists()


def test_zero_does_it(root: Client) -> None:
    assert post(root, "/api/v1/data-centers/?dry_run=0", {"name": "chemistry"}).status_code == 201


def test_password_is_not_to_be_guessed_by_dry_runs(institute: Institute) -> None:
    alice = Client()
    alice.force_login(institute.users["alice"])
    address = f"/api/v1/users/{institute.users['alice'].pk}/?dry_run=1"
    answer = alice.patch(address, {"password": "x" * 20, "present_password": "guess"}, content_type="application/json")
    assert answer.status_code == 400
    assert [reason["field"] for reason in answer.json()["reasons"]] == ["dry_run"]
    assert post(Client(), "/api/v1/tokens/?dry_run=1", {"username": "alice", "password": "guess"}).status_code == 400
    assert User.objects.get(username="alice").check_password("correct-horse-battery-staple")
