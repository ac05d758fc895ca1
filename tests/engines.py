"""The institute of all tests with an engine beside its libvirt host, which physics may use too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from compute.models import Template, Vm
from compute.services import vms
from compute.services.providers import connect_provider, share_out
from compute.services.wishes import VmRequest
from compute.sync.inventory import sync_provider
from portal.common.actor import system_actor
from portal.hypervisors.models import Provider
from tests.doubles.engine import EngineDouble
from tests.jobs.conftest import run
from tests.people import Institute, make_institute
from tests.snapshots import Once


@dataclass
class Both(Institute):
    """The institute of all tests, with an engine that physics may use too."""

    engine: Provider | None = None
    folder: Path = Path()

    @property
    def double(self) -> EngineDouble:
        return EngineDouble(self.folder / "engine")

    @property
    def debian(self) -> Template:
        return Template.objects.get(external_id="debian-2")

    def wish(self, name: str = "web-1", **more: Any) -> VmRequest:
        uids = {"data_center_uid": self.centers["physics"].pk, "template_uid": self.debian.pk}
        return VmRequest(**{"name": name, "user_name": "ada"} | uids | more)

    def machine(self, name: str = "web-1", **more: Any) -> Vm:
        vm, job = vms.create_vm(self.actor("alice"), self.wish(name, **more))
        assert run(job).status == "finished", job.error
        vm.refresh_from_db()
        return vm

    def read(self) -> None:
        sync_provider(self.engine)

    def why_not(self, **more: Any) -> list[str]:
        return [reason.code for reason in vms.plan_create(self.actor("alice"), self.wish(**more)).reasons]


def make_both(folder: Path) -> Both:
    institute = make_institute(folder)
    place = Both(institute.provider, institute.template, institute.centers, institute.users, folder=folder)
    place.double.furnish()
    place.double.configure(making_seconds=0.0, removing_seconds=0.0, boot_seconds=0.0, halt_seconds=0.0)
    place.engine = connect_provider(system_actor(), name="engine", kind="engine", address=f"double://{folder}/engine")
    share_out(system_actor(), place.centers["physics"], provider=place.engine, templates=(place.debian,))
    return place


the_both: Final = Once(make_both)
