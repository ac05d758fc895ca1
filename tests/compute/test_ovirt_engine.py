"""The same over HTTPS: a machine of an oVirt engine's template, asked for by a user, through the driver and the engine double."""

from __future__ import annotations

import time
from typing import Any

import pytest

from compute.models import FoundVm, Template, Vm
from compute.services import adoption, vms
from compute.services.adoption import Adoption
from compute.services.providers import share_out
from compute.services.wishes import VmRequest
from compute.sync.inventory import sync_provider
from portal.common.actor import system_actor
from portal.common.sealed import seal_json
from portal.hypervisors.connect import forget
from portal.hypervisors.models import Provider
from portal.jobs.engine import advance
from portal.jobs.models import Job
from portal.jobs.states import RUNNABLE
from tenants import quota
from tenants.models.quota import Dimension
from tests.doubles.ovirt_engine.control import EngineDouble
from tests.jobs.conftest import hurry
from tests.people import Institute

pytestmark = [pytest.mark.long]


@pytest.fixture
def engine(institute: Institute, ovirt_engine: EngineDouble) -> Any:
    row = Provider.objects.create(
        name="ovirt",
        kind="ovirt",
        address=ovirt_engine.url,
        username=ovirt_engine.username,
        ca_pem=ovirt_engine.ca_pem,
        sealed_secrets=seal_json({"password": ovirt_engine.password}),
    )
    sync_provider(row)
    yield row
    forget(row.pk)


def patiently(job: Job, *, seconds: float = 60.0) -> Job:
    """Run it as a worker would, but without the pauses."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        hurry(job)
        advance(job.pk)
        job.refresh_from_db()
        if job.status not in RUNNABLE:
            return job
        time.sleep(0.05)
    raise AssertionError(list(job.steps.values_list("name", "status", "message")))


@pytest.mark.turns
def test_a_machine_of_an_engine_from_wish_to_end(institute: Institute, engine: Provider):
    physics, alice = institute.centers["physics"], institute.actor("alice")
    template = Template.objects.filter(provider=engine, name="Tiny Linux").latest("version")
    share_out(system_actor(), physics, provider=engine, templates=(template,))
    for clone in (False, True):
        wish = VmRequest("web-1", physics.pk, template.pk, user_name="ada", clone=clone)
        plan = vms.plan_create(alice, wish)
        assert not plan.reasons, plan.reasons
        vm, job = vms.create_vm(alice, wish)
        assert patiently(job).status == "finished", job.error
        vm.refresh_from_db()
        assert vm.status in {"up", "powering_up"}
        for verb in ("stop", "run", "stop", "delete"):
            job = getattr(vms, f"{verb}_vm")(alice, vm.pk)
            assert patiently(job).status == "finished", (verb, job.error)
        assert not Vm.objects.filter(pk=vm.pk).exists()
    assert {each.dimension: each.used for each in quota.usage(physics)}.get(Dimension.STORAGE_GIB, 0) == 0


@pytest.mark.turns
def test_a_machine_made_here_whose_row_was_lost_is_adopted_as_it_was_and_given_back(
    institute: Institute, engine: Provider, ovirt_engine: EngineDouble
):
    """As after a portal's backup was restored that is older than the machine."""
    physics, root = institute.centers["physics"], institute.actor("root")
    template = Template.objects.filter(provider=engine, name="Tiny Linux").latest("version")
    share_out(system_actor(), physics, provider=engine, templates=(template,))
    vm, job = vms.create_vm(
        institute.actor("alice"), VmRequest("web-1", physics.pk, template.pk, user_name="ada", run=False)
    )
    assert patiently(job).status == "finished", job.error
    Vm.objects.filter(pk=vm.pk).delete()
    sync_provider(engine)
    vm_id = FoundVm.objects.get(marked_uid=vm.pk).external_id
    [(again, job)] = adoption.adopt(root, Adoption((FoundVm.objects.get(marked_uid=vm.pk).pk,), physics.pk, "alice"))
    assert patiently(job).status == "finished", job.error
    assert again.pk == vm.pk
    assert vm.pk.hex in ovirt_engine.things("vms")[vm_id]["comment"]
    assert patiently(adoption.unadopt_vm(root, again.pk)).status == "finished"
    assert ovirt_engine.things("vms")[vm_id]["comment"] == ""
