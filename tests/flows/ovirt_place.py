"""The institute of the flows on an engine, over HTTPS to its double; looked at from behind the engine."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from compute.models import Template, Vm
from compute.services.providers import connect_provider, share_out
from compute.sync.inventory import sync_provider
from portal.common.actor import system_actor
from portal.hypervisors.identity import portal_id
from portal.jobs.models import Job
from portal.jobs.states import JobStatus
from tenants import policy, quota
from tenants.models.quota import Dimension
from tenants.roles import sync_roles
from tenants.services.data_centers import create_data_center
from tenants.services.users import create_user
from tests.doubles.ovirt_engine.control import EngineDouble
from tests.flows.patience import run_through
from tests.flows.place import Site
from tests.flows.seen import Seen
from tests.people import PASSWORD

# What the engine changes by itself on what is not ours.
PASSING = {"start_time", "stop_time", "actual_size"}
# A creation lasts so long that a worker can die in the midst of it, and the suite does not wait.
FAST = {"thin_seconds": 0.1, "clone_seconds": 0.2, "disk_seconds": 0.05, "remove_seconds": 0.05, "boot_seconds": 0.05,
        "shutdown_seconds": 0.1, "launch_seconds": 0.02, "reboot_seconds": 0.05}  # fmt: skip


@dataclass
class EnginePlace(Site):
    """The same on an engine, beside what others have there."""

    engine: EngineDouble | None = None

    @property
    def double(self) -> EngineDouble:
        """The engine, seen from behind."""
        assert self.engine is not None
        return self.engine

    def finish(self, job: Job) -> None:
        """The job is run, and ends well."""
        assert run_through(self, job, later=0.5).status == JobStatus.FINISHED, self.told(job)

    def told(self, job: Job) -> str:
        """For the message of a failure: what the job says, and the last that the engine was asked."""
        return last_calls(self.double, job)

    def spare(self, *, running: bool) -> Vm:
        """One machine to use again and again, on or off."""
        vm = Vm.objects.filter(name="spare").first()
        if vm is None:
            vm, job = self.create("spare")
            self.finish(job)
            vm.refresh_from_db()
        self.double.set_vm(vm.external_id, status="up" if running else "down")
        sync_provider(self.provider)
        vm.refresh_from_db()
        return vm

    def look(self) -> Seen:
        seen, ours = Seen(), portal_id().hex
        for key, body in self.double.things("vms").items():
            mark = re.search(rf"stegi-{ours}-([0-9a-f]{{32}})", body["comment"])
            seen.names.append(body["name"])
            if mark is None:
                seen.strangers[f"vm {key}"] = _lasting(body)
                continue
            seen.vms.append(UUID(mark[1]))
            seen.macs += [nic["mac"] for nic in body["nics"]]
        for key, body in self.double.things("disks").items():
            alias = re.fullmatch(rf"stegi-{ours[:8]}-([0-9a-f-]{{36}})", body["alias"])
            if alias:
                seen.disks.append(UUID(alias[1]))
            else:
                seen.strangers[f"disk {key}"] = _lasting(body)
        return seen

    def running(self) -> set[UUID]:
        """Ours that run, as the engine's hosts have it."""
        found = self.double.things("vms").values()
        marks = [re.search(r"stegi-[0-9a-f]{32}-([0-9a-f]{32})", one["comment"]) for one in found if one["host"]]
        return {UUID(mark[1]) for mark in marks if mark}


def _lasting(body: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in body.items() if name not in PASSING}, sort_keys=True)


def make_engine_place(folder: Path, engine: EngineDouble) -> EnginePlace:
    """Physics with alice, on the engine's main cluster, its storage and networks, and its newest Tiny Linux."""
    engine.configure(**FAST)
    actor = system_actor()
    sync_roles()
    provider = connect_provider(
        actor,
        name="engine",
        kind="ovirt",
        address=engine.url,
        username=engine.username,
        ca_pem=engine.ca_pem,
        secrets={"password": engine.password},
    )
    template = Template.objects.filter(provider=provider, name="Tiny Linux").latest("version")
    place = EnginePlace(provider, template, folder=folder, engine=engine)
    center = place.centers["physics"] = create_data_center(actor, name="physics")
    share_out(actor, center, provider=provider, templates=(template,))
    quota.set_limits(center, {Dimension.MACHINES: 100})
    for name, role, scope in (
        ("alice", "end-user", center),
        ("physics-admin", "data-center-admin", center),
        ("root", "super-admin", policy.system()),
    ):
        user = place.users[name] = create_user(actor, username=name, password=PASSWORD)
        policy.grant(actor, role, user, scope)
    place.strangers = place.look().strangers
    assert len(place.strangers) >= 3
    return place


def last_calls(engine: EngineDouble, job: Job) -> str:
    """For the message of a failure: what the job says, and the last that the engine was asked."""
    return "\n".join([str(job.error), *engine.calls()[-15:]])
