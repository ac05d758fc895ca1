"""What watchers see of a job, and that they are told."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

from portal.jobs import feed
from portal.jobs.engine import advance
from portal.jobs.feed import announce, job_group, job_json, target_group, user_group
from portal.jobs.models import Job
from portal.jobs.selectors import job_with_uid, jobs_of_target, latest_job, open_job
from tests.jobs.conftest import Start, run
from tests.jobs.fixtures import Plant
from tests.jobs.toy import Waiting


@pytest.mark.django_db
def test_the_json_of_a_job_under_way(start: Start):
    job = start(Waiting)
    advance(job.uid)
    advance(job.uid)
    job.refresh_from_db()

    shown = job_json(job)

    json.dumps(shown)
    assert set(shown) == {
        "id", "operation", "title", "status", "progress", "steps", "error", "target", "created_at", "started_at",
        "ended_at", "next_try_at", "actor", "closed_reason",
    }  # fmt: skip
    assert shown["next_try_at"] is None, "it waits as it should: nothing failed"
    assert (shown["id"], shown["operation"], shown["title"]) == (str(job.uid), "toy.wait", "Wait for something")
    assert (shown["status"], shown["progress"], shown["error"]) == ("started", 46, None)
    assert shown["actor"] == job.actor_name
    assert shown["target"] == {"kind": "thing", "id": str(job.target_uid), "name": "a thing"}
    assert [(step["name"], step["title"], step["status"]) for step in shown["steps"]] == [
        ("disk", "Make the disk", "done"),
        ("wait", "Wait", "running"),
        ("look", "Look", "pending"),
    ]
    assert shown["steps"][1]["message"] == "Waiting for the word."
    assert [step["attempts"] for step in shown["steps"]] == [1, 1, 0]
    assert shown["started_at"] is not None
    assert shown["ended_at"] is None


@pytest.mark.django_db
def test_the_json_of_a_job_whose_step_fails_tells_when_it_is_tried_again(start: Start, plant: Plant):
    plant("toy.make.nic.before", "retry:1")
    job = start()
    advance(job.uid)
    advance(job.uid)
    job.refresh_from_db()

    shown = job_json(job)

    assert shown["steps"][1]["message"] == "A planted fault; it passes."
    assert shown["next_try_at"] == job.not_before.isoformat()


@pytest.mark.django_db
def test_the_json_of_a_failed_job_says_why_and_what_was_undone(start: Start, plant: Plant):
    plant("toy.make.nic.before", "fail")
    job = run(start())

    error = job_json(job)["error"]

    assert error["code"] == "planted"
    assert (error["step"], error["undone"]) == ("nic", ["nic", "disk"])


@pytest.mark.django_db
def test_a_job_of_an_unknown_operation_can_still_be_shown(start: Start):
    job = start()
    Job.objects.update(operation="toy.forgotten")
    job.refresh_from_db()

    assert job_json(job)["title"] == "toy.forgotten"


@pytest.mark.django_db
def test_a_list_of_jobs_takes_two_queries(start: Start, django_assert_num_queries):
    target = uuid4()
    for _ in range(5):
        start(target=target, locks=())
    with django_assert_num_queries(2):
        assert len([job_json(job) for job in jobs_of_target(target)]) == 5


@pytest.mark.django_db
def test_the_newest_and_the_open_job_of_an_object(start: Start):
    target = uuid4()
    run(start(target=target))
    assert open_job(target) is None
    second = start(target=target)
    assert latest_job(target) == open_job(target) == job_with_uid(second.uid) == second


@pytest.mark.django_db(transaction=True)
def test_job_target_and_user_groups_are_told_once_the_change_is_committed(start: Start):
    layer = get_channel_layer()
    channel = async_to_sync(layer.new_channel)()
    job = start()
    for group in (job_group(job.uid), target_group(job.target_uid), user_group(job.actor_uid)):
        async_to_sync(layer.group_add)(group, channel)

    with transaction.atomic():
        announce(job)
        assert not layer.channels.get(channel) or layer.channels[channel].empty()

    told = [async_to_sync(layer.receive)(channel) for _ in range(3)]
    assert told == [{"type": "job.changed", "job": str(job.uid), "target": str(job.target_uid)}] * 3


@pytest.mark.django_db(transaction=True)
def test_a_dead_channel_layer_delays_and_no_more(start: Start, settings, caplog: pytest.LogCaptureFixture):
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [{"address": "redis://127.0.0.1:1/0", "socket_connect_timeout": 1}]},
        }
    }

    try:
        jobs = [start(), start()]
    finally:
        feed._layer_rest.end()

    assert Job.objects.count() == len(jobs)
    assert caplog.text.count("could not push") == 1, "for a while it is left in peace"
