"""Who reads what of the audit log."""

from __future__ import annotations

import csv
import json
import re
from datetime import timedelta
from http import HTTPStatus
from io import StringIO

import pytest
from django.test import Client
from django.utils import timezone

from portal.events.codes import Outcome
from portal.events.models import Event
from portal.events.record import Subject, record
from tenants.models.quota import Dimension
from tenants.services import audit
from tenants.services.grants import set_quota
from tests.lab.audit import opened
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
    with opened() as events:
        events.update(client_address="192.0.2.99")
    assert "192.0.2.99" in client_of(told.super_admin).get("/events/").content.decode()
    page = client_of(told.physics_admin).get("/events/").content.decode()
    assert "Changing a quota" in page
    assert "192.0.2.99" not in page
    assert "informatics" not in page


def test_page_is_filtered_and_goes_on_to_the_oldest(told):
    with opened() as events:
        events.delete()
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


def test_log_is_filtered_by_who_what_and_when(told):
    root, admin = told.super_admin, told.physics_admin
    assert listed(root, f"actor={admin.pk}") == [("QUOTA_EDIT_DONE", "physics")]
    assert len(listed(root, "verb=QUOTA_EDIT")) == 2
    assert listed(root, "verb=VM_RUN") == listed(root, "verb=QUOTA_EDI") == []
    assert len(listed(root, "search=PHYS")) == 1
    hour_ago, soon = (f"{timezone.now() + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ}" for n in (-1, 1))
    assert len(listed(root, f"since={hour_ago}&until={soon}")) == 2
    assert listed(root, f"until={hour_ago}") == listed(root, f"since={soon}") == []
    day = f"{timezone.localtime():%Y-%m-%d}"
    page = client_of(root).get(f"/events/?since={day}&until={day}&verb=QUOTA_EDIT")
    assert len(page.context["events"]) == 2
    assert list(client_of(root).get("/events/?until=2001-01-01").context["events"]) == []
    assert client_of(root).get("/events/?since=2026-99-99&verb=x").status_code == HTTPStatus.OK


def exported(user, query: str = "") -> list[dict]:
    answer = client_of(user).get(f"/api/v1/events/export/?{query}")
    assert answer.status_code == HTTPStatus.OK
    return [json.loads(line) for line in answer.getvalue().decode().splitlines()]


def test_AZ03_an_export_holds_what_the_page_shows_and_no_other_departments(told):  # noqa: N802
    with opened() as events:
        events.update(client_address="192.0.2.99")
    assert [row["object_name"] for row in exported(told.physics_admin)] == ["physics"]
    assert "192.0.2.99" not in str(exported(told.physics_admin))
    assert exported(told.physics_admin, f"data_center={told.informatics.pk}") == []
    assert {row["object_name"] for row in exported(told.super_admin, "verb=QUOTA_EDIT")} == {"physics", "informatics"}
    assert exported(told.super_admin)[0]["client_address"]
    taken = Event.objects.filter(code="EVENTS_EXPORT_DONE", actor_uid=told.super_admin.pk).earliest("at")
    assert taken.data == {"format": "jsonl", "verb": "QUOTA_EDIT"}
    assert client_of(told.alice).get("/api/v1/events/export/?format=xml").status_code == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("evil", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
def test_a_spreadsheet_runs_nothing_of_an_export(people, evil):
    record(as_actor(people.alice), "VM_RUN", outcome=Outcome.DONE, subject=Subject("vm", None, evil), message=evil)
    answer = client_of(people.alice).post("/events/export/", {"format": "csv", "verb": "VM_RUN"})
    assert answer["Content-Disposition"].endswith('.csv"')
    [row] = csv.DictReader(StringIO(answer.getvalue().decode(), newline=""))
    assert row["object_name"].startswith("'")
    assert row["message"].startswith("'")


@pytest.mark.parametrize("evil", ["=1", "a;=1", 'a;"=1', "a\n@SUM(1)", "; \t+1", " -1", "\t=1"])
def test_no_cell_begins_with_a_formula_wherever_a_spreadsheet_splits(evil):
    cells = re.split(r"[;\t\r\n]", audit._cell(evil))
    assert not [cell for cell in cells if re.match(r'[\s"]*[=+@-]', cell)]
    assert audit._cell("web-1; the lab's = first") == "web-1; the lab's = first"


def test_an_export_is_written_a_page_at_a_time_and_ends_with_the_right_to_it(people, monkeypatch):
    monkeypatch.setattr(audit, "PAGE", 10)
    with opened() as events:
        events.delete()
    for number in range(35):
        record(as_actor(people.bob), "VM_RUN", outcome=Outcome.DONE, subject=Subject("vm", None, f"vm-{number}"))
    pieces = audit.export(as_actor(people.super_admin), audit.Wanted(verb="VM_RUN"), is_csv=False)()
    assert [len(piece.splitlines()) for piece in pieces] == [10, 10, 10, 5]
    pieces = audit.export(as_actor(people.super_admin), audit.Wanted(verb="VM_RUN"), is_csv=False)()
    assert next(pieces)
    people.super_admin.is_active = False
    people.super_admin.save()
    assert list(pieces) == []


async def test_an_asynchronous_server_gets_the_pieces_one_by_one():
    asked = []

    def pieces():
        for piece in (b"a", b"b"):
            asked.append(piece)
            yield piece

    async for piece in audit.one_by_one(pieces()):
        assert asked[-1] == piece
    assert asked == [b"a", b"b"]
