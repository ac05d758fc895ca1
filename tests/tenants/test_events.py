"""Who reads what of the audit log."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from django.test import Client

from portal.events.codes import Outcome
from portal.events.models import Event
from portal.events.record import Subject, record
from tenants.models.quota import Dimension
from tenants.services.grants import set_quota
from tests.tenants.conftest import as_actor


@pytest.fixture
def told(people):
    """Each data center's admin does something in his own, and charlie something of no data center."""
    for center, admin in ((people.physics, people.physics_admin), (people.informatics, people.informatics_admin)):
        set_quota(as_actor(admin), center, {Dimension.MACHINES: 3}, user=people.alice)
    record(
        as_actor(people.charlie), "LOGIN", outcome=Outcome.DONE, subject=Subject("user", people.charlie.pk, "charlie")
    )
    return people


def client_of(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def listed(user, query: str = "") -> list[tuple[str, str]]:
    answer = client_of(user).get(f"/api/v1/events/?{query}")
    assert answer.status_code == HTTPStatus.OK, answer.content
    return [(row["code"], row["object"]["name"]) for row in answer.json()["results"] if row["code"] != "LOGIN_DONE"]


def test_admins_read_their_data_center_users_their_own_acts_super_admins_all(told):
    assert listed(told.physics_admin) == [("QUOTA_EDIT_DONE", "physics")]
    assert listed(told.informatics_admin) == [("QUOTA_EDIT_DONE", "informatics")]
    assert listed(told.alice) == []
    assert [row["code"] for row in client_of(told.charlie).get("/api/v1/events/").json()["results"]] == ["LOGIN_DONE"]
    assert {name for _code, name in listed(told.super_admin)} == {"physics", "informatics"}


def test_log_is_filtered_by_what_is_asked_and_nothing_else_is_taken(told):
    assert listed(told.super_admin, f"data_center={told.physics.pk}") == [("QUOTA_EDIT_DONE", "physics")]
    assert listed(told.super_admin, f"object={told.informatics.pk}") == [("QUOTA_EDIT_DONE", "informatics")]
    assert listed(told.super_admin, "outcome=refused") == []
    for wrong in ("outcome=maybe", "object=x", "actor=root"):
        assert client_of(told.super_admin).get(f"/api/v1/events/?{wrong}").status_code == HTTPStatus.BAD_REQUEST


def test_page_shows_addresses_to_super_admins_alone(told):
    Event.objects.update(client_address="192.0.2.99")
    assert "192.0.2.99" in client_of(told.super_admin).get("/events/").content.decode()
    page = client_of(told.physics_admin).get("/events/").content.decode()
    assert "Changing a quota" in page
    assert "192.0.2.99" not in page
    assert "informatics" not in page


def test_page_is_filtered_and_goes_on_to_the_oldest(told):
    Event.objects.all().delete()
    for number in range(120):
        record(as_actor(told.alice), "VM_RUN", outcome=Outcome.DONE, subject=Subject("vm", None, f"vm-{number}"))
    client, query, seen = client_of(told.alice), "?", []
    while query:
        context = client.get(f"/events/{query}").context
        seen += [row.object_name for row in context["events"]]
        query = context["older"] and f"?{context['older']}"
    assert seen == [f"vm-{number}" for number in reversed(range(120))]
    assert [row.object_name for row in client.get("/events/?q=VM-77").context["events"]] == ["vm-77"]
    assert list(client.get("/events/?outcome=failed").context["events"]) == []
    assert client.get("/events/?outcome=<b>&before=x").status_code == HTTPStatus.OK
