"""A refusal that comes before a service begins leaves the same record as one that comes in it, and one alone."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from django.db import transaction

from portal.common.actor import Actor
from portal.common.errors import Conflict, NotPermitted, TooMany
from portal.common.lasting import undone as rehearsed
from portal.events.models import Event
from portal.events.record import Subject, attempt, trying
from tests.edge.audit_trail import Trail
from tests.edge.world import World

IT = Subject("toy", None, "it")


@pytest.fixture
def actor(world: World) -> Actor:
    return world.place.actor("alice")


def told(verb: str) -> list[Event]:
    return list(Event.objects.filter(code=f"{verb}_REFUSED"))


def test_what_is_refused_before_the_attempt_is_on_record_once(actor):
    with pytest.raises(NotPermitted), trying(actor, "TOY", IT):
        raise NotPermitted("no")
    with pytest.raises(Conflict), trying(actor, "TOY", IT), attempt(actor, "TOY", IT):
        raise Conflict("taken")
    with trying(actor, "TOY", IT):
        pass
    assert [event.message for event in reversed(told("TOY"))] == ["no", "taken"]


def test_a_record_that_was_undone_with_the_work_around_it_is_written_again(actor):
    with pytest.raises(Conflict), trying(actor, "TOY", IT), transaction.atomic(), attempt(actor, "TOY", IT):
        raise Conflict("taken")
    assert len(told("TOY")) == 1


def test_a_rehearsal_and_a_refusal_without_end_leave_no_second_record(actor):
    with pytest.raises(Conflict), rehearsed(), trying(actor, "TOY", IT), attempt(actor, "TOY", IT):
        raise Conflict("taken")
    assert [event.data["dry_run"] for event in told("TOY")] == [True]
    again = TooMany("wait")
    again.repeated = True
    with pytest.raises(TooMany), trying(actor, "TOY", IT):
        raise again
    assert len(told("TOY")) == 1


def test_the_walk_sees_a_refusal_without_a_record_and_one_that_tells_too_much(world, monkeypatch):
    uid = world.ids["data_center"]
    trail, owner, stranger = Trail(world), world.browser("owner"), world.api("outsider")
    with monkeypatch.context() as patch:
        patch.setattr("tenants.tried.trying", lambda *_: nullcontext())
        trail.look("POST /roles/new/", "owner", owner.post("/roles/new/", {}))
        patch.setattr("tenants.tried.trying", lambda actor, verb, _: trying(actor, verb, Subject("x", None, "physics")))
        hidden = stranger.patch(f"/api/v1/data-centers/{uid}/", {"description": "x"}, content_type="application/json")
        trail.look("PATCH /api/v1/data-centers/{uid}/", "outsider", hidden)
    assert [(rank, fault) for _operation, rank, fault in trail.gaps] == [
        ("owner", "403 with records []"),
        ("outsider", "DATA_CENTER_EDIT_REFUSED tells of 'physics'"),
    ]


@pytest.mark.parametrize(
    ("status", "rank", "method", "path", "body", "code", "named"),
    [
        (412, "root", "put", "/api/v1/data-centers/{data_center}/quota/", {"limits": {"machines": 5}}, "QUOTA_EDIT", "physics"),
        (400, "root", "patch", "/api/v1/providers/{provider}/", {"secrets": {"ssh_key": "x"}}, "PROVIDER_EDIT", "local"),
        (403, "owner", "patch", "/api/v1/data-centers/{data_center}/", {"description": "x"}, "DATA_CENTER_EDIT", "physics"),
        (404, "outsider", "patch", "/api/v1/data-centers/{data_center}/", {"description": "x"}, "DATA_CENTER_EDIT", ""),
        (400, "admin", "post", "/api/v1/data-centers/{data_center}/people/", {"username": "xenia", "role": "end-user"}, "GRANT", "physics"),
    ],
)  # fmt: skip
def test_a_refusal_names_what_its_actor_sees(world, status, rank, method, path, body, code, named):
    client = world.api(rank)
    answer = getattr(client, method)(
        path.format(**world.ids), body, content_type="application/json", headers={"If-Match": '"seen-before"'}
    )
    assert answer.status_code == status, answer.json()
    [event] = told(code)
    assert (event.object_name, bool(event.data_center_uid)) == (named, named == "physics")
    assert event.request_id == answer["X-Request-Id"]
