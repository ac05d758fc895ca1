"""The page of the log says what was done, not only that something was."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import lxml.html
import pytest

from compute.models import Template
from compute.services.consoles import ConsoleRequest, open_console
from compute.services.sharing import assign, unassign
from portal.common.actor import system_actor
from portal.common.paging import Place
from portal.events.codes import Outcome
from portal.events.models import Event
from portal.events.record import Subject, record
from tenants.models import DataCenter
from tenants.models.quota import Dimension
from tenants.services.grants import grant_role, revoke_role, set_quota


@pytest.fixture
def physics(demo):
    return DataCenter.objects.get(name="physics")


def rows(demo, name: str = "admin", query: str = "") -> list[list[str]]:
    """What stands in the first column, row by row, newest first."""
    page = lxml.html.document_fromstring(demo.browser(name).get(f"/events/{query}").content)
    found = page.xpath("//*[@id='events-list']//tbody/tr/td[1]")
    return [[text.strip() for text in cell.itertext() if text.strip()] for cell in found]


def test_an_assignment_says_of_what(demo, physics):
    template = Template.objects.get()
    unassign(system_actor(), physics.pk, "template", template.pk)
    assign(system_actor(), physics.pk, "template", template.pk)
    told = f"Template: {template.name}"
    assert rows(demo)[:2] == [["Assigning a resource", told], ["Taking a resource back", told]]


def test_a_role_says_which_to_whom_and_until_when(demo, physics):
    bob = demo.user("bob")
    until = datetime(2099, 12, 31, 22, tzinfo=UTC)
    grant_role(system_actor(), "template-admin", bob, physics, expires_at=until)
    revoke_role(system_actor(), "template-admin", bob, physics)
    taken, given = rows(demo, "physics-admin")[:2]
    assert taken == ["Taking a role back", "TemplateAdmin · bob"]
    assert given == ["Giving a role", "TemplateAdmin · bob · until 31 Dec 2099"]


def test_a_quota_says_whose_and_how_much(demo, physics):
    limits = {Dimension.MACHINES: 3, Dimension.MEMORY_RUNNING_MIB: 2048, Dimension.SNAPSHOTS: None}
    set_quota(system_actor(), physics, limits, user=demo.user("alice"))
    set_quota(system_actor(), physics, {Dimension.SNAPSHOTS: None})
    whole, share = rows(demo)[:2]
    assert whole == ["Changing a quota", "no limit"]
    assert share == ["Changing a quota", "alice · machines: 3 · memory running: 2 GiB"]


@pytest.mark.parametrize(
    ("verb", "data", "told"),
    [
        ("GRANT", {"role": "end-user", "user": "no id"}, "End user · no id"),
        (
            "ROLE_EDIT",
            {"added": ["VM_RUN"], "removed": ["VM_STOP", "OLD_ONE"]},
            "+ Run machines · − Stop machines · − OLD_ONE",
        ),
        ("FACTOR_ASK", {"roles": ["super-admin", "gone"]}, "Super-admin · gone"),
        ("PROVIDER_TEST", {"address": "qemu:///system"}, "qemu:///system"),
        ("JOB_CLOSE", {"reason": "the host burned", "left": []}, "the host burned"),
        ("DIRECTORY_FOLLOW", {"joined": ["staff"], "left": ["students"]}, "+ staff · − students"),
        ("GROUP_MAP", {"role": "end-user", "group": "staff", "on": "physics"}, "End user · staff · physics"),
        (
            "VM_RESIZED_OUTSIDE",
            {"was": {"memory_mib": 512, "vcpus": 1}, "is": {"memory_mib": 1024, "vcpus": 1}},
            "Memory: 512 MiB → 1 GiB",
        ),
    ],
)
def test_other_acts_tell_their_facts(demo, verb, data, told):
    record(system_actor(), verb, outcome=Outcome.DONE, subject=Subject("x", None, "x"), data=data)
    assert rows(demo)[0][1:] == [told]


def test_a_quota_that_is_passed_is_called_in_words(demo, physics):
    data = {"subject": "user", "subject_uid": str(demo.user("alice").pk), "limit": 4, "threshold": 3, "used": 4}
    record(
        system_actor(),
        "QUOTA_THRESHOLD_PASSED",
        outcome=Outcome.NOTED,
        subject=Subject("quota", None, "vcpus_running", physics.pk),
        data=data | {"dimension": "vcpus_running"},
    )
    assert rows(demo, "physics-admin")[0] == ["Use passed the threshold of a quota", "alice · 4 of 4 used"]
    page = lxml.html.document_fromstring(demo.browser("physics-admin").get("/events/").content)
    assert page.xpath("string(//*[@id='events-list']//tbody/tr[1]/td[2])") == "vCPUs running"


def test_what_one_may_not_be_told_is_not_told_here_either(demo, physics):
    subject = Subject("vm", None, "web-1", DataCenter.objects.get(name="informatics").pk)
    data = {"name": "theirs", "kind": "cluster"}
    record(demo.actor("alice"), "RESOURCE_ASSIGN", outcome=Outcome.DONE, subject=subject, data=data)
    record(demo.actor("alice"), "RESOURCE_ASSIGN", outcome=Outcome.REFUSED, subject=subject, data=data)
    assert [cell[1:] for cell in rows(demo)[:2]] == [[], ["Cluster: theirs"]]


def test_only_a_job_that_its_reader_sees_is_linked(demo):
    vm = demo.make_vm("alice", name="web-1")
    open_console(demo.actor("alice"), vm.pk, ConsoleRequest())
    client = demo.browser("alice")
    page = lxml.html.document_fromstring(client.get("/events/").content)
    links = page.xpath("//*[@id='events-list']//a[starts-with(@href, '/jobs/')]/@href")
    assert Event.objects.filter(actor_name="alice", correlation_id__isnull=False).count() > len(links) > 0
    assert {client.get(link).status_code for link in links} == {200}


def test_a_log_in_is_the_act_of_whoever_logs_in(demo):
    answer = demo.browser("bob").post("/login/", {"username": "alice", "password": demo.password("alice")})
    assert answer.status_code == 302
    assert Event.objects.get(code="LOGIN_DONE", object_name="alice").actor_name == "alice"
    assert ["Logging in"] in rows(demo, "alice")


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "2026-13-01", "x"])
def test_a_day_at_the_edge_of_the_calendar_is_as_if_it_were_not_asked_for(demo, day):
    shown = rows(demo)
    assert shown == rows(demo, query=f"?since={day}") == rows(demo, query=f"?until={day}")


def test_a_cursor_at_the_edge_of_the_calendar_is_no_cursor(demo):
    for moment in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"):
        cursor = Place(moment, uuid4(), backward=False).text()
        answer = demo.browser("admin").get(f"/api/v1/events/?cursor={cursor}")
        assert (answer.status_code, answer.json()["reasons"][0]["field"]) == (400, "cursor"), moment


def test_a_text_that_a_database_does_not_keep_is_on_record_all_the_same(demo):
    data = {"path": "/x\x00", "names": ["a\ud800", {"b\x00": 1}]}
    event = record(system_actor(), "TOY", outcome=Outcome.REFUSED, subject=Subject("toy", None), data=data)
    event.refresh_from_db()
    assert event.data == {"path": "/x\ufffd", "names": ["a?", {"b\ufffd": 1}]}
