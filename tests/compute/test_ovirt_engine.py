"""The same over HTTPS: a machine of an oVirt engine's template, asked for by a user, through the driver and the engine double."""

from __future__ import annotations

import time
from typing import Any

import pytest

from compute.models import (
    Cluster,
    ClusterAssignment,
    Console,
    FoundVm,
    Host,
    Nic,
    StorageAssignment,
    StorageDomain,
    Template,
    TemplateAssignment,
    Vm,
    Zone,
)
from compute.services import adoption, vms
from compute.services.adoption import Adoption
from compute.services.consoles import console_target
from compute.services.providers import share_out
from compute.services.upgrades import accept_version, look_of
from compute.services.wishes import VmRequest
from compute.sync.inventory import sync_provider
from network.models import Network, NetworkAssignment
from portal.common.actor import system_actor
from portal.common.sealed import seal_json
from portal.events.models import Event
from portal.hypervisors.connect import driver_for, forget
from portal.hypervisors.errors import DisplayRefused
from portal.hypervisors.models import Provider
from portal.hypervisors.ovirt.driver import OvirtDriver
from portal.jobs.engine import advance
from portal.jobs.models import Job
from portal.jobs.states import RUNNABLE
from tenants import quota
from tenants.models import LoginTries
from tenants.models.quota import Dimension
from tests.doubles.ovirt_engine.control import EngineDouble
from tests.doubles.ovirt_engine.institute import key
from tests.jobs.conftest import hurry
from tests.people import Institute

pytestmark = [pytest.mark.long, pytest.mark.turns]


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


def test_IN09_an_engine_that_names_any_place_for_a_screen_leads_the_portal_to_its_hosts_alone(  # noqa: N802
    institute: Institute, engine: Provider, ovirt_engine: EngineDouble, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:6379/0"
    ref = driver_for(engine).adopt_vm(key("vms", "stranger-up"))
    vm = Vm.objects.create(
        uid=ref.uid,
        name="stranger-up",
        data_center=institute.centers["physics"],
        cluster=Cluster.objects.filter(provider=engine).first(),
        provider=engine,
        external_id=ref.external_id,
        status="up",
        memory_mib=1024,
        vcpus=1,
    )
    console = Console(vm=vm, protocol="vnc")
    assert console_target(console).host == "127.0.0.1", "its displays are here, as it is"
    assert Host.objects.get(provider=engine, name="node1").addresses[0] == "node1.institute.example"
    ovirt_engine.configure(display_address="192.0.2.1")
    assert console_target(console).host == "192.0.2.1"

    def refused(address: str, port: int) -> str:
        LoginTries.objects.all().delete()  # some minutes later
        ovirt_engine.configure(display_address=address, display_port=port)
        with pytest.raises(DisplayRefused) as error:
            console_target(console)
        return error.value.code

    for address in ("192.0.2.77", "169.254.169.254", "10.0.0.1"):
        assert refused(address, 5900) == "display_elsewhere"
    assert refused("127.0.0.1", 6379) == "display_elsewhere", "the portal's own broker"
    assert refused("192.0.2.1", 5432) == "display_port"
    monkeypatch.setattr(OvirtDriver, "is_here", lambda _: False)
    assert refused("127.0.0.1", 5900) == "display_elsewhere"
    alarms = Event.objects.filter(code="PROVIDER_DISPLAY_REFUSED", object_uid=engine.pk, severity="alert")
    assert alarms.count() == 6
    assert "169.254.169.254" in " ".join(alarm.data["told"] for alarm in alarms)


@pytest.mark.parametrize("more", [(), ("vms", "disks")], ids=["ids kept", "ids new"])
def test_an_engine_that_was_built_anew_has_the_same_machines_under_the_same_grants_and_quotas(
    institute: Institute, engine: Provider, ovirt_engine: EngineDouble, more: tuple[str, ...]
):
    physics, alice, root = institute.centers["physics"], institute.actor("alice"), institute.actor("root")
    template = Template.objects.filter(provider=engine, name="Tiny Linux").latest("version")
    share_out(system_actor(), physics, provider=engine, templates=(template,))
    made = []
    for number, runs in enumerate((True, False)):
        vm, job = vms.create_vm(alice, VmRequest(f"web-{number}", physics.pk, template.pk, user_name="ada", run=runs))
        assert patiently(job).status == "finished", job.error
        made.append(vm.pk)
    assert patiently(vms.stop_vm(alice, made[0])).status == "finished"  # it has run: its mark names its id
    sync_provider(engine)
    before, used = standing(engine), quota.usage(physics)
    old_ids = set(ovirt_engine.things("vms"))
    ovirt_engine.set_vm(key("vms", "stranger-up"), status="down")

    ovirt_engine.rebuild(*more)
    for _ in range(2):
        sync_provider(engine)
    assert standing(engine) == before, "each row is what it was, under whatever id"
    assert quota.usage(physics) == used
    assert set(ovirt_engine.things("vms")) & old_ids == (set() if more else old_ids)
    assert not FoundVm.objects.filter(marked_uid__in=made).exists()
    assert Vm.objects.filter(pk__in=made, status="down", cluster__is_gone=False).count() == 2
    assert Event.objects.filter(code="PROVIDER_REBUILT").count() == 1
    assert Event.objects.filter(code="VM_FOUND_AGAIN").count() == (2 if more else 0)

    wish = VmRequest("web-9", physics.pk, template.pk, user_name="ada")
    assert not vms.plan_create(alice, wish).reasons
    for verb in (vms.run_vm, vms.stop_vm):
        assert patiently(verb(alice, made[1])).status == "finished"
    deletions = [vms.delete_vm(alice, uid) for uid in made]
    for job in deletions:
        advance(job.pk)
        assert "built anew" in job.steps.get(name="power_off").message
    accept_version(root, engine.pk, look=look_of(Provider.objects.get(pk=engine.pk)))
    for job in deletions:
        assert patiently(job).status == "finished", job.error
    assert {vm["name"] for vm in ovirt_engine.things("vms").values()} == {"stranger-up", "stranger-down"}
    assert not [disk for disk in ovirt_engine.things("disks").values() if disk["alias"].startswith("stegi-")]


def standing(engine: Provider) -> dict[str, Any]:
    """What departments have of an engine, by our own ids: machines, what they were given, and where that is."""
    assigned = {
        model.__name__: set(model.objects.values_list("data_center", name))
        for name, model in (
            ("cluster", ClusterAssignment), ("storage_domain", StorageAssignment), ("template", TemplateAssignment),
            ("network", NetworkAssignment),
        )
    }  # fmt: skip
    rows = {
        model.__name__: set(model.objects.filter(provider=engine).values_list("pk", "name"))
        for model in (Cluster, Zone, Host, StorageDomain, Template, Network)
    }
    machines = set(Vm.objects.filter(provider=engine).values_list("pk", "owner", "cluster", "status"))
    cards = set(Nic.objects.values_list("vm", "vnic_profile", "vnic_profile__is_gone"))
    gone = Cluster.objects.filter(is_gone=True).count(), Network.objects.filter(status="gone").count()
    return assigned | rows | {"Vm": machines, "Nic": cards, "gone": gone}
