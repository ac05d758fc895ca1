"""Making, seeing and running machines through the pages, without JavaScript."""

from __future__ import annotations

import re
from http import HTTPStatus
from uuid import uuid4

import lxml.html
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from compute.models import Vm, VmUserGrant
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants.models import DataCenter, QuotaAccount
from tests.doubles.hypervisor_state import Fault

HOME_QUERIES = 10


def test_wizard_makes_one_machine_however_often_its_form_is_posted(demo):
    client = demo.browser("alice")
    form = demo.review(client, name="once-only")
    first = client.post("/machines/new/", form)
    again = client.post("/machines/new/", form)
    assert first.status_code == again.status_code == HTTPStatus.FOUND
    assert first.headers["Location"] == again.headers["Location"]
    assert Vm.objects.filter(name="once-only").count() == 1
    assert Job.objects.filter(target_name="once-only").count() == 1


@pytest.mark.parametrize("person", ["alice", "admin"])
def test_form_posted_as_a_browser_has_it_is_reviewed(demo, person):
    client = demo.browser(person)
    wizard = lxml.html.document_fromstring(client.get("/machines/new/").content).get_element_by_id("wizard")
    values = dict(wizard.form_values())
    assert values["data_center"], "the only one, or the one that is chosen"
    assert client.post("/machines/new/", values | {"action": "review"}).context["key"]


def test_key_with_other_values_is_refused_and_nothing_is_made(demo):
    client = demo.browser("alice")
    form = demo.review(client, name="first")
    client.post("/machines/new/", form)
    answer = client.post("/machines/new/", form | {"name": "second"})
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert not Vm.objects.filter(name="second").exists()


def test_form_without_a_key_makes_nothing(demo):
    client = demo.browser("alice")
    answer = client.post("/machines/new/", demo.form(client) | {"action": "create"})
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert not Vm.objects.exists()


@pytest.mark.parametrize("name", ["ümlaut", "a b", "<script>", "..", "x" * 65, ""])
def test_bad_name_is_refused_beside_its_field_and_the_values_stay(demo, name):
    client = demo.browser("alice")
    answer = client.post("/machines/new/", demo.form(client, name=name, user_name="me") | {"action": "review"})
    page = answer.content.decode()
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert 'id="name-error"' in page
    assert 'value="me"' in page
    assert "<script>" not in page
    assert not Vm.objects.exists()


def test_taken_name_is_refused_beside_its_field(demo):
    demo.make_vm("alice", name="mine")
    client = demo.browser("bob")
    answer = client.post("/machines/new/", demo.form(client, name="mine") | {"action": "review"})
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert 'id="name-error"' in answer.content.decode()


def test_review_shows_plan_and_quota_and_writes_nothing(demo):
    client = demo.browser("alice")
    answer = client.post("/machines/new/", demo.form(client) | {"action": "review"})
    page = answer.content.decode()
    assert all(str(step) in page for step in answer.context["plan"].steps)
    assert "0 → <strong>1</strong> / 10" in page
    assert not Vm.objects.exists()
    assert not Job.objects.filter(target_kind="vm").exists()


def test_where_nothing_is_limited_the_review_says_so_and_the_home_has_no_quota(demo):
    QuotaAccount.objects.update(limit=None)
    client = demo.browser("alice")
    answer = client.post("/machines/new/", demo.form(client) | {"action": "review"})
    assert "No limit is set." in answer.content.decode()
    assert "Quota in" not in client.get("/").content.decode()


def test_over_quota_is_told_at_review_and_the_button_is_off(demo):
    client = demo.browser("alice")
    answer = client.post("/machines/new/", demo.form(client, memory_mib="4096") | {"action": "review"})
    page = answer.content.decode()
    assert "limit 2 GiB, in use 0 MiB, asked for 4 GiB, 2 GiB over" in page
    assert 'value="create" disabled' in page


def test_template_of_another_department_is_no_choice(demo):
    client = demo.browser("alice")
    answer = client.post("/machines/new/", demo.form(client, template=str(uuid4())) | {"action": "review"})
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert not Vm.objects.exists()


def test_whoever_has_one_data_center_posts_it_unseen(demo):
    page = demo.browser("alice").get("/machines/new/").content.decode()
    center = DataCenter.objects.get(name="physics")
    assert f'<input type="hidden" name="data_center" value="{center.pk}">' in page


def test_template_and_data_center_are_preset_as_a_pair_and_refused_beside_the_field_where_they_are_none(demo):
    other = DataCenter.objects.create(name="aardvark")  # the first by name, and it was given nothing
    client = demo.browser("admin")
    client.post("/machines/new/", demo.review(client, name="fits"))
    assert Vm.objects.get(name="fits").data_center != other
    posted = demo.form(client, name="kept", data_center=str(other.pk)) | {"action": "review"}
    answer = client.post("/machines/new/", posted)
    errors = answer.context["form"].errors
    assert (answer.status_code, list(errors), answer.context["form"]["name"].value()) == (400, ["data_center"], "kept")
    assert "aardvark may not use the template" in str(errors)
    assert "physics" in str(errors)


