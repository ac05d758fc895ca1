"""One verb on several machines at once, by a plain form: each is told by itself, and twice is once."""

from __future__ import annotations

import re
from http import HTTPStatus
from uuid import uuid4

import pytest

from compute.models import Vm
from compute.services.bulk import MOST
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job

KEY = "k" * 32


@pytest.fixture
def two(demo):
    return demo.make_vm("alice", name="of-alice"), demo.make_vm("charlie", name="of-charlie")


def post(client, verb: str, *uids, **more: str):
    return client.post("/machines/bulk/", {"verb": verb, "machine": [str(uid) for uid in uids], "key": KEY} | more)


def told(answer) -> dict[str, tuple[bool, str]]:
    return {each.name: (each.was_accepted, each.refusal) for each in answer.context["outcomes"]}


def jobs_of(*vms: Vm, operation: str) -> int:
    return Job.objects.filter(target_uid__in=[vm.pk for vm in vms], operation=operation).count()


def test_each_machine_is_told_by_itself_with_its_job_or_the_reason(demo, two):
    Vm.objects.filter(pk=two[1].pk).update(status="down")
    answer = post(demo.browser("admin"), "stop", *(vm.pk for vm in two))
    assert answer.status_code == HTTPStatus.OK
    assert told(answer) == {"of-alice": (True, ""), "of-charlie": (False, "Not while the machine is down.")}
    job = Job.objects.get(target_uid=two[0].pk, operation="compute.stop_vm")
    assert f'href="/jobs/{job.pk}/"' in answer.content.decode()
    assert run_to_end(job.pk).status == "finished"


def test_form_that_is_posted_twice_does_nothing_twice(demo, two):
    client = demo.browser("admin")
    first, again = (post(client, "stop", *(vm.pk for vm in two)) for _time in range(2))
    assert told(first) == told(again) == {"of-alice": (True, ""), "of-charlie": (True, "")}
    assert [each.job for each in first.context["outcomes"]] == [each.job for each in again.context["outcomes"]]
    assert jobs_of(*two, operation="compute.stop_vm") == 2


def test_machines_of_another_department_are_not_there_and_untouched(demo, two):
    stranger = uuid4()
    answer = post(demo.browser("physics-admin"), "stop", two[1].pk, stranger)
    refusal = "There is no such machine, or you may not see it."
    assert told(answer) == {str(two[1].pk): (False, refusal), str(stranger): (False, refusal)}
    assert "of-charlie" not in answer.content.decode()
    assert jobs_of(two[1], operation="compute.stop_vm") == 0


def test_protected_machine_is_refused_even_to_a_super_admin_and_leads_to_its_page(demo, two):
    Vm.objects.update(protected=True)
    assert told(post(demo.browser("physics-admin"), "stop", two[0].pk))["of-alice"] == (
        False,
        "This machine is protected: others depend on it. Ask a super-admin.",
    )
    answer = post(demo.browser("admin"), "stop", two[0].pk)
    assert told(answer)["of-alice"] == (False, "It is protected: its name is to be typed on its own page.")
    assert f'href="/machines/{two[0].pk}/confirm/stop/"' in answer.content.decode()
    assert jobs_of(*two, operation="compute.stop_vm") == 0


def test_deleting_asks_first_naming_what_is_lost_and_what_stays(demo, two):
    Vm.objects.filter(pk=two[0].pk).update(status="down")
    client = demo.browser("admin")
    question = post(client, "delete", *(vm.pk for vm in two))
    page = question.content.decode()
    assert jobs_of(*two, operation="compute.delete_vm") == 0
    assert "Delete 1 machine?" in page
    assert "with 1 disk, 1 GiB" in page
    assert "Stop the machine before you delete it" in page
    assert re.findall(r'name="machine" value="([^"]*)"', page) == [str(two[0].pk)], "what stays is not posted"
    answer = post(client, "delete", two[0].pk, confirmed="1")
    assert told(answer) == {"of-alice": (True, "")}
    run_to_end(Job.objects.get(target_uid=two[0].pk, operation="compute.delete_vm").pk)
    assert not Vm.objects.filter(pk=two[0].pk).exists()


def test_nothing_chosen_a_verb_that_is_none_and_a_form_without_a_key_are_refused(demo, two):
    client = demo.browser("admin")
    nothing = post(client, "stop")
    assert nothing.status_code == HTTPStatus.BAD_REQUEST
    assert "Tick at least one" in nothing.content.decode()
    assert post(client, "connect", two[0].pk).status_code == HTTPStatus.BAD_REQUEST
    assert post(client, "stop", two[0].pk, key="short").status_code == HTTPStatus.BAD_REQUEST
    assert client.get("/machines/bulk/").status_code == HTTPStatus.METHOD_NOT_ALLOWED
    assert jobs_of(*two, operation="compute.stop_vm") == 0


def test_more_than_the_most_are_refused_with_the_figures_and_nothing_is_done(demo, two):
    answer = post(demo.browser("admin"), "stop", two[0].pk, *(uuid4() for _one in range(MOST)))
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert "101 machines were chosen; at most 100 go at once." in answer.content.decode()
    assert jobs_of(*two, operation="compute.stop_vm") == 0


def test_rows_are_ticked_for_one_form_and_all_of_them_by_a_link(demo, two):
    client = demo.browser("admin")
    page = client.get("/?q=of-").content.decode()
    assert page.count('form="bulk" name="machine"') == 2
    assert " checked" not in page
    [link] = re.findall(r'href="(\?[^"]*)" data-select-all', page)
    ticked = client.get(f"/{link.replace('&amp;', '&')}").content.decode()
    assert ticked.count(" checked>") == 2
    assert "bulk" not in demo.browser("alice").get("/").content.decode(), "cards have no bar"
