"""Requests that come again: one operation, whatever the door, the moment and the death of the process in between."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest
from django.utils import timezone

from compute.models import Vm
from compute.operations import power
from portal.common.models import IdempotencyKey
from portal.events.models import Event
from portal.jobs.engine import advance
from portal.jobs.models import Job
from portal.jobs.tasks import forget_keys, run_job, sweep
from tenants import quota
from tenants.models import QuotaCharge
from tenants.models.quota import Dimension
from tests.crowd import in_threads
from tests.flows.doors import FORM, Api, Browser
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.place import Place
from tests.jobs.conftest import run
from tests.jobs.fixtures import Plant
from tests.jobs.workers import Workers

pytestmark = pytest.mark.django_db(transaction=True)


def creates() -> list[Job]:
    return list(Job.objects.filter(operation="compute.create_vm"))


def finish_all(place: Place) -> None:
    for job in creates():
        run(job)
    assert_nothing_lost(place)


@pytest.mark.long
def test_cc07_one_key_50_times_in_parallel_is_one_operation_with_one_answer(place: Place):
    api = Api(place, "alice")

    answers = in_threads(50, lambda _number: api.create(key="k-1"))

    assert {answer.status_code for answer in answers} == {202}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert len({answer["Location"] for answer in answers}) == 1
    assert sorted(answer.headers.get("Idempotent-Replay", "") for answer in answers) == [""] + ["true"] * 49
    assert Vm.objects.count() == len(creates()) == 1
    assert Event.objects.filter(code="VM_CREATE_REQUESTED").count() == 1
    finish_all(place)


def test_cc07_a_key_is_bound_to_its_body_its_user_and_its_day(place: Place):
    api = Api(place, "alice")
    first = api.create("one", key="k-1")
    assert api.create("two", key="k-1").status_code == 422
    assert Api(place, "bob").create("bobs", key="k-1").status_code == 202
    assert sorted(Vm.objects.values_list("name", flat=True)) == ["bobs", "one"]

    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=25))

    later = api.create("two", key="k-1")
    assert (later.status_code, later.headers.get("Idempotent-Replay")) == (202, None)
    assert later.json()["vm"]["id"] != first.json()["vm"]["id"]
    finish_all(place)


def test_cc07_one_key_on_a_verb_is_one_job(place: Place):
    api, vm = Api(place, "alice"), place.machine()
    answers = in_threads(10, lambda _number: api.post(f"/api/v1/vms/{vm.pk}/stop/", key="k-1"))
    assert len({answer.json()["job"]["id"] for answer in answers}) == 1
    [job] = Job.objects.filter(operation="compute.stop_vm")
    run(job)
    assert api.post(f"/api/v1/vms/{vm.pk}/stop/", key="k-1").json()["job"]["id"] == str(job.pk)
    assert_nothing_lost(place)


def test_keys_of_yesterday_are_forgotten_and_todays_are_kept(place: Place):
    api = Api(place, "alice")
    assert [api.create(f"m-{key}", key=key).status_code for key in ("old", "new")] == [202, 202]
    old, new = IdempotencyKey.objects.order_by("created_at")
    IdempotencyKey.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(hours=24, minutes=1))
    IdempotencyKey.objects.filter(pk=new.pk).update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
    assert (forget_keys(), forget_keys()) == (1, 0)
    assert list(IdempotencyKey.objects.all()) == [new]


def test_a_refusal_frees_the_key_and_its_record_stays(place: Place):
    api, center = Api(place, "alice"), place.centers["physics"]
    quota.set_limits(center, {Dimension.MACHINES: 0})
    assert api.create(key="k-1").status_code == 409

    assert not IdempotencyKey.objects.exists()
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()
    [event] = Event.objects.filter(code="VM_CREATE_REFUSED")
    assert event.data["code"] == "quota_exceeded"

    quota.set_limits(center, {Dimension.MACHINES: 10})
    assert api.create(key="k-1").status_code == 202
    finish_all(place)


def test_a_form_that_is_refused_frees_its_key_and_the_record_stays(place: Place):
    browser = Browser(place, "alice")
    form = browser.review("web-1")
    quota.set_limits(place.centers["physics"], {Dimension.MACHINES: 0})
    assert browser.client().post(FORM, form).status_code in {400, 409}
    assert Event.objects.filter(code="VM_CREATE_REFUSED").count() == 1
    assert not IdempotencyKey.objects.exists()
    assert not QuotaCharge.objects.exists()

    quota.set_limits(place.centers["physics"], {Dimension.MACHINES: 10})
    assert browser.client().post(FORM, form).status_code == 302
    finish_all(place)


@pytest.mark.long
def test_cc07_a_process_killed_before_its_commit_leaves_neither_work_nor_key(place: Place, workers: Workers):
    api = Api(place, "alice")
    arguments = {"token": api.token, "body": api.body("web-1"), "key": "k-1"}
    assert workers.call("tests.flows.doors:post_and_die_before_the_commit", **arguments) == -signal.SIGKILL
    assert not Vm.objects.exists()
    assert not IdempotencyKey.objects.exists()
    assert not QuotaCharge.objects.exists()
    assert not Event.objects.filter(code__startswith="VM_CREATE").exists()

    assert api.create(key="k-1").status_code == 202
    finish_all(place)


def test_tf09_a_process_killed_right_after_its_commit_has_kept_work_key_and_answer(
    place: Place, workers: Workers, plant: Plant
):
    plant("compute.create_vm.publish", "kill")
    api = Api(place, "alice")
    arguments = {"token": api.token, "body": api.body("web-1"), "key": "k-1"}
    assert workers.call("tests.flows.doors:post", **arguments) == -signal.SIGKILL
    [job] = creates()

    again = api.create(key="k-1")

    assert (again.status_code, again.json()["job"]["id"]) == (202, str(job.pk))
    Job.objects.update(changed_at=timezone.now() - timedelta(minutes=1))
    assert sweep() == 1, "nobody was told of the job"
    run_job(str(job.pk))
    finish_all(place)
    assert Vm.objects.count() == 1


def test_cc10_a_double_click_makes_one_machine_and_leads_to_it_twice(place: Place):
    browser = Browser(place, "alice")
    form = browser.review("web-1")
    clients = [browser.client() for _ in range(5)]

    answers = in_threads(5, lambda number: clients[number].post(FORM, form))

    assert {answer.status_code for answer in answers} == {302}
    [vm] = Vm.objects.all()
    assert {answer.headers["Location"] for answer in answers} == {f"/machines/{vm.pk}/"}
    finish_all(place)


def test_cc10_going_back_and_sending_again_makes_nothing_new(place: Place):
    browser = Browser(place, "alice")
    form = browser.review("web-1")
    first = browser.client().post(FORM, form)
    finish_all(place)

    assert browser.client().post(FORM, form).headers["Location"] == first.headers["Location"]
    changed = browser.client().post(FORM, form | {"name": "web-2"})
    anew = browser.client().post(FORM, {**form, "action": "review"})

    assert (changed.status_code, anew.status_code) == (422, 400)
    assert 'id="name-error"' in anew.content.decode()
    assert Vm.objects.count() == 1
    finish_all(place)


def test_cc10_a_retry_after_a_lost_answer_gets_the_answer_even_when_the_work_is_over(place: Place):
    api = Api(place, "alice")
    first = api.create(key="k-1")
    finish_all(place)
    again = api.create(key="k-1")
    assert (again.status_code, again.json(), again["Location"]) == (202, first.json(), first["Location"])
    assert Vm.objects.count() == len(creates()) == 1


@pytest.mark.parametrize("verb", ["stop", "reboot", "shut_down", "delete"])
def test_cc10_a_double_click_on_a_verb_is_one_job_and_the_other_is_told_of_it(place: Place, verb: str):
    vm, browser = place.machine(), Browser(place, "alice")
    if verb == "delete":
        run(place.do("stop", vm))
    clients = [browser.client() for _ in range(4)]

    answers = in_threads(4, lambda number: clients[number].post(f"/machines/{vm.pk}/{verb}/"))

    [job] = Job.objects.filter(operation=f"compute.{verb}_vm").exclude(status="finished")
    assert sorted(answer.status_code for answer in answers) == [302, 409, 409, 409]
    refused = [answer for answer in answers if answer.status_code == 409]
    assert all(f"/jobs/{job.pk}/" in answer.content.decode() for answer in refused)
    place.double.configure(guest_ignores_shutdown=False)
    run(job)
    assert_nothing_lost(place)


def test_a_guest_that_did_not_hear_it_is_asked_again_to_shut_down(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(power, "ASK_AGAIN_SECONDS", 0.0)
    vm = place.machine()
    place.double.configure(guest_ignores_shutdown=True)
    job = place.do("shut_down", vm)
    while not place.double.calls("shut_down_vm"):
        advance(job.pk)
    place.double.configure(guest_ignores_shutdown=False)
    assert run(job).status == "finished"
    assert len(place.double.calls("shut_down_vm")) > 1


def test_a_kept_answer_is_for_no_token_that_could_not_have_asked(place: Place):
    api = Api(place, "alice")
    first = api.create(key="k-1")
    for narrower in ({"scope": "read"}, {"permits": ["TEMPLATE_VIEW"]}, {"objects": [place.template.pk]}):
        other = Api(place, "alice", **narrower)
        answer = other.create(key="k-1")
        assert (answer.status_code, "other things" in answer.json()["detail"]) == (422, True), narrower
        assert first.json()["vm"]["id"] not in answer.content.decode()
    enough = ["VM_CREATE", "DATA_CENTER_VIEW", "TEMPLATE_USE", "NETWORK_USE", "QUOTA_CONSUME"]
    kept, again = (Api(place, "alice", permits=enough).create("two", key="k-2") for _ in range(2))
    assert api.create("two", key="k-2").status_code == 422, "in doubt nothing is made twice"
    assert (kept.status_code, again.json(), again["Idempotent-Replay"]) == (202, kept.json(), "true"), (
        "a token that took another's place"
    )
    assert Vm.objects.count() == 2
