"""A machine moves to another department (AZ16): quota, roles, log and consoles follow in one transaction, or nothing does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from compute import selectors
from compute.models import FoundVm, StorageAssignment, Template, Vm
from compute.models.grants import VmGroupGrant, VmUserGrant
from compute.services import adoption, moves, vms
from compute.services.adoption import Adoption
from compute.services.consoles import ConsoleRequest, Traffic, check_console, open_console
from compute.services.moves import Move
from compute.services.recount import recount
from compute.services.wishes import VmRequest
from compute.sync.inventory import sync_provider
from compute.sync.vms import observe
from portal.common.access import access_version
from portal.common.actor import Bounds, system_actor
from portal.common.errors import Busy, Conflict, Invalid, NotFound, NotPermitted, QuotaExceeded
from portal.events.models import Event
from portal.hypervisors.specs import VmFound, VmStatus
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import policy, quota
from tenants.models import DataCenter, QuotaCharge
from tenants.models.quota import Dimension
from tenants.selectors import events
from tenants.services.grants import grant_role
from tests.doubles.hypervisor_state import HypervisorDouble
from tests.people import Institute


@pytest.fixture
def place(institute: Institute) -> Institute:
    return institute


def machine(place: Institute, name: str = "web", person: str = "alice", center: str = "physics", **more: Any) -> Vm:
    wish = {"vnic_profile_uids": ()} | more
    request = VmRequest(name, place.centers[center].pk, place.template.pk, **wish)
    vm, job = vms.create_vm(place.actor(person), request)
    assert run_to_end(job.pk).status == "finished"
    return Vm.objects.get(pk=vm.pk)


def to(place: Institute, owner: str = "", center: str = "informatics") -> Move:
    return Move(place.centers[center].pk, owner)


def used(place: Institute, center: str, person: str = "") -> dict[str, int]:
    whose = place.users[person].pk if person else None
    rows = quota.usage(place.centers[center], whose)
    return {row.dimension: row.used for row in rows if row.subject == ("user" if person else "data_center")}


def codes(place: Institute, person: str) -> set[str]:
    return set(events(place.actor(person)).exclude(actor_uid=place.users[person].pk).values_list("code", flat=True))


def holders(vm: Vm) -> set[tuple[str, str]]:
    own = VmUserGrant.objects.filter(content_object=vm).values_list("user__username", "permission__codename")
    groups = VmGroupGrant.objects.filter(content_object=vm).values_list("group__name", "permission__codename")
    return {(name, code.removeprefix("role_")) for name, code in (*own, *groups)}


def history_for(place: Institute, person: str, vm: Vm) -> Any:
    actor, now = place.actor(person), Vm.objects.get(pk=vm.pk)
    return selectors.events_of(actor, now, selectors.permits_of(actor, now))


def everything(vm: Vm) -> list[Any]:
    """What a move changes."""
    rows = [Vm.objects.filter(pk=vm.pk), VmUserGrant.objects, QuotaCharge.objects.order_by("consumer_uid", "dimension")]
    return [list(found.values()) for found in rows]


@pytest.mark.long
def test_AZ16_a_moved_machine_takes_quota_roles_log_and_consoles_along(place):  # noqa: N802
    vm, root = machine(place), place.actor("root")
    double = HypervisorDouble(Path(place.provider.address.removeprefix("double://")))
    there = double.things("vm")
    team = Group.objects.create(name="team")
    for subject in (place.users["bob"], place.users["charlie"], team):
        policy.grant(system_actor(), "user-role", subject, vm)
    console = open_console(place.actor("alice"), vm.pk, ConsoleRequest()).console
    versions = {name: access_version(place.users[name].pk) for name in ("alice", "bob", "physics-admin", "charlie")}
    took = used(place, "physics")
    assert check_console(console.pk, traffic=Traffic()) is None

    moves.move_vm(root, vm.pk, to(place, "charlie"))

    ending = check_console(console.pk, traffic=Traffic())
    assert ending is not None
    assert (ending.code, ending.reason) == (4403, "not_permitted")
    assert all(access_version(place.users[name].pk) > before for name, before in versions.items()), "sockets ask anew"
    for name in ("alice", "bob", "physics-admin"):
        client = Client()
        client.force_login(place.users[name])
        for path in (f"/api/v1/vms/{vm.pk}/", f"/api/v1/vms/{vm.pk}/events/", f"/machines/{vm.pk}/"):
            assert client.get(path).status_code == HTTPStatus.NOT_FOUND, (name, path)
    assert holders(vm) == {("charlie", "user-vm-manager"), ("charlie", "user-role")}, "what is of the new place stays"
    assert selectors.get_vm(place.actor("informatics-admin"), vm.pk).owner == place.users["charlie"]

    assert took[Dimension.STORAGE_GIB] > 0
    assert used(place, "informatics") == used(place, "informatics", "charlie") == took
    assert set(used(place, "physics").values()) | set(used(place, "physics", "alice").values()) == {0}
    assert all(recount(root, center).agrees for center in place.centers.values())

    assert {"VM_CREATED", "VM_LEAVE_DONE"} <= codes(place, "physics-admin"), "what happened there stays in its log"
    assert "VM_MOVE_DONE" not in codes(place, "physics-admin")
    assert {"VM_MOVE_DONE"} == {code for code in codes(place, "informatics-admin") if code.startswith("VM_")}
    history = history_for(place, "informatics-admin", vm)
    assert {"VM_CREATED", "VM_LEAVE_DONE", "VM_MOVE_DONE"} <= set(history.values_list("code", flat=True))
    left = Event.objects.get(code="VM_LEAVE_DONE")
    assert {one["role"] for one in left.data["ended"]} == {"user-vm-manager", "user-role"}
    assert str(place.centers["informatics"].pk) not in str(left.data), "where it went is not that log's to tell"

    assert double.things("vm") == there, "nothing is touched on its hypervisor"
    assert run_to_end(vms.stop_vm(place.actor("charlie"), vm.pk).pk).status == "finished"
    assert run_to_end(vms.delete_vm(place.actor("charlie"), vm.pk).pk).status == "finished"
    assert not QuotaCharge.objects.filter(user_uid=place.users["charlie"].pk).exists()


def test_AZ16_it_all_follows_or_nothing_does(place, monkeypatch):  # noqa: N802
    vm = machine(place)
    policy.grant(system_actor(), "user-role", place.users["bob"], vm)
    before = everything(vm)

    def fails(*_who: Any) -> None:
        raise Conflict("late")

    monkeypatch.setattr(moves, "give_to_owner", fails)
    with pytest.raises(Conflict, match="late"):
        moves.move_vm(place.actor("root"), vm.pk, to(place, "charlie"))
    assert everything(vm) == before
    assert not Event.objects.filter(code__in=("VM_MOVE_DONE", "VM_LEAVE_DONE")).exists()


def test_only_who_runs_the_whole_institute_moves_machines(place):
    vm = machine(place)
    policy.grant(system_actor(), "data-center-admin", place.users["physics-admin"], place.centers["informatics"])
    for person, refusal in (("alice", NotPermitted), ("physics-admin", NotPermitted), ("charlie", NotFound)):
        for act in (moves.plan_move, moves.move_vm):
            with pytest.raises(refusal):
                act(place.actor(person), vm.pk, to(place))
    bounded = place.actor("root", bounds=Bounds(objects=frozenset({vm.pk, place.centers["physics"].pk})))
    with pytest.raises(NotPermitted):
        moves.move_vm(bounded, vm.pk, to(place))
    assert Vm.objects.get().data_center == place.centers["physics"]


def test_what_the_other_data_center_may_not_use_is_named_with_what_helps(place):
    vm, center = machine(place, vnic_profile_uids=None), place.centers["informatics"]
    center.cluster_assignments.all().delete()
    StorageAssignment.objects.filter(data_center=center).delete()
    with pytest.raises(Conflict) as refused:
        moves.move_vm(place.actor("root"), vm.pk, to(place))
    texts = {reason.code: reason.text for reason in refused.value.reasons}
    assert texts.keys() == {"cluster_not_assigned", "storage_not_assigned", "network_not_assigned"}
    assert (
        f"cluster {vm.cluster}, which is not assigned to informatics. Assign it there first."
        in texts["cluster_not_assigned"]
    )
    assert "network physics, which is a data center's own" in texts["network_not_assigned"]
    told = Event.objects.get(code="VM_MOVE_REFUSED")
    assert told.data_center_uid is None, "in the log of neither department, for it tells of both"


def test_nothing_comes_into_a_data_center_that_is_disabled(place):
    vm, root = machine(place, run=False), place.actor("root")
    DataCenter.objects.filter(name="informatics").update(enabled=False)
    with pytest.raises(Conflict, match=r"informatics is disabled\. Enable it first") as refused:
        moves.move_vm(root, vm.pk, to(place))
    assert [(one.code, one.field) for one in refused.value.reasons] == [("data_center_disabled", "data_center")]
    assert moves.plan_move(root, vm.pk, to(place)).reasons == refused.value.reasons


def test_over_the_quota_there_is_refused_with_figures_of_all_its_limits(place):
    vm, center = machine(place), place.centers["informatics"]
    quota.set_limits(center, {Dimension.MACHINES: 0, Dimension.STORAGE_GIB: 0})
    quota.set_limits(center, {Dimension.MACHINES: 0}, user_uid=place.users["charlie"].pk)
    before = everything(vm)
    with pytest.raises(QuotaExceeded) as refused:
        moves.move_vm(place.actor("root"), vm.pk, to(place, "charlie"))
    assert len(refused.value.reasons) == 3
    assert "informatics: limit 0, in use 0, asked for 1, 1 over. Raise it first" in refused.value.detail
    assert "the share of charlie: limit 0" in refused.value.detail
    assert everything(vm) == before
    plan = moves.plan_move(place.actor("root"), vm.pk, to(place, "charlie"))
    assert plan.reasons == refused.value.reasons
    assert {row.after for row in plan.released} == {0}


def test_a_job_at_work_on_it_is_named_and_a_wish_that_means_nothing_names_its_field(place):
    vm, root = machine(place), place.actor("root")
    for wish, field, kind in (
        (to(place, center="physics"), "data_center", Conflict),
        (Move(vm.pk), "data_center", Invalid),
        (to(place, "nobody"), "owner", Invalid),
    ):
        with pytest.raises(kind) as refused:
            moves.move_vm(root, vm.pk, wish)
        assert [reason.field for reason in refused.value.reasons] == [field]
    job = vms.stop_vm(place.actor("alice"), vm.pk)
    with pytest.raises(Busy, match="Stop") as busy:
        moves.move_vm(root, vm.pk, to(place))
    assert busy.value.data["job"]["id"] == str(job.pk)
    [reason] = moves.plan_move(root, vm.pk, to(place)).reasons
    assert (reason.code, reason.data["job"]["id"]) == ("busy", str(job.pk))


def test_an_adopted_machine_moves_with_what_its_disks_promise_and_gets_a_free_name(place):
    double, root = HypervisorDouble(Path(place.provider.address.removeprefix("double://"))), place.actor("root")
    double.plant_vm("web", state="down")
    sync_provider(place.provider)
    [(vm, job)] = adoption.adopt(root, Adoption((FoundVm.objects.get().pk,), place.centers["physics"].pk, "alice"))
    run_to_end(job.pk)
    machine(place, person="charlie", center="informatics", run=False)
    took, before = used(place, "physics"), used(place, "informatics")
    with pytest.raises(Conflict, match="the portal cannot tell") as refused:
        moves.move_vm(root, vm.pk, to(place))
    assert [(one.code, one.field) for one in refused.value.reasons] == [("place_not_told", "despite_unknown")]
    moved = moves.move_vm(root, vm.pk, replace(to(place), despite_unknown=True))
    assert (moved.name, moved.owner, holders(moved)) == ("web-2", None, set())
    after = used(place, "informatics")
    assert {name: after[name] - before.get(name, 0) for name in took if took[name]} == {
        n: a for n, a in took.items() if a
    }
    assert run_to_end(adoption.unadopt_vm(root, vm.pk).pk).status == "finished"


def test_whoever_read_it_before_it_moved_charges_and_starts_nothing_in_its_old_place(place):
    vm = machine(place, run=False)
    old = Vm.objects.select_related("data_center").get(pk=vm.pk)
    moves.move_vm(place.actor("root"), vm.pk, to(place, "charlie"))
    with pytest.raises(Conflict, match="in this very moment"):
        vms.refuse_moved(old)
    observe(old, VmFound(vm.external_id, "web", None, VmStatus.UP))
    charges = QuotaCharge.objects.filter(consumer_uid=vm.pk)
    assert {row.data_center_id for row in charges} == {place.centers["informatics"].pk}
    assert {row.user_uid for row in charges} == {place.users["charlie"].pk}


def test_whoever_is_of_both_departments_keeps_what_he_was_given_and_not_what_he_had_as_owner(place):
    vm, team = machine(place), Group.objects.create(name="team")
    policy.grant(system_actor(), "end-user", team, place.centers["informatics"])
    place.users["alice"].groups.add(team)
    for subject in (place.users["alice"], team):
        policy.grant(system_actor(), "user-role", subject, vm)
    plan = moves.plan_move(place.actor("root"), vm.pk, to(place))
    assert [(share.name, share.role) for share in plan.ending] == [("alice", "user-vm-manager")]
    moves.move_vm(place.actor("root"), vm.pk, to(place))
    assert holders(vm) == {("alice", "user-role"), ("team", "user-role")}


def test_the_new_department_reads_what_was_done_and_nothing_of_quota_and_people_in_the_old_one(place):
    vm, physics = machine(place, run=False), place.centers["physics"]
    grant_role(place.actor("alice"), "user-role", Group.objects.create(name="friends"), vm)
    quota.set_limits(physics, {Dimension.VCPUS_RUNNING: 0})
    with pytest.raises(QuotaExceeded):
        vms.run_vm(place.actor("alice"), vm.pk)
    moves.move_vm(place.actor("root"), vm.pk, to(place, "charlie"))
    with pytest.raises(Conflict):
        vms.shut_down_vm(place.actor("charlie"), vm.pk)

    history = {event.code: event for event in history_for(place, "informatics-admin", vm)}
    assert {"VM_CREATED", "GRANT_DONE", "VM_LEAVE_DONE", "VM_MOVE_DONE", "VM_SHUT_DOWN_REFUSED"} <= history.keys()
    assert "VM_RUN_REFUSED" not in history
    assert history["VM_SHUT_DOWN_REFUSED"].message, "its own refusals it reads whole"
    for code in ("VM_CREATED", "GRANT_DONE", "VM_LEAVE_DONE"):
        assert (history[code].message, history[code].data) == ("", {}), code
    client = Client()
    client.force_login(place.users["informatics-admin"])
    for path in (f"/api/v1/vms/{vm.pk}/events/", f"/machines/{vm.pk}/events/"):
        answer = client.get(path)
        assert answer.status_code == HTTPStatus.OK
        assert not any(word in answer.content.decode() for word in ("friends", "top_consumers", "shortfall")), path
    assert_jobs_are_told_in_short(place, vm)
    whole = {event.code: event for event in history_for(place, "root", vm)}
    assert whole["GRANT_DONE"].data["group"] == "friends"
    assert whole["VM_RUN_REFUSED"].data["reasons"]


def assert_jobs_are_told_in_short(place: Institute, vm: Vm) -> None:
    """What job was done when, and nothing that it says: its page, its steps and its error are the old department's."""
    job = Job.objects.get(target_uid=vm.pk)
    Job.objects.filter(pk=job.pk).update(error={"code": "x", "text": "secret place"})
    job.steps.update(message="secret place")
    for name, may in (("informatics-admin", False), ("charlie", False), ("physics-admin", True), ("root", True)):
        client = Client()
        client.force_login(place.users[name])
        tab = client.get(f"/machines/{vm.pk}/jobs/")
        assert ("Create machine" in tab.content.decode()) is (name != "physics-admin"), name
        assert "secret place" not in tab.content.decode()
        if name != "physics-admin":
            overview = client.get(f"/machines/{vm.pk}/").content.decode()
            assert ("Create machine" in overview, "secret place" in overview) == (True, may), name
            assert (f"/jobs/{job.pk}/" in overview) is may, name
        for path in (f"/jobs/{job.pk}/", f"/api/v1/jobs/{job.pk}/"):
            answer = client.get(path)
            assert answer.status_code == (HTTPStatus.OK if may else HTTPStatus.NOT_FOUND), (name, path)


