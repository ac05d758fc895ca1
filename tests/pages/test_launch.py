"""The wizard that launches a data center, page by page as plain posts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.template.loader import render_to_string
from django.test import Client
from django.utils import timezone

from compute.forms.launch import LABELS, LaunchForm
from compute.services.launch_offers import Offer
from portal.common.actor import system_actor
from portal.common.kept_forms import KEPT, forget_forms
from portal.common.models import KeptForm
from portal.common.sealed import unseal_json
from portal.common.sessions import SessionStore
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import policy
from tenants.models import DataCenter, User
from tests.edge.conftest import one_world, world
from tests.edge.world import World
from tests.people import PASSWORD

__all__ = ["one_world", "world"]
WIZARD = "/data-centers/launch/"


def hold(answer: Any) -> dict[str, Any]:
    """What the page would post, as it stands."""
    form, values = answer.context["form"], {}
    for name in form.fields:
        value = form[name].value()
        if value not in (None, "", False, []):
            values[name] = value
    return values | {"at": answer.context["at"], "key": answer.context["key"]}


def go(browser: Client, answer: Any, word: str = "next", **typed: Any) -> Any:
    return browser.post(WIZARD, hold(answer) | typed | {"go": word})


def test_s19_the_wizard_keeps_what_was_typed_back_and_forth_and_starts_one_job(world: World):
    root = world.browser("root")
    page = root.get(WIZARD)
    refused = go(root, page, name="Physics")
    assert (refused.status_code, refused.context["at"]) == (400, 0)
    assert "already there" in refused.content.decode()
    page = go(root, page, name="chemistry", description="two\nlines")
    assert page.context["stage"].name == "clusters"
    assert len(page.context["chosen"]["clusters"]) == 1
    page = go(root, go(root, page), "back", clusters=[])
    assert (page.context["stage"].name, page.context["chosen"]["clusters"]) == ("clusters", [])
    missing = go(root, page)
    assert missing.status_code == 400
    assert "at least one cluster" in missing.content.decode()

    page = go(root, page, clusters=[world.ids["cluster"]])
    for typed in ({}, {"network_provider": ""}, {"machines": "7"}):
        page = go(root, page, **typed)
    page = go(root, page, admin="chemist", admin_is_new="on")
    assert page.context["is_review"]
    text = page.content.decode()
    assert "Appoint the administrator" in text
    assert not {"Assign networks", "Make its own network"} & set(page.context["plan"].steps)
    weak = go(root, page, "launch", password="short")
    assert (weak.status_code, weak.context["is_review"]) == (400, True)
    assert 'value="short"' not in weak.content.decode()
    assert not User.objects.filter(username="chemist").exists()

    started = go(root, page, "launch", password=PASSWORD)
    again = go(root, page, "launch", password=PASSWORD)
    assert (started.status_code, started["Location"]) == (302, again["Location"])
    [job] = Job.objects.filter(operation="compute.launch_data_center")
    assert run_to_end(job.pk).status == "finished", job.error
    idle = set(job.steps.filter(status="skipped").values_list("name", flat=True))
    assert idle == {"networks", "network", "verify_network"}
    row = DataCenter.objects.get(name="chemistry")
    assert (row.enabled, row.description.splitlines()) == (True, ["two", "lines"])
    about = root.get(started["Location"]).context["about"]
    assert (about.address, str(about.title)) == (f"/data-centers/{row.pk}/", "Show the data center")


def test_a_launch_that_failed_is_entered_again_where_it_failed_with_all_that_was_typed(world: World):
    root = world.browser("root")
    page = root.get(WIZARD)
    body = hold(page) | {
        "name": "chemistry",
        "admin": "bob",
        "network_provider": "",
        "at": 6,
        "storage_gib": "40",
        "machines": "0",
    }
    job = Job.objects.get(pk=root.post(WIZARD, body | {"go": "launch"})["Location"].split("/")[-2])
    User.objects.filter(username="bob").update(is_active=False)
    assert run_to_end(job.pk).status == "failed"

    assert f"{WIZARD}?continues={job.pk}" in root.get(f"/jobs/{job.pk}/").content.decode()
    assert str(job.pk) in root.get(f"/data-centers/{job.target_uid}/").content.decode()
    page = root.get(f"{WIZARD}?continues={job.pk}")
    held = hold(page)
    assert (page.context["stage"].name, held["name"]) == ("admin", "chemistry")
    limits = {name: value for name, value in page.context["kept"] if name in {"storage_gib", "machines"}}
    assert limits == {"machines": "0", "storage_gib": "40"}
    page = go(root, page, admin="alice")
    again = Job.objects.get(pk=go(root, page, "launch")["Location"].split("/")[-2])
    assert (run_to_end(again.pk).status, again.target_uid) == ("finished", job.target_uid)
    assert root.get(f"{WIZARD}?continues={job.pk}").status_code == 409


@pytest.mark.long
def test_what_was_entered_is_there_again_in_another_browser_until_it_is_launched(world: World):
    root = world.browser("root")
    page = go(root, go(root, root.get(WIZARD), name="chemistry", description="two\nlines"))
    there = world.browser("root").get(WIZARD)
    assert (there.context["stage"].name, there.context["form"]["name"].value()) == ("storage", "chemistry")
    assert "is here again." in there.content.decode()
    assert (page.context["chosen"], page.context["kept"]) == (there.context["chosen"], there.context["kept"])
    for typed in ({}, {"network_provider": ""}, {}, {"admin": "chemist", "admin_is_new": "on"}):
        page = go(root, page, **typed)
    go(root, page, "launch", password="much too secret, and weak"[:9])
    assert "secret" not in str(unseal_json(KeptForm.objects.get().sealed_values))
    there = root.get(WIZARD)
    assert (there.status_code, there.context["is_review"]) == (200, True)
    assert go(root, there, "launch", password=PASSWORD).status_code == 302
    assert not KeptForm.objects.exists()


def test_what_was_begun_anew_or_entered_a_week_ago_or_by_somebody_else_is_not_shown(world: World):
    root = world.browser("root")
    go(root, root.get(WIZARD), name="chemistry")
    second = world.place.actor("bob").user
    policy.grant(system_actor(), "super-admin", second, policy.system())
    other = Client()
    other.force_login(second)
    assert other.get(WIZARD).context["form"]["name"].value() is None
    assert root.post(WIZARD, {"go": "anew"}).status_code == 302
    assert (KeptForm.objects.count(), root.get(WIZARD).context["form"]["name"].value()) == (0, None)
    go(root, root.get(WIZARD), name="chemistry")
    KeptForm.objects.update(changed_at=timezone.now() - KEPT)
    assert root.get(WIZARD).context["form"]["name"].value() is None
    assert (forget_forms(), KeptForm.objects.count()) == (1, 0)


def test_a_log_in_that_ends_between_two_pages_loses_nothing(world: World):
    root = world.browser("root")
    page = go(root, root.get(WIZARD), name="chemistry")
    KeptForm.objects.all().delete()  # what was typed last was never there
    typed = hold(page) | {"go": "next", "whose": page.context["whose"], "description": "last words"}
    SessionStore(world.sessions["root"]).delete()
    answer = root.post(WIZARD, typed)
    assert (answer.status_code, "chemistry" in answer.content.decode()) == (401, False)
    draft = re.findall('name="draft" value="([^"]*)"', answer.content.decode())[0]
    logged = root.post("/login/", {"username": "root", "password": PASSWORD, "next": WIZARD, "draft": draft})
    assert logged["Location"] == WIZARD
    back = root.get(WIZARD)
    assert back.context["stage"].name == "clusters"
    assert [back.context["form"][name].value() for name in ("name", "description")] == ["chemistry", "last words"]


@pytest.mark.parametrize(("apart", "said"), [(3, "The chosen clusters reach none."), (0, "There is none yet.")])
def test_where_all_is_left_out_the_wizard_does_not_say_that_there_is_none(apart, said):
    offered = {name: Offer((), apart=apart) for name in (*LABELS, "providers")}
    field = LaunchForm(None, offered=offered)["templates"]
    shown = render_to_string("compute/partials/_launch_choices.html", {"field": field, "empty": "There is none yet."})
    assert re.findall(r"<p[^>]*>([^<]*?\.)[ <]", shown) == [said]
