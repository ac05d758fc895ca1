"""The institute of the flows: a double that other people use too, and what one does there again and again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from django.db.models import Exists, OuterRef

from compute.models import Vm
from compute.services import vms
from compute.services.wishes import VmRequest
from compute.sync.inventory import sync_provider
from portal.jobs.models import Job
from portal.jobs.states import FINAL
from tests.doubles.hypervisor_state import HypervisorDouble, put
from tests.flows.seen import Seen, look_at_double
from tests.jobs.conftest import run
from tests.people import Institute, make_institute
from tests.snapshots import Once


@dataclass
class Site(Institute):
    """An institute whose hypervisor holds things that are not ours; what they were like at first."""

    folder: Path = Path()
    strangers: dict[str, Any] = field(default_factory=dict)

    def look(self) -> Seen:
        """What is on the hypervisor now, seen from outside."""
        raise NotImplementedError

    def wish(self, name: str = "web-1", center: str = "physics", **more: Any) -> VmRequest:
        """A request for a machine, with a user and so with first-boot data."""
        uids = {"data_center_uid": self.centers[center].pk, "template_uid": self.template.pk}
        return VmRequest(name=name, **uids, **{"user_name": "ada"} | more)

    def create(self, name: str = "web-1", who: str = "alice", **more: Any) -> tuple[Vm, Job]:
        """A machine asked for, its job not yet run."""
        return vms.create_vm(self.actor(who), self.wish(name, **more))

    def machine(self, name: str = "web-1", who: str = "alice", **more: Any) -> Vm:
        """A machine that is there."""
        vm, job = self.create(name, who, **more)
        assert run(job).status == "finished", job.error
        vm.refresh_from_db()
        return vm

    def do(self, verb: str, vm: Vm, who: str = "alice") -> Job:
        """A verb asked for, its job not yet run."""
        job: Job = getattr(vms, f"{verb}_vm")(self.actor(who), vm.pk)
        return job


@dataclass
class Place(Site):
    """The same on a double."""

    @property
    def double(self) -> HypervisorDouble:
        """The hypervisor, seen from behind."""
        return HypervisorDouble(self.folder / "hypervisor")

    def look(self) -> Seen:
        return look_at_double(self.double)

    def spare(self, *, running: bool) -> Vm:
        """A machine to use, on or off: the one that others used before, if it is still there."""
        on_it = Job.objects.filter(target_uid=OuterRef("pk")).exclude(status__in=FINAL)
        vm = Vm.objects.filter(~Exists(on_it), name__startswith="spare-", pk__in=self.double.things("vm")).first()
        if vm is None:
            return self.machine(f"spare-{Vm.objects.count()}", run=running)
        self.double.set_vm(str(vm.pk), state="up" if running else "down")
        sync_provider(self.provider)
        vm.refresh_from_db()
        return vm


def make_place(folder: Path) -> Place:
    """The institute of all tests, with strangers on its hypervisor."""
    institute = make_institute(folder)
    place = Place(institute.provider, institute.template, institute.centers, institute.users, folder)
    _settle_strangers(place)
    place.strangers = place.look().strangers
    return place


the_place: Final = Once(make_place)


def _settle_strangers(place: Place) -> None:
    """Somebody's machine without any mark, one of another portal, and their disks and networks beside ours."""
    double, other_portal = place.double, uuid4()
    double.plant_vm("somebody's", state="up")
    theirs = double.plant_vm("web-1", state="up", portal_id=other_portal)
    marker = {"portal_id": str(other_portal), "uid": theirs}
    [domain] = double.things("storage_domain")
    disk = {"marker": marker, "storage_domain": domain, "base": "", "size": 1, "allocated": 1, "sha256": ""}
    network = {"name": "theirs", "cidr": "192.0.2.0/24", "marker": None, "leases": {"52:54:00:00:00:01": "192.0.2.2"}}
    with double.store.change() as db:
        put(db, "disk", f"stegi-{other_portal.hex[:8]}-{theirs}.qcow2", disk)
        put(db, "network", str(uuid4()), network)