def test_shares_that_ended_before_name_nobody_of_the_old_department_in_the_new_one(place):
    vm, past = machine(place, run=False), timezone.now() - timedelta(hours=1)
    friends = Group.objects.create(name="friends")
    for subject in (place.users["bob"], place.users["charlie"], friends):
        policy.grant(system_actor(), "user-role", subject, vm, expires_at=past)
    plan = moves.plan_move(place.actor("root"), vm.pk, to(place))
    assert [share.name for share in plan.ending] == ["alice"]
    moves.move_vm(place.actor("root"), vm.pk, to(place))
    assert holders(vm) == {("charlie", "user-role")}


def test_who_read_a_machine_before_it_moved_gives_no_role_on_it_where_it_is_now(place):
    old = machine(place, run=False)
    moves.move_vm(place.actor("root"), old.pk, to(place))
    assert old.data_center == place.centers["physics"], "as it was read"
    with pytest.raises(NotFound):
        grant_role(place.actor("physics-admin"), "user-role", place.users["bob"], old)
    assert holders(old) == set()


def test_AZ16_a_moved_machine_names_no_template_of_the_department_it_left(place):  # noqa: N802
    vm = machine(place, "web-moved")
    Template.objects.filter(pk=vm.template_id).update(owner=place.centers["physics"], name="of-physics-alone")
    moves.move_vm(place.actor("root"), vm.pk, to(place, "charlie"))
    client = Client()
    client.force_login(place.users["charlie"])
    pages = [client.get(path).content.decode() for path in ("/", f"/machines/{vm.pk}/")]
    assert ["web-moved" in page and "of-physics-alone" not in page for page in pages] == [True, True]
    assert client.get(f"/api/v1/vms/{vm.pk}/").json()["template"] is None
