"""The ways to end a job, a stuck one above all: who may take which, what is told beforehand, and what is on record."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from portal.common.actor import Door
from portal.events.models import Event
from portal.jobs.models import Job, JobLock, Step
from portal.jobs.operation import all_operations
from tenants.models import User
from tenants.services.tokens import create_token
from tests.tenants.conftest import People, as_actor

DISK = "0a1b2c3d-0000-4000-8000-000000000001"


@pytest.fixture
def stuck(people: People) -> Job:
    """The making of a machine of alice's whose disk could not be removed again."""
    failed = {"code": "unavailable", "text": "It is away.", "step": "start", "undone": ["define"]}
    job = Job.objects.create(
        operation="compute.create_vm", actor_uid=people.alice.pk, actor_name="alice", audit_verb="VM_CREATE",
        target_kind="vm", target_uid=uuid4(), target_name="web-1", data_center_uid=people.physics.pk, status="stuck",
        params={"disks": [{"uid": DISK, "storage_domain": "pool"}]},
        error=failed | {"stuck": {"code": "denied", "text": "The pool refused it.", "step": "make_disks"}},
    )  # fmt: skip
    for position, name in enumerate(("place", "make_disks", "first_boot", "define")):
        tried = None if name == "first_boot" else timezone.now()
        Step.objects.create(job=job, position=position, name=name, first_tried_at=tried, started_at=tried)
    JobLock.objects.create(job=job, kind="vm", uid=job.target_uid)
    return job


def post(user: User, path: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
    token = create_token(as_actor(user, door=Door.PAGE), name=uuid4().hex, scope="write", expires_in=3600)[1]
    headers |= {"Authorization": f"Bearer {token}"}
    return Client().post(f"/api/v1/jobs/{path}", body or {}, content_type="application/json", headers=headers)


def page(user: User, path: str) -> str:
    client = Client()
    client.force_login(user)
    return str(client.get(path).content.decode())


def test_a_stuck_job_is_undone_again_by_whoever_runs_its_data_center(people, stuck):
    refused = post(people.alice, f"{stuck.pk}/retry/")
    assert (refused.status_code, refused.json()["explanation"]["permit"]) == (403, "JOB_MANAGE")
    assert post(people.informatics_admin, f"{stuck.pk}/retry/").status_code == 404
    assert post(people.physics_admin, f"{stuck.pk}/retry/?dry_run=1").json()["possible"]
    assert Job.objects.get().status == "stuck"
    key = {"Idempotency-Key": "again-1"}
    answers = [post(people.physics_admin, f"{stuck.pk}/retry/", **key) for _time in range(2)]
    assert [(answer.status_code, answer.json()["job"]["status"]) for answer in answers] == [(202, "unwinding")] * 2
    assert Event.objects.filter(code="JOB_RETRY_REQUESTED", actor_name="physics_admin").count() == 1
    assert post(people.physics_admin, f"{stuck.pk}/retry/").status_code == 409


def test_a_stuck_job_is_closed_by_a_super_admin_who_says_why_and_types_its_name(people, stuck):
    good = {"reason": "Removed by hand.", "confirm": "web-1"}
    assert post(people.physics_admin, f"{stuck.pk}/close/", good).status_code == 403
    for wrong, field in (
        ({"confirm": "web-2"}, "confirm"),
        ({"reason": "x" * 301}, "reason"),
        ({"reason": " "}, "reason"),
    ):
        refused = post(people.super_admin, f"{stuck.pk}/close/", good | wrong)
        assert (refused.status_code, [one["field"] for one in refused.json()["reasons"]]) == (400, [field])
    shown = page(people.super_admin, f"/jobs/{stuck.pk}/close/")
    assert f"A volume with {DISK} in its name, in the storage domain pool" in shown
    assert "Define the machine" not in shown, "it was undone"
    assert "Prepare the first boot" not in shown, "it never began"

    closed = post(people.super_admin, f"{stuck.pk}/close/", good)

    assert (closed.status_code, closed.json()["job"]["closed_reason"]) == (200, "Removed by hand.")
    assert not JobLock.objects.exists()
    told = Event.objects.get(code="JOB_CLOSE_DONE")
    assert told.data["reason"] == "Removed by hand."
    assert [one["step"] for one in told.data["left"]] == ["make_disks"]
    assert post(people.super_admin, f"{stuck.pk}/close/", good).status_code == 409
    assert "Closed by an administrator: Removed by hand." in page(people.alice, f"/jobs/{stuck.pk}/")


def test_whoever_can_end_a_stuck_job_is_told_of_it_and_nobody_else(people, stuck):
    for user, offered in (
        (people.alice, []),
        (people.physics_admin, ["retry"]),
        (people.super_admin, ["retry", "close"]),
    ):
        home, job = page(user, "/"), page(user, f"/jobs/{stuck.pk}/")
        assert ("?status=stuck" in home) is ('id="jobs-stuck"' in home) is bool(offered)
        assert [way for way in ("retry", "close") if f"/jobs/{stuck.pk}/{way}/" in job] == offered
        assert "The pool refused it." in job
        assert "web-1" in page(user, "/jobs/?status=stuck")
    assert 'id="jobs-stuck"' not in page(people.informatics_admin, "/")
    assert "No job is stuck." in page(people.informatics_admin, "/jobs/?status=stuck")


def test_a_stuck_job_is_undone_again_and_closed_on_its_page(people, stuck):
    admin, root = Client(), Client()
    admin.force_login(people.physics_admin)
    root.force_login(people.super_admin)
    again = admin.post(f"/jobs/{stuck.pk}/retry/", headers={"HX-Request": "true"})
    assert 'hx-swap-oob="true"' in again.content.decode()
    Job.objects.update(status="stuck")
    refused = root.post(f"/jobs/{stuck.pk}/close/", {"reason": "gone", "confirm": "web"})
    assert refused.status_code == 400
    assert 'id="confirm-error"' in refused.content.decode()
    assert root.post(f"/jobs/{stuck.pk}/close/", {"reason": "gone", "confirm": "web-1"}).status_code == 302
    assert Job.objects.get().status == "closed"


def test_every_operation_that_undoes_says_where_to_look_for_what_is_left(db):
    ours = [one for one in all_operations() if one.name.startswith(("compute.", "network."))]
    undoing = [(one, step.name) for one in ours for step in one.steps if step.undo]
    assert len(undoing) > 8
    for operation, step in undoing:
        gone = Job(operation=operation.name, target_uid=uuid4(), target_name="x", params={"network": None})
        assert isinstance(operation.left_behind(gone, step), list), (operation.name, step)


def test_a_job_that_runs_is_cancelled_on_its_page_by_whoever_started_it(people, stuck):
    Job.objects.update(status="started", error={})
    here = f"/jobs/{stuck.pk}/"
    assert f"{here}cancel/" in page(people.alice, here)
    assert f"{here}cancel/" in page(people.physics_admin, here)
    client = Client()
    client.force_login(people.alice)
    asked = client.post(f"{here}cancel/", headers={"HX-Request": "true"}).content.decode()
    assert "It was asked to stop" in asked
    assert f"{here}cancel/" not in asked
