"""An engine that was upgraded or built anew underneath: nothing is removed there until a super-admin has looked at it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.test import Client
from django.utils import timezone

from compute.models import Nic, Template, Vm
from compute.services import vms
from compute.services.upgrades import accept_version, look_of, upgrade_of
from compute.services.wishes import VmRequest
from compute.sync.inventory import sync_provider
from compute.sync.leftovers import SEEN_AT, STEP
from compute.sync.rebuilt import found_again
from compute.sync.turns import turn_of
from network.models import NetworkAssignment
from portal.common.errors import Conflict, NotFound, PreconditionFailed
from portal.events.models import Event
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import Marker, VmFound, VmStatus
from portal.hypervisors.upgrades import accepted_after, news_of
from portal.jobs.control import can_be_cancelled, cancel_job
from portal.jobs.models import Job, Step
from tests.compute.test_engine_patience import failed_creation, look, plant_late
from tests.doubles.hypervisor_state import HypervisorDouble
from tests.engines import Both, the_both
from tests.jobs.conftest import run

OLD = {"version": "4.5.6", "instance": "one"}


@pytest.fixture
def both(db: None, tmp_path: Path) -> Both:
    return the_both(tmp_path)


def upgraded(both: Both, version: str = "2", instance: str = "one") -> None:
    both.double.configure(manager={"version": version, "instance": instance})


def engine(both: Both) -> Provider:
    assert both.engine is not None
    return Provider.objects.get(pk=both.engine.pk)


def accepted(both: Both) -> None:
    accept_version(both.actor("root"), engine(both).pk, look=look_of(engine(both)))


# -- the rule


@pytest.mark.parametrize(
    ("told", "news"),
    [
        ({}, None),
        ({"version": "4.5.7"}, "upgraded"),
        ({"version": "4.4.0"}, "upgraded"),
        ({"instance": "two"}, "rebuilt"),
        ({"version": "4.5.7", "instance": "two"}, "rebuilt"),
        ({"instance": ""}, None),
    ],
)
def test_another_version_is_an_upgrade_and_another_instance_is_another_engine(told: dict[str, str], news: str | None):
    assert news_of(OLD, OLD | told) == news


def test_what_was_not_known_is_accepted_as_it_is_told_first_and_all_where_nobody_has_to_look():
    new = {"version": "4.5.7", "instance": "two"}
    assert accepted_after({}, new, waits=True) == new
    assert accepted_after({"version": "4.5.6", "instance": ""}, new, waits=True) == {
        "version": "4.5.6",
        "instance": "two",
    }
    assert accepted_after(OLD, new, waits=True) == OLD
    assert accepted_after(OLD, new, waits=False) == new


def test_what_was_told_before_there_was_a_choice_is_what_was_accepted(both: Both):
    seed = import_module("portal.hypervisors.migrations.0003_which_instance_was_read").accept_what_was_told
    Provider.objects.update(about={"version": "4.5.6"}, accepted={})
    Provider.objects.filter(pk=both.provider.pk).update(about={"version": "2"}, accepted={"version": "1"})
    seed(apps, None)
    assert Provider.objects.get(pk=both.provider.pk).accepted == {"version": "1"}
    assert engine(both).accepted == {"version": "4.5.6"}


def test_of_what_is_much_all_gets_its_turn_whatever_fails(monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    for minute in range(3):
        monkeypatch.setattr("compute.sync.turns.time.time", lambda at=minute: 60.0 * at)
        seen += range(250)[turn_of(250, most=100)]
    assert sorted(seen) == list(range(250))
    assert turn_of(0, most=100) == slice(0, 100)


def test_a_look_stands_for_the_time_since_which_it_is_so(both: Both):
    seen = look_of(engine(both))
    for version in ("2", "1"):
        upgraded(both, version=version)
        both.read()
    assert engine(both).news is None
    assert look_of(engine(both)) != seen, "it was another one meanwhile"


# -- waiting


def test_a_deletion_waits_on_an_upgraded_engine_until_a_super_admin_has_looked(both: Both):
    """No compare has noticed it: the engine itself is asked before anything is cut off or removed."""
    vm, alice = both.machine(run=False), both.actor("alice")
    upgraded(both)
    job = vms.delete_vm(alice, vm.pk)
    both.double.set_vm(vm.external_id, state="up")  # as somebody did in the engine
    job = look(job, 3)
    step = job.steps.get(name="power_off")
    assert "was upgraded from version 1 to 2" in step.message
    assert "super-admin" in step.message
    assert 20 < (job.not_before - timezone.now()).total_seconds() <= 30
    cancel_job(job.pk)
    assert look(job, 2).status == "aborted"
    assert both.double.calls("stop_vm", "delete_vm", "delete_disk") == []
    assert both.double.things("vm")[vm.external_id]["state"] == "up"

    job = look(vms.delete_vm(alice, vm.pk))
    both.double.configure(halt_seconds=60)
    since = timezone.now() - timedelta(days=3)
    Step.objects.filter(job=job, name="power_off").update(started_at=since, first_tried_at=since)
    for actor, error in ((alice, NotFound), (both.actor("root"), PreconditionFailed)):
        with pytest.raises(error):
            accept_version(actor, engine(both).pk, look="what was seen yesterday")
    assert look(job).steps.get(name="power_off").status == "running"
    accepted(both)
    job = look(job)
    assert "power" in job.steps.get(name="power_off").message, "its own patience counts from now on"
    both.double.configure(halt_seconds=0.0)
    assert run(job).status == "finished", job.error
    assert both.double.things("vm") == both.double.things("disk") == {}
    assert Event.objects.get(code="PROVIDER_ACCEPT_VERSION_DONE").data == {
        "was": "1", "now": "2", "was_instance": "one", "now_instance": "one", "despite_missing": False
    }  # fmt: skip


def test_each_step_of_a_deletion_waits_and_who_waits_too_long_is_told_so(both: Both):
    vm = both.machine(run=False)
    job = look(vms.delete_vm(both.actor("alice"), vm.pk))
    for number, (step, call) in enumerate((("undefine", "delete_vm"), ("delete_disks", "delete_disk")), 2):
        while job.position < job.steps.get(name=step).position:
            job = look(job)
        upgraded(both, version=str(number))
        job = look(job, 2)
        assert job.steps.get(name=step).status == "running"
        assert both.double.calls(call) == []
        assert can_be_cancelled(job) == (call == "delete_vm"), "it only waited before the point of no return"
        if call == "delete_vm":
            accepted(both)
    Step.objects.filter(job=job, name="delete_disks").update(started_at=timezone.now() - timedelta(days=8))
    assert run(job).status == "failed"
    vm.refresh_from_db()
    assert vm.is_absent, "what is left of it is shown, and can be deleted again"


def test_what_undoes_a_creation_does_not_wait_and_what_it_left_over_is_removed_after_the_look(both: Both):
    job = failed_creation(both)
    key = plant_late(both, job)
    upgraded(both)
    _vm, failing = vms.create_vm(both.actor("alice"), both.wish("web-2"))
    both.double.configure(making_fails="Not enough extents.")
    assert run(failing).status == "failed"
    both.double.configure(making_fails="", removing_seconds=0.0)
    both.read()
    assert key in both.double.things("vm")
    Job.objects.filter(pk=job.pk).update(ended_at=timezone.now() - timedelta(days=8))
    seen = timezone.now() - timedelta(minutes=14)
    job.steps.filter(name=STEP).update(output={SEEN_AT: seen.isoformat()})
    both.read()
    assert datetime.fromisoformat(job.steps.get(name=STEP).output[SEEN_AT]) > seen, "the time counts from the look"
    accepted(both)
    both.read()
    assert key not in both.double.things("vm")


def test_a_host_gets_versions_with_its_packages_and_nothing_waits_for_them(both: Both):
    double = HypervisorDouble(both.folder / "hypervisor")
    vm = both.machine(template_uid=both.template.pk, run=False)
    double.configure(manager={"version": "2", "instance": "two"})
    sync_provider(both.provider)
    assert Event.objects.filter(code__in=["PROVIDER_VERSION_CHANGED", "PROVIDER_REBUILT"]).count() == 1
    assert upgrade_of(Provider.objects.get(pk=both.provider.pk)) is None
    assert run(vms.delete_vm(both.actor("alice"), vm.pk)).status == "finished"


# -- the doors


def test_a_super_admin_sees_what_changed_and_what_waits_and_lets_it_go_on(both: Both):
    vm = both.machine(run=False)
    look(vms.delete_vm(both.actor("alice"), vm.pk))
    root, address = Client(), f"/providers/{engine(both).pk}/"
    root.force_login(both.users["root"])
    assert "Let deletions go on" not in root.get(address).content.decode()
    assert root.get(f"/api/v1{address}").json()["upgrade"] is None
    upgraded(both, version="3", instance="two")
    both.read()
    page = root.get(address).content.decode()
    for told in ("built anew (version 1 before, 3 now)", "1 deletion waits", "Let deletions go on"):
        assert told in page
    assert "built anew: deletions wait" in root.get("/providers/").content.decode()
    told = root.get(f"/api/v1{address}").json()["upgrade"]
    shown = {key: told[key] for key in ("news", "was", "now", "waiting_deletions", "missing_machines")}
    assert shown == {"news": "rebuilt", "was": "1", "now": "3", "waiting_deletions": 1, "missing_machines": 0}
    both.double.remove("vm", vm.external_id)
    both.read()
    assert "1 machine of this portal is not found there" in root.get(address).content.decode()
    upgraded(both, version="4", instance="two")
    both.read()

    def accept(look: str) -> Any:
        return root.post(f"/api/v1{address}accept-version/", {"look": look}, content_type="application/json")

    assert accept(told["look"]).status_code == 412
    assert root.post(f"{address}accept-version/", {"look": told["look"]}).status_code == 412
    answer = accept(root.get(f"/api/v1{address}").json()["upgrade"]["look"])
    assert (answer.status_code, answer.json()["upgrade"]) == (200, None)
    upgraded(both, version="5", instance="two")
    both.read()
    assert root.post(f"{address}accept-version/", {"look": look_of(engine(both))}).status_code == 302
    assert engine(both).news is None


# -- built anew


def test_a_machine_is_found_again_by_its_mark_alone_where_no_other_could_be_meant():
    portal, uid, other = uuid4(), uuid4(), uuid4()

    def row(key: str, of: UUID = uid, *, adopted: bool = False) -> Vm:
        return Vm(uid=of, external_id=key, adopted=adopted, name="my-mail")

    def there(key: str, name: str = f"web-{uid.hex[:8]}", of: UUID = portal, put_on: str = "") -> VmFound:
        return VmFound(key, name, Marker(of, uid), VmStatus.DOWN, put_on=put_on)

    def found(rows: list[Vm], *machines: VmFound, known: str = "") -> list[str]:
        return [one.external_id for one in found_again(rows, machines, portal, known={known}).values()]

    assert found([row("old")], there("new")) == ["new"]
    assert found([row("old")], there("new", name="clone-of-web")) == [], "a copy that somebody made by hand"
    assert found([row("old")], there("new", name="clone-of-web"), there("new-2")) == ["new-2"]
    adopted = [row("old", adopted=True)]
    assert found(adopted, there("new", name="my mail")) == ["new"], "by the name that it was adopted under"
    assert found(adopted, there("new", name="mail")) == [], "a copy that somebody made by hand: it was taken once"
    assert found(adopted, there("new", name="my mail"), there("new-2", name="mail-2")) == ["new"]
    assert found(adopted, there("new", name="my mail"), there("new-2", name="my mail")) == []
    assert found([row("old")], there("new"), known="new") == [], "it was there before, as another one"
    for put_on, expected in (("old", ["new"]), ("new", ["new"]), ("other", [])):
        assert found([row("old")], there("new", put_on=put_on)) == expected, "whom the mark names"
    assert found([row("old")], there("old"), there("new")) == [], "it is there"
    assert found([row("old")], there("new", of=other)) == [], "another portal's"
    assert found([row("old"), row("new", other)], there("new")) == [], "another row's"


def test_an_engine_may_be_set_up_anew_piece_by_piece_while_the_portal_looks_on(both: Both):
    """Empty at first, then with everything of the same names under other ids, at last with the machine."""
    vm = both.machine(run=False)
    old_id = "the-first-id"
    both.double.put("vm", old_id, **both.double.things("vm")[vm.external_id])
    both.double.remove("vm", vm.external_id)
    Vm.objects.filter(pk=vm.pk).update(external_id=old_id)
    vm.refresh_from_db()
    both.read()
    before = grants(both)
    kinds = ("zone", "cluster", "host", "storage_domain", "network", "template")
    had = {kind: both.double.things(kind) for kind in kinds}
    machine = both.double.things("vm")[vm.external_id]
    ids = [key for kind in kinds for key in had[kind]] + ["profile-east", "profile-west"]

    def anew(thing: Any) -> Any:
        text = json.dumps(thing)
        for key in ids:
            text = text.replace(f'"{key}"', f'"{key}-anew"')
        return json.loads(text)

    both.double.remove("vm", vm.external_id)
    for kind in kinds:
        for key in had[kind]:
            both.double.remove(kind, key)
    upgraded(both, version="1", instance="two")
    both.read()
    vm.refresh_from_db()
    assert vm.is_absent
    for kind in kinds:
        for key, body in had[kind].items():
            both.double.put(kind, anew(key), **anew(body) | {"name": body["name"]})
        both.read()
    both.double.put("vm", "another-id", **anew(machine))
    both.read()
    assert grants(both) == before
    vm.refresh_from_db()
    assert (vm.external_id, vm.status, vm.cluster.external_id) == ("another-id", "down", "big-anew")
    template = Template.objects.get(external_id="debian-2-anew")
    wish = VmRequest("web-2", both.centers["physics"].pk, template.pk, user_name="ada")
    assert vms.plan_create(both.actor("alice"), wish).reasons == ()
    events = Event.objects.filter(code="PROVIDER_PLACES_FOLLOWED")
    followed = [one for event in events for one in event.data["followed"]]
    assert sum(event.data["count"] for event in events) == len(followed) == upgrade_of(engine(both)).followed
    assert {"kind": "cluster", "name": "big", "was": "big", "now": "big-anew"} in followed

    the_engine_is_the_one_of_before(both, [*kinds], had, vm.external_id, machine)
    job = look(vms.delete_vm(both.actor("alice"), vm.pk))
    assert "What it has is read first" in job.steps.get(name="power_off").message, "whose ids are not its own"
    both.read()
    assert (grants(both), engine(both).news) == (before, None)
    vm.refresh_from_db()
    assert (vm.external_id, vm.status, vm.cluster.external_id) == (old_id, "down", "big")
    assert run(job).status == "finished", job.error
    assert both.double.things("vm") == both.double.things("disk") == {}


def the_engine_is_the_one_of_before(both: Both, kinds: list[str], had: Any, key: str, machine: Any) -> None:
    """Its address was edited back, or its name led elsewhere for a while."""
    both.double.remove("vm", key)
    for kind in kinds:
        for each in both.double.things(kind):
            both.double.remove(kind, each)
        for each, body in had[kind].items():
            both.double.put(kind, each, **body)
    both.double.put("vm", "the-first-id", **machine)
    upgraded(both, version="1", instance="one")


def test_what_is_missing_on_a_new_engine_is_counted_and_deleted_only_when_a_super_admin_says_so_again(both: Both):
    first, second = both.machine("web-1", run=False), both.machine("web-2", run=False)
    both.read()
    bodies = both.double.things("vm")
    both.double.put("vm", "a-copy", **bodies[first.external_id] | {"disks": []})
    both.read()
    job = vms.delete_vm(both.actor("alice"), first.pk)
    for vm in (first, second):
        both.double.remove("vm", vm.external_id)
    upgraded(both, version="2", instance="two")
    look(job)
    with pytest.raises(Conflict, match="not read yet"):
        accepted(both)
    both.read()
    told = upgrade_of(engine(both))
    assert (told.missing, told.held) == (2, 2), (
        "so many at once are not believed to be gone, and are missing all the same"
    )
    root, address = Client(), f"/providers/{engine(both).pk}/"
    root.force_login(both.users["root"])
    assert "2 machines of this portal are not found there" in root.get(address).content.decode()
    answer = root.post(f"/api/v1{address}accept-version/", {"look": told.look}, content_type="application/json")
    assert answer.status_code == 409
    assert (
        answer.json()["reasons"][0] | {"missing": 2, "all": 2, "field": "despite_missing"}
        == answer.json()["reasons"][0]
    )
    first.refresh_from_db()
    assert first.external_id != "a-copy", "it was there before, beside the machine that it is a copy of"

    both.double.put("vm", "another-id", **bodies[second.external_id])
    both.read()
    accepted(both)
    told = upgrade_of(engine(both))
    assert (told.is_accepted, told.missing, told.held) == (True, 1, 0)
    assert "was not found yet" in look(job).steps.get(name="power_off").message
    page = root.get(address).content.decode()
    assert "not of machines that were not found yet" in page
    assert root.post(f"{address}accept-version/", {"look": told.look, "despite_missing": "1"}).status_code == 302
    assert upgrade_of(engine(both)) is None
    assert run(job).status == "finished", job.error
    assert set(both.double.things("vm")) == {"a-copy", "another-id"}


def grants(both: Both) -> list[Any]:
    """What physics may use of the engine, and what its machine is on."""
    physics = both.centers["physics"]
    given = [
        physics.cluster_assignments.values_list("cluster__name", "cluster", "cluster__is_gone"),
        physics.storage_assignments.values_list("storage_domain__name", "storage_domain"),
        physics.template_assignments.values_list("template__name", "template", "template__status"),
        NetworkAssignment.objects.filter(data_center=physics).values_list(
            "network__name", "network", "network__status"
        ),
        Nic.objects.values_list("vm", "vnic_profile", "vnic_profile__is_gone"),
        Vm.objects.values_list("pk", "cluster", "owner"),
    ]
    return [set(rows) for rows in given]
