"""Templates copied on a real libvirt: from a machine that is off and from somebody's volume; the first one boots."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from django.test import Client

from compute.models import StorageDomain, Template, Vm
from portal.hypervisors.connect import driver_for
from portal.jobs.models import Job
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.patience import until
from tests.flows.real_place import RealPlace
from tests.flows.test_real_images import answers, asked, place
from tests.jobs.workers import Workers

__all__ = ["place"]

pytestmark = pytest.mark.django_db(transaction=True)


def digest(place: RealPlace, volume: str) -> str:
    path = place.virsh("vol-path", volume, "--pool", place.pool).strip()
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def finished(workers: Workers, told: dict[str, dict[str, str]]) -> None:
    assert workers.run(told["job"]["id"]) == 0
    job = Job.objects.get(pk=told["job"]["id"])
    assert job.status == "finished", job.error


def test_a_machine_and_a_volume_become_templates_and_stay_as_they_were(
    place: RealPlace, workers: Workers, tiny_linux_image: Path
) -> None:
    root = Client()
    root.force_login(place.users["root"])
    center, domain = str(place.centers["physics"].pk), StorageDomain.objects.get(external_id=place.pool)
    base = {"storage_domain": str(domain.pk), "memory_mib": 192, "memory_min_mib": 128, "accept_unsealed": True}
    base |= {"data_center": center, "has_cloud_init": True, "has_agent": True}
    source = {"name": "source", "data_center": center, "template": str(place.template.pk), "run": False}
    first = asked(root, "vms", source | {"initial_run": {"user_name": "ada"}})
    finished(workers, first)
    vm = Vm.objects.get(pk=first["vm"]["id"])
    disk = f"{place.pool}-{vm.disks.get().pk}.qcow2"
    place.virsh("vol-create-as", place.pool, "golden.qcow2", "1M", "--format", "raw")
    place.virsh("vol-upload", "golden.qcow2", str(tiny_linux_image), "--pool", place.pool)
    place.virsh("pool-refresh", place.pool)
    before = (digest(place, disk), digest(place, "golden.qcow2"), place.virsh("dumpxml", str(vm.pk)))

    of_machine = asked(root, "templates", base | {"name": "Of a machine", "vm": str(vm.pk)})
    finished(workers, of_machine)
    volume = {"storage_domain": str(domain.pk), "name": "golden.qcow2"}
    of_volume = asked(root, "templates", base | {"name": "Of a volume", "volume": volume})
    finished(workers, of_volume)
    assert (digest(place, disk), digest(place, "golden.qcow2"), place.virsh("dumpxml", str(vm.pk))) == before
    assert driver_for(place.provider).disk_sizes((str(vm.pk),)) == {str(vm.pk): vm.disks.get().size_gib * 1024**3}

    for told in (of_machine, of_volume):
        row = Template.objects.get(pk=told["template"]["id"])
        assert (row.status, row.is_sealed) == ("ok", False)
        about = place.virsh("vol-dumpxml", f"{place.pool}-{row.pk}.qcow2", "--pool", place.pool)
        assert "<backingStore>" not in about
        assert "<format type='qcow2'/>" in about
    place.virsh("vol-delete", "golden.qcow2", "--pool", place.pool)
    finished(workers, deleted(root, vm))
    copy = asked(root, "vms", source | {"name": "copy", "template": of_machine["template"]["id"], "run": True})
    finished(workers, copy)
    until(lambda: answers(place, copy["vm"]["id"]), seconds=150)
    assert_nothing_lost(place)


def deleted(client: Client, vm: Vm) -> dict[str, dict[str, str]]:
    return dict(client.delete(f"/api/v1/vms/{vm.pk}/").json())
