"""How each operation is started in the flows, and where it leads: one entry for each, or the suite fails."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compute.models import FoundVm, Image
from compute.services.adoption import Adoption, adopt, unadopt_vm
from compute.services.images import ImageRequest, create_image, receive
from compute.services.launch import launch_data_center
from compute.services.providers import own_storage
from compute.services.readiness import check_readiness
from compute.services.template_copies import CopyRequest, get_offer, template_of_machine, template_of_volume
from compute.services.template_rows import TemplateTraits
from compute.services.templates import NewTemplate, TemplateRequest, delete_template, import_template, make_template
from compute.sync.inventory import sync_provider
from network.services import create_network, free_range
from portal.common.actor import system_actor
from portal.jobs import faults
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from portal.jobs.operation import Operation, all_operations
from tests.compute.image_files import sound
from tests.compute.launches import launch_of
from tests.flows.place import Place

UP = {"up", "powering_up"}


@dataclass(frozen=True)
class Scenario:
    """``start`` prepares an object by a name and asks for the operation; a machine's status then is one of ``leads_to``."""

    start: Callable[[Place, str], Job]
    leads_to: frozenset[str] = frozenset()  # empty: it is not there any more, or is no machine
    finds_faults: bool = False  # a hypervisor that is down is what it is to find, and does not fail it
    uncertain: str = ""  # the code with which it may fail when nobody can know whether it took effect


def _create(place: Place, name: str) -> Job:
    return place.create(name)[1]


def _delete(place: Place, name: str) -> Job:
    return place.do("delete", place.machine(name, run=False))


def _verb(verb: str, *, running: bool) -> Callable[[Place, str], Job]:
    return lambda place, _name: place.do(verb, place.spare(running=running))


def _import(place: Place, name: str) -> Job:
    image = place.folder / "image.qcow2"
    request = TemplateRequest(name, Path(image), own_storage(place.provider), 1, 256, 128)
    return import_template(system_actor(), request)[1]


def _whole_image(place: Place) -> Image:
    """An uploaded image that was inspected."""
    image = _sent_image(place, "whole")
    assert run_to_end(Job.objects.get(target_uid=image.pk).pk).status == "finished"
    return image


def _sent_image(place: Place, name: str) -> Image:
    """One whose last byte has arrived."""
    data, actor = sound(place.folder), place.actor("physics-admin")
    center = place.centers["physics"].pk
    image = create_image(actor, ImageRequest(name, "qcow2", len(data), center, hashlib.sha256(data).hexdigest()))
    return receive(actor, image.pk, data, offset=0)


def _inspect(place: Place, name: str) -> Job:
    return Job.objects.get(target_uid=_sent_image(place, name).pk)


def _make(place: Place, name: str) -> Job:
    image = Image.objects.filter(status="ready").first() or _whole_image(place)
    domain, center = own_storage(place.provider).pk, place.centers["physics"].pk
    wish = NewTemplate(TemplateTraits(name), image.pk, domain, center)
    return make_template(place.actor("physics-admin"), wish)[1]


def _copied(place: Place, name: str) -> CopyRequest:
    domain, center = own_storage(place.provider).pk, place.centers["physics"].pk
    return CopyRequest(TemplateTraits(name), domain, center, accept_unsealed=True)


def _of_machine(place: Place, name: str) -> Job:
    vm = place.spare(running=False)
    return template_of_machine(place.actor("physics-admin"), vm.pk, _copied(place, name))[1]


def _sealed_of_machine(place: Place, name: str) -> Job:
    vm = place.spare(running=False)
    wish = replace(_copied(place, name), accept_unsealed=False, seal=True)
    return template_of_machine(place.actor("physics-admin"), vm.pk, wish)[1]


def _of_volume(place: Place, name: str) -> Job:
    head = sound(place.folder)[: 1 << 16]
    key = place.double.plant_volume(f"{name}.qcow2", head, size=8 << 20)
    place.strangers = place.look().strangers
    domain = own_storage(place.provider).pk
    root = place.actor("root")
    return template_of_volume(root, *get_offer(root, domain, key), _copied(place, name))[1]


def _unmake(place: Place, name: str) -> Job:
    made = _import(place, name)
    assert run_to_end(made.pk).status == "finished"
    return delete_template(system_actor(), made.target_uid)


def _network(place: Place, name: str) -> Job:
    center, provider = place.centers["physics"], place.provider
    return create_network(system_actor(), center, provider=provider, name=name, cidr=free_range(provider))[1]


def _adopt(place: Place, name: str) -> Job:
    key = place.double.plant_vm(name, disk_bytes=5 * 1024**3 + 1)
    place.strangers = place.look().strangers  # as it is now it is to be left
    sync_provider(place.provider)
    found = FoundVm.objects.get(external_id=key)
    wish = Adoption((found.pk,), place.centers["physics"].pk, "alice")
    [(_vm, job)] = adopt(place.actor("root"), wish)
    return job


def _unadopt(place: Place, name: str) -> Job:
    adopted = _adopt(place, name)
    assert run_to_end(adopted.pk).status == "finished"
    return unadopt_vm(place.actor("root"), adopted.target_uid)


def _launch(place: Place, name: str) -> Job:
    return launch_data_center(place.actor("root"), launch_of(place, name))


def _check_readiness(place: Place, _name: str) -> Job:
    return check_readiness(place.actor("root"))


SCENARIOS: dict[str, Scenario] = {
    "compute.create_vm": Scenario(_create, frozenset(UP)),
    "compute.delete_vm": Scenario(_delete),
    "compute.run_vm": Scenario(_verb("run", running=False), frozenset(UP)),
    "compute.stop_vm": Scenario(_verb("stop", running=True), frozenset({"down"})),
    "compute.shut_down_vm": Scenario(_verb("shut_down", running=True), frozenset({"down"})),
    "compute.reboot_vm": Scenario(_verb("reboot", running=True), frozenset(UP), uncertain="reboot_uncertain"),
    "compute.adopt_vm": Scenario(_adopt, frozenset({"down"})),
    "compute.unadopt_vm": Scenario(_unadopt),
    "compute.import_template": Scenario(_import),
    "compute.make_template": Scenario(_make),
    "compute.template_of_machine": Scenario(_of_machine),
    "compute.sealed_template_of_machine": Scenario(_sealed_of_machine),
    "compute.template_of_volume": Scenario(_of_volume),
    "compute.delete_template": Scenario(_unmake),
    "compute.inspect_image": Scenario(_inspect),
    "network.create_network": Scenario(_network),
    "compute.launch_data_center": Scenario(_launch),
    "compute.check_readiness": Scenario(_check_readiness, finds_faults=True),
}


def operations() -> list[type[Operation]]:
    """Every operation of the product; the toys of the engine's tests are named ``toy.``."""
    return [operation for operation in all_operations() if not operation.name.startswith("toy.")]


def undone_operations() -> list[type[Operation]]:
    """Those that undo something when they fail."""
    return [operation for operation in operations() if any(step.undo is not None for step in operation.steps)]


def name_of(value: Any) -> str:
    """What a case is called."""
    return str(value.name.partition(".")[2])


def passed_points(monkeypatch: Any, work: Callable[[], Any]) -> list[str]:
    """The names of the fault points that this process passes meanwhile, each once, in order."""
    found: list[str] = []
    suffer = faults._suffer

    def note(folder: Path, name: str) -> None:
        found.append(name)
        suffer(folder, name)

    with monkeypatch.context() as patch:
        patch.setattr(faults, "_suffer", note)
        work()
    return list(dict.fromkeys(found))