def test_machine_of_another_is_not_there_on_any_page(demo):
    vm = demo.make_vm("alice")
    job = Job.objects.get(target_uid=vm.pk)
    for name in ("bob", "charlie"):
        client = demo.browser(name)
        for path in (f"/machines/{vm.pk}/", f"/machines/{vm.pk}/delete/", f"/jobs/{job.pk}/"):
            assert client.get(path).status_code == HTTPStatus.NOT_FOUND, path
        for verb in ("run", "shut_down", "stop", "reboot", "delete"):
            assert client.post(f"/machines/{vm.pk}/{verb}/").status_code == HTTPStatus.NOT_FOUND, verb
        assert vm.name not in client.get("/").content.decode()
        assert vm.name not in client.get("/jobs/").content.decode()


def test_verbs_by_plain_forms_lead_to_the_machine_and_delete_to_its_job(demo):
    vm = demo.make_vm("alice")
    client = demo.browser("alice")
    answer = client.post(f"/machines/{vm.pk}/stop/")
    assert answer.headers["Location"] == f"/machines/{vm.pk}/"
    run_to_end(Job.objects.filter(target_uid=vm.pk).latest("created_at").pk)
    for path in (f"/jobs/{Job.objects.filter(target_uid=vm.pk).latest('created_at').pk}/", "/events/"):
        assert f'href="/machines/{vm.pk}/"' in client.get(path).content.decode()
    question = client.get(f"/machines/{vm.pk}/delete/").content.decode()
    assert "disk1" in question
    gone = client.post(f"/machines/{vm.pk}/delete/")
    job = Job.objects.filter(target_uid=vm.pk).latest("created_at")
    assert gone.headers["Location"] == f"/jobs/{job.pk}/"
    run_to_end(job.pk)
    assert client.get(f"/machines/{vm.pk}/").status_code == HTTPStatus.NOT_FOUND
    for path in (f"/jobs/{job.pk}/", "/events/"):
        assert f'href="/machines/{vm.pk}/"' not in client.get(path).content.decode(), "it is gone"


def test_verb_of_a_session_that_ended_leads_over_the_log_in_to_the_machine(demo, client):
    vm = demo.make_vm("alice")
    page = f"/machines/{vm.pk}/"
    answer = client.post(f"{page}stop/", headers={"Referer": f"http://testserver{page}"})
    assert answer.headers["Location"] == f"/login/?next={page}"
    assert Job.objects.filter(target_uid=vm.pk).count() == 1


def test_machine_that_is_gone_leads_to_the_job_that_tells_but_nobody_else(demo):
    vm = demo.make_vm("alice")
    client = demo.browser("alice")
    client.post(f"/machines/{vm.pk}/delete/")
    job = Job.objects.filter(target_uid=vm.pk).latest("created_at")
    run_to_end(job.pk)
    assert f"/jobs/{job.pk}/" in client.get(f"/machines/{vm.pk}/").content.decode()
    page = demo.browser("charlie").get(f"/machines/{vm.pk}/").content.decode()
    assert str(job.pk) not in page
    assert re.search(r"/jobs/[0-9a-f]{8}-", page) is None, "nor any other job"


def test_people_of_a_disabled_data_center_are_told_so_and_nothing_more(demo):
    vm = demo.make_vm("alice", name="hidden")
    DataCenter.objects.filter(pk=vm.data_center_id).update(enabled=False)
    told, client = f"The data center {vm.data_center.name} is disabled.", demo.browser("alice")
    pages = {"/": 200, "/machines/new/": 404, f"/machines/{vm.pk}/": 404, f"/machines/{uuid4()}/": 404}
    for path, status in pages.items():
        answer = client.get(path)
        assert (answer.status_code, told in answer.content.decode()) == (status, True), path
        assert ">hidden<" not in answer.content.decode()
    assert client.get(f"/api/v1/vms/{vm.pk}/").status_code == HTTPStatus.NOT_FOUND
    for other in ("charlie", "admin"):
        assert told not in demo.browser(other).get("/").content.decode()


def test_an_empty_portal_leads_super_admins_step_by_step_to_a_first_machine(demo):
    client, told = demo.browser("admin"), []
    for disabled in (False, True):
        DataCenter.objects.update(enabled=not disabled)
        page = client.get("/").content.decode()
        told.append(re.findall(r'data-done="(yes|no)"', page))
        following = "/data-centers/launch/" if disabled else "/machines/new/"
        assert f'class="btn btn-primary" href="{following}"' in page
    assert told == [["yes", "yes", "yes", "no"], ["yes", "no", "yes", "no"]]
    assert "/machines/new/" not in client.get("/jobs/").content.decode().partition("<main")[2]
    DataCenter.objects.update(enabled=True)
    assert "data-done" not in demo.browser("physics-admin").get("/").content.decode()
    demo.make_vm("alice")
    assert "data-done" not in client.get("/").content.decode()


