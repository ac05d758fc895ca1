"""The contract of drivers: machines made from a template of the provider's own, whose disks come with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from portal.hypervisors.engine_found import MakingState, TemplateFound
from portal.hypervisors.errors import Busy, HypervisorError, NotFound
from portal.hypervisors.specs import DiskFromTemplate, DiskRef, InitialRun, VmSpec, VmStatus
from tests.hypervisors.contract.test_machines import NOWHERE
from tests.hypervisors.contract.things import Things, at_once, eventually

pytestmark = pytest.mark.needs("templates")

INITIAL = InitialRun("web-1", "alice", ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 alice",))


def a_template(things: Things) -> TemplateFound:
    """One with disks, ready to be used."""
    return next(one for one in things.driver.inventory().templates if one.disks and one.status == "ok")


def spec_from(things: Things, template: TemplateFound, **more: Any) -> VmSpec:
    disks = tuple(
        DiskFromTemplate(DiskRef(uuid4(), disk.storage_domains[0]), disk.external_id) for disk in template.disks
    )
    return replace(
        things.vm_spec(nics=(things.nic(things.network()),)),
        template=template.external_id,
        template_disks=disks,
        initial_run=INITIAL,
        **more,
    )


def refs(spec: VmSpec) -> tuple[DiskRef, ...]:
    return tuple(disk.ref for disk in spec.template_disks)


@pytest.mark.parametrize("clone", [False, True], ids=["thin", "whole"])
def test_a_machine_from_a_template_made_twice_is_one_and_has_disks_of_ours(things: Things, clone: bool) -> None:
    template, driver = a_template(things), things.driver
    spec = spec_from(things, template, clone=clone)
    assert things.made(spec) == things.world.driver().create_vm(spec)
    found = things.found(spec.uid)
    assert (found.name, found.status) == (spec.name, VmStatus.DOWN)
    assert (found.memory_mib, found.vcpus) == (spec.memory_mib, spec.vcpus)
    assert found.macs == (spec.nics[0].mac,)
    assert found.cluster == spec.cluster
    disks = [driver.find_disk(ref) for ref in refs(spec)]
    assert [disk and disk.size_bytes for disk in disks] == [disk.size_bytes for disk in template.disks]
    assert found.disks == tuple(disk.external_id for disk in disks if disk)
    assert {disk.ref.uid for disk in driver.our_disks(refs(spec)[0].storage_domain)} == {ref.uid for ref in refs(spec)}


def test_a_machine_from_a_template_made_by_several_at_once_is_one(things: Things) -> None:
    spec = spec_from(things, a_template(things))
    made = at_once(things.world, lambda driver: driver.create_vm(spec))
    assert len({ref.external_id for ref in made}) == 1
    assert things.made(spec) == made[0]
    assert [vm.name for vm in things.driver.inventory().vms].count(spec.name) == 1
    assert len(things.driver.our_disks(refs(spec)[0].storage_domain)) == len(spec.template_disks)


def test_when_it_goes_its_disks_stay_until_they_are_deleted_and_then_nothing_is_left(things: Things) -> None:
    before = things.world.dump()
    spec = spec_from(things, a_template(things))
    ref = things.made(spec)
    with pytest.raises(Busy):
        things.driver.delete_disk(refs(spec)[0])
    things.delete(ref)
    assert all(things.driver.find_disk(disk) for disk in refs(spec))
    for disk in refs(spec):
        things.delete_disk(disk)
    assert things.world.dump() == before


@pytest.mark.parametrize("lacking", [{"template": NOWHERE}, {"cluster": NOWHERE}], ids=["template", "cluster"])
def test_what_it_is_made_from_must_be_there(things: Things, lacking: dict[str, str]) -> None:
    spec = replace(spec_from(things, a_template(things)), **lacking)  # type: ignore[arg-type]
    before = things.world.dump()
    with pytest.raises(NotFound):
        things.driver.create_vm(spec)
    assert things.driver.find_vm(spec.uid) is None
    assert things.world.dump() == before


def test_while_it_is_being_made_it_is_locked_and_asked_for_again_it_is_the_same(things: Things) -> None:
    things.world.make_slowly(seconds=1.5)
    spec = spec_from(things, a_template(things), clone=True)
    ref = things.driver.create_vm(spec)
    assert things.driver.making(ref).state is MakingState.WORKING
    assert things.status(ref) is VmStatus.IMAGE_LOCKED
    [listed] = [vm for vm in things.driver.inventory().vms if vm.external_id == ref.external_id]
    assert listed.status is VmStatus.IMAGE_LOCKED
    for refused in (things.driver.run_vm, things.driver.delete_vm):
        with pytest.raises(Busy):
            refused(ref)
    assert things.driver.create_vm(spec) == ref
    assert things.made(spec) == ref
    things.driver.run_vm(ref)
    things.wait_for(ref, VmStatus.UP)


def test_a_making_that_fails_says_why_and_leaves_nothing(things: Things) -> None:
    before = things.world.dump()
    things.world.fail_next_making()
    spec = spec_from(things, a_template(things))
    ref = things.driver.create_vm(spec)
    eventually(lambda: things.driver.making(ref).state is MakingState.FAILED, "the making to fail")
    assert things.driver.making(ref).why
    assert things.driver.find_vm(spec.uid) is None
    assert [things.driver.find_disk(disk) for disk in refs(spec)] == [None] * len(spec.template_disks)
    assert things.world.dump() == before
    things.driver.delete_vm(ref)
    assert things.made(spec).uid == spec.uid, "the way is free"


def test_one_that_was_never_asked_for_is_not_being_made(things: Things) -> None:
    ref = things.made(spec_from(things, a_template(things)))
    things.delete(ref)
    with pytest.raises(HypervisorError):
        things.driver.run_vm(ref)
