"""Ways by which somebody would get more than is his, each tried once and shut since."""

from __future__ import annotations

import pytest

from compute.models import Vm
from compute.services import vms
from compute.sync.inventory import sync_provider
from portal.common.actor import Actor, system_actor
from portal.common.errors import Conflict, QuotaExceeded
from portal.jobs.engine import advance, run_to_end
from tenants import policy, quota
from tenants.models import DataCenter
from tenants.models.quota import Dimension
from tenants.services.jobs import cancel_job
from tests.edge.world import World
from tests.people import Institute


def make_vm(place: Institute, name: str) -> Vm:
    """A machine of alice's that is off."""
    wish = vms.VmRequest(name, place.centers["physics"].pk, place.template.pk, run=False)
    vm, job = vms.create_vm(place.actor("alice"), wish)
    assert run_to_end(job.pk).status == "finished"
    return vm


def vcpus_running(center: DataCenter) -> int:
    return next(row.used for row in quota.usage(center) if row.dimension == "vcpus_running")


def test_INV3_a_run_that_is_cancelled_after_the_start_frees_no_quota_for_a_second(institute):  # noqa: N802
    center, alice = institute.centers["physics"], institute.actor("alice")
    one, two = make_vm(institute, "one"), make_vm(institute, "two")
    quota.set_limits(center, {Dimension.VCPUS_RUNNING: 1})
    job = vms.run_vm(alice, one.pk)
    advance(job.pk)
    with pytest.raises(Conflict):
        cancel_job(alice, job.pk)
    assert run_to_end(job.pk).status == "finished"
    sync_provider(institute.provider)
    with pytest.raises(QuotaExceeded):
        vms.run_vm(alice, two.pk)
    assert vcpus_running(center) == 1


def test_a_run_that_did_not_begin_can_still_be_cancelled(institute):
    alice = institute.actor("alice")
    job = vms.run_vm(alice, make_vm(institute, "one").pk)
    cancel_job(alice, job.pk)
    assert run_to_end(job.pk).status == "aborted"
    sync_provider(institute.provider)
    assert vcpus_running(institute.centers["physics"]) == 0


def test_AZ03_who_was_let_run_a_machine_learns_nothing_of_its_department_and_of_what_else_its_owner_has(institute):  # noqa: N802
    alice, charlie = institute.actor("alice"), institute.actor("charlie")
    one, two = make_vm(institute, "one"), make_vm(institute, "two")
    policy.grant(system_actor(), "user-role", charlie.user, two)
    assert vms.plan_verb(alice, two.pk, "run").quota
    plan = vms.plan_verb(charlie, two.pk, "run")
    assert (plan.quota, plan.reasons) == ((), ())
    quota.set_limits(institute.centers["physics"], {Dimension.VCPUS_RUNNING: 1})
    assert run_to_end(vms.run_vm(alice, one.pk).pk).status == "finished"

    def refused(actor: Actor) -> list[tuple[int, bool]]:
        with pytest.raises(QuotaExceeded) as error:
            vms.run_vm(actor, two.pk)
        told = (*error.value.reasons, *vms.plan_verb(actor, two.pk, "run").reasons)
        return [(reason.data["shortfall"], str(one.pk) in str(reason.data)) for reason in told]

    assert refused(alice) == [(1, True)] * 2
    assert refused(charlie) == [(1, False)] * 2


def events_on_page(world: World, rank: str) -> list[str]:
    answer = world.browser(rank).get(f"/machines/{world.vm.pk}/events/")
    assert answer.status_code == 200
    return [f"{event.code} {event.actor_name}" for event in answer.context["events"]]


def test_INV8_a_strangers_attempts_neither_show_on_a_machines_page_nor_push_out_what_happened(world):  # noqa: N802
    before = events_on_page(world, "owner")
    assert before
    for _ in range(12):
        answer = world.api("outsider").post(f"/api/v1/vms/{world.vm.pk}/stop/", {}, content_type="application/json")
        assert answer.status_code == 404
    assert events_on_page(world, "owner") == before


def test_who_uses_a_machine_without_the_permit_for_its_events_reads_none(world):
    policy.grant(system_actor(), "user-role", world.place.users["bob"], world.vm)
    assert events_on_page(world, "peer") == []
    policy.grant(system_actor(), "user-vm-manager", world.place.users["bob"], world.vm)
    assert events_on_page(world, "peer") != []


def test_a_page_where_a_file_would_be_is_kept_by_no_cache(world):
    answer = world.browser("owner").get("/static/nothing-such.css")
    assert answer.status_code == 404
    assert "csrfmiddlewaretoken" in answer.content.decode()
    assert answer["Cache-Control"] == "no-store"
