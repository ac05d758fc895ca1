"""The pages of one machine: each tab with an address of its own, for whoever may look at it."""

from __future__ import annotations

import re
from datetime import timedelta
from http import HTTPStatus

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from portal import page_parts
from portal.common.actor import system_actor
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import policy
from tests.pages.test_machines import _queries

MOST_QUERIES = {"": 16, "disks/": 14, "nics/": 14, "events/": 14, "who/": 19, "jobs/": 16}


@pytest.fixture
def vm(demo):
    return demo.make_vm("alice", name="web-1")


def page(demo, name: str, path: str) -> str:
    return demo.browser(name).get(path).content.decode()


def tabs(text: str) -> list[str]:
    return re.findall(
        r'href="/machines/[0-9a-f-]{36}/([a-z]*)/?"', text[text.index('class="tabs"') :].split("</nav>", maxsplit=1)[0]
    )


@pytest.mark.parametrize("tab", list(MOST_QUERIES))
def test_every_tab_shows_the_head_marks_itself_and_asks_so_often(demo, vm, tab):
    client = demo.browser("physics-admin")
    path = f"/machines/{vm.pk}/{tab}"
    client.get(path)
    assert _queries(client, path) <= MOST_QUERIES[tab]
    text = client.get(path).content.decode()
    assert f'id="vm-head-{vm.pk}"' in text
    assert f'href="{path}" aria-current="page"' in text
    assert text.count('aria-current="page"') == 2, "the noun of the navigation and this tab"


def test_overview_tells_what_the_machine_takes_of_the_quota(demo, vm):
    taken = demo.browser("alice").get(f"/machines/{vm.pk}/").context["taken"]
    disk = vm.disks.get()
    assert {str(each.dimension): each.amount for each in taken} == {
        "vcpus_running": vm.vcpus,
        "memory_running_mib": vm.memory_mib,
        "vcpus_defined": vm.vcpus,
        "memory_defined_mib": vm.memory_mib,
        "storage_gib": disk.size_gib,
        "machines": 1,
    }


def test_disks_and_network_cards_have_pages_of_their_own_and_left_the_overview(demo, vm):
    mac = vm.nics.get().mac
    assert "disk1" in page(demo, "alice", f"/machines/{vm.pk}/disks/")
    assert mac in page(demo, "alice", f"/machines/{vm.pk}/nics/")
    overview = page(demo, "alice", f"/machines/{vm.pk}/")
    assert "disk1" not in overview
    assert mac not in overview


def test_who_can_tells_roles_on_the_machine_and_through_its_data_center_but_no_other(demo, vm):
    here = system_actor()
    staff = Group.objects.create(name="staff")
    policy.grant(here, "user-role", demo.user("bob"), vm, expires_at=timezone.now() + timedelta(days=1))
    policy.grant(here, "user-role", demo.user("dora"), vm, expires_at=timezone.now() - timedelta(days=1))
    policy.grant(here, "data-center-admin", staff, vm.data_center)
    found = demo.browser("alice").get(f"/machines/{vm.pk}/who/").context["holders"]
    told = {
        str(holder.subject): [(role.codename, role.scope.kind == "data_center") for role in holder.roles]
        for holder, _titles in found
    }
    assert told == {
        "staff": [("data-center-admin", True)],
        "Alice": [("user-vm-manager", False)],
        "Bob": [("user-role", False)],
        str(demo.user("physics-admin")): [("data-center-admin", True)],
    }
    may = {str(holder.subject): [str(title) for title in titles] for holder, titles in found}
    assert may["Bob"] == ["See it", "Console", "Run", "Shut down", "Reboot", "Stop"]


def test_who_merely_uses_a_machine_sees_no_people_and_no_log_of_it(demo, vm):
    policy.grant(system_actor(), "user-role", demo.user("bob"), vm)
    client = demo.browser("bob")
    assert tabs(client.get(f"/machines/{vm.pk}/").content.decode()) == ["", "disks", "nics", "jobs"]
    assert client.get(f"/machines/{vm.pk}/who/").status_code == HTTPStatus.FORBIDDEN
    assert not client.get(f"/machines/{vm.pk}/events/").context["events"]


def test_people_of_a_machine_are_paged_by_name_and_each_is_told_once(demo, vm, django_user_model):
    for number in range(55):
        user = django_user_model.objects.create(username=f"user-{number:02}")
        policy.grant(system_actor(), "user-role", user, vm)
    client, seen, query = demo.browser("alice"), [], "cursor="
    while query:
        context = client.get(f"/machines/{vm.pk}/who/?{query}").context
        seen += [holder.subject.username for holder, _titles in context["holders"]]
        query = f"cursor={context['more']}" if context["more"] else ""
    assert len(seen) == len(set(seen)) == 57


def test_jobs_of_a_machine_are_all_told_to_its_manager_and_ones_own_to_whoever_uses_it(demo, vm):
    policy.grant(system_actor(), "user-role", demo.user("bob"), vm)
    demo.browser("bob").post(f"/machines/{vm.pk}/stop/")
    stopped = Job.objects.filter(target_uid=vm.pk).latest("created_at")
    run_to_end(stopped.pk)
    mine = demo.browser("alice").get(f"/machines/{vm.pk}/jobs/")
    assert [job["operation"] for job in mine.context["jobs"]] == ["compute.stop_vm", "compute.create_vm"]
    assert f'href="/jobs/{stopped.pk}/"' in mine.content.decode()
    made = Job.objects.get(target_uid=vm.pk, operation="compute.create_vm")
    for path in ("/jobs", "/api/v1/jobs"):
        assert demo.browser("alice").get(f"{path}/{stopped.pk}/").status_code == HTTPStatus.OK
        assert demo.browser("bob").get(f"{path}/{made.pk}/").status_code == HTTPStatus.NOT_FOUND
    his = demo.browser("bob").get(f"/machines/{vm.pk}/jobs/")
    assert [job["id"] for job in his.context["jobs"]] == [str(stopped.pk)]
    assert f'href="/jobs/{stopped.pk}/"' in his.content.decode()


def test_head_of_a_tab_lives_alone_and_goes_with_the_right_to_see_it(demo, vm):
    text = page_parts.head(demo.actor("alice"), vm.pk)
    assert f'data-watch="head:{vm.pk}"' in text
    assert "vm-facts" not in text
    assert "This machine is no longer there" in page_parts.head(demo.actor("bob"), vm.pk)


def test_verb_on_a_tab_answers_with_its_head_alone(demo, vm):
    answer = demo.browser("alice").post(f"/machines/{vm.pk}/stop/", {"part": "head"}, headers={"HX-Request": "true"})
    assert answer.status_code == HTTPStatus.OK
    assert f'id="vm-head-{vm.pk}"' in answer.content.decode()
    assert "vm-facts" not in answer.content.decode()


def test_overview_leads_to_the_template_of_a_machine_where_one_may_see_it(demo, vm):
    template, page = vm.template_here, f"/machines/{vm.pk}/"
    assert f'href="/templates/{template.pk}/"' in demo.browser("alice").get(page).content.decode()
    template.assignments.all().delete()
    left = demo.browser("alice").get(page).content.decode()
    assert template.name in left
    assert f"/templates/{template.pk}/" not in left