def test_administrator_sees_whose_a_machine_is_and_who_asked_for_a_job(demo):
    demo.make_vm("alice")
    admin = demo.browser("physics-admin")
    assert ">Alice</td>" in admin.get("/").content.decode()
    assert ">alice</td>" in admin.get("/jobs/").content.decode()
    assert "owner:" not in demo.browser("alice").get("/").content.decode()


def test_disabled_action_is_shown_with_its_reason(demo):
    vm = demo.make_vm("alice")
    page = demo.browser("alice").get(f"/machines/{vm.pk}/").content.decode()
    assert re.search(r'aria-disabled="true" title="Not while the machine is (up|starting)\." data-verb="run"', page)


def test_second_verb_while_a_job_runs_is_refused_and_names_the_job(demo):
    vm = demo.make_vm("alice")
    client = demo.browser("alice")
    client.post(f"/machines/{vm.pk}/stop/")
    job = Job.objects.filter(target_uid=vm.pk).latest("created_at")
    answer = client.post(f"/machines/{vm.pk}/stop/")
    assert answer.status_code == HTTPStatus.CONFLICT
    assert f"/jobs/{job.pk}/" in answer.content.decode()
    in_page = client.post(f"/machines/{vm.pk}/stop/", headers={"HX-Request": "true"})
    assert in_page.headers["HX-Retarget"] == "#notices"
    assert f"/jobs/{job.pk}/" in in_page.content.decode()


def test_home_asks_the_database_as_often_for_1000_machines_as_for_one(demo):
    vm = demo.make_vm("alice")
    client = demo.browser("alice")
    client.get("/")
    counts = {1: _queries(client)}
    for total in (100, 1000):
        _more_like(vm, total)
        counts[total] = _queries(client)
    assert set(counts.values()) == {HOME_QUERIES}, counts
    assert len(client.get("/").context["cards"]) == 48


def test_home_pages_through_every_machine_once(demo):
    vm = demo.make_vm("alice")
    _more_like(vm, 100)
    client = demo.browser("alice")
    seen, query = [], ""
    while True:
        context = client.get(f"/?{query}").context
        seen += [card.vm.name for card in context["cards"]]
        query = context["more"]
        if not query:
            break
    assert len(seen) == len(set(seen)) == 100


def test_search_finds_by_name_and_says_when_nothing_does(demo):
    demo.make_vm("alice", name="web-server")
    client = demo.browser("alice")
    assert "web-server" in client.get("/?q=WEB").content.decode()
    assert "“nothing-such”" in client.get("/?q=nothing-such").content.decode()


@pytest.mark.parametrize("person", ["alice", "physics-admin", "admin"])
def test_pages_ask_the_database_no_more_than_this(demo, person):
    vm = demo.make_vm("alice")
    client = demo.browser(person)
    for path, most in {"/": HOME_QUERIES, f"/machines/{vm.pk}/": 16, "/jobs/": 12}.items():
        client.get(path)
        assert _queries(client, path) <= most, path


def _queries(client, path: str = "/") -> int:
    with CaptureQueriesContext(connection) as caught:
        assert client.get(path).status_code == HTTPStatus.OK
    return len(caught)


def _more_like(vm: Vm, total: int) -> None:
    """Rows alone: as many machines of the same owner as make ``total``."""
    grant = VmUserGrant.objects.get(content_object=vm)
    fields = {f.attname: getattr(vm, f.attname) for f in Vm._meta.concrete_fields if f.attname not in {"uid", "name"}}
    have = Vm.objects.count()
    rows = Vm.objects.bulk_create(Vm(name=f"row-{number:04}", **fields) for number in range(have, total))
    VmUserGrant.objects.bulk_create(
        VmUserGrant(content_object=row, user=grant.user, permission=grant.permission) for row in rows
    )


def test_creation_that_failed_is_tried_again_under_its_name(demo):
    client = demo.browser("alice")
    demo.double.fail("create_disk", Fault.REFUSED)
    client.post("/machines/new/", demo.review(client, name="web-7"))
    job = Job.objects.get(target_name="web-7")
    assert run_to_end(job.pk).status == "failed"
    [again] = re.findall(r'href="(/machines/new/\?name=[^"]*)"', client.get(f"/jobs/{job.pk}/").content.decode())
    assert client.get(again).context["form"]["name"].value() == "web-7"
    assert demo.make_vm("alice", name="web-7").status in {"powering_up", "up"}
