"""Machines on the engine double: what it gets asked for, and what becomes of lost answers, copies and names."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from ovirtsdk4.services import VmService

from portal.hypervisors.engine_found import MakingState
from portal.hypervisors.errors import (
    AlreadyExists,
    Busy,
    HypervisorError,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from portal.hypervisors.ovirt.driver import OvirtDriver
from portal.hypervisors.ovirt.marks import alias
from portal.hypervisors.specs import DiskRef, NicSpec, VmRef, VmStatus
from tests.hypervisors.ovirt_driver.replay import PORTAL
from tests.hypervisors.ovirt_driver.world import DOMAIN, PROFILE, RUNNING, STRANGER, Engine

pytestmark = pytest.mark.once
LOST = ["reset_after", "garbled", "truncated"]


def of_name(engine: Engine, name: str) -> list[str]:
    return [uid for uid, vm in engine.double.things("vms").items() if vm["name"] == name]


def test_a_machine_of_a_template_is_made_with_its_disks_and_with_our_cards_alone(
    engine: Engine, driver: OvirtDriver
) -> None:
    engine.double.configure(thin_seconds=1000)
    spec = engine.thin()
    ref = driver.create_vm(spec)
    assert driver.making(ref).state is MakingState.WORKING
    assert engine.status(ref) is VmStatus.IMAGE_LOCKED
    assert driver.create_vm(spec) == ref
    engine.double.advance(1000)
    engine.wait(lambda: driver.making(ref).state is MakingState.DONE)
    found = driver.find_vm(spec.uid)
    assert found is not None
    assert (found.status, found.macs, found.memory_mib, found.vcpus) == (VmStatus.DOWN, (spec.nics[0].mac,), 64, 2)
    disk = driver.find_disk(spec.template_disks[0].ref)
    assert disk is not None
    assert found.disks == (disk.external_id,)
    record = engine.record("vms", ref.external_id)
    assert [card["profile"] for card in record["nics"]] == [PROFILE]
    assert record["initialization"]["user_name"] == "alice"
    assert [vm for vm in driver.inventory().vms if vm.external_id == ref.external_id] == [found]


def test_the_first_start_hands_over_what_cloud_init_needs_and_no_other_does(engine: Engine) -> None:
    ref = engine.made(engine.thin())
    engine.double.fail(
        "/start", "fault", status=409, reason="Operation Failed", detail="[Cannot run VM. Try again later.]"
    )
    started: list[dict[str, bool]] = []
    service = VmService.start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VmService, "start", lambda self, **more: (started.append(more), service(self, **more))[1])
        with pytest.raises(HypervisorError):
            engine.driver.run_vm(ref)
        engine.driver.run_vm(ref)
        assert engine.record("vms", ref.external_id)["comment"].endswith(f"-{ref.external_id[:8]}")
        engine.wait(lambda: engine.status(ref) is VmStatus.UP)
        engine.driver.run_vm(ref)
        for _ in range(2):
            engine.driver.stop_vm(ref)
        engine.driver.run_vm(ref)
    assert [one.get("use_cloud_init", False) for one in started] == [True, True, False]


@pytest.mark.parametrize("lost", LOST)
def test_a_machine_whose_answer_was_lost_is_found_by_its_mark_and_is_one(engine: Engine, lost: str) -> None:
    spec = engine.spec(disks=(engine.disk().ref,), cards=2)
    engine.double.fail("POST /vms$", lost)
    ref = engine.driver.create_vm(spec)
    assert of_name(engine, spec.name) == [ref.external_id]
    found = engine.driver.find_vm(spec.uid)
    assert found is not None
    assert (len(found.macs), len(found.disks)) == (2, 1)


@pytest.mark.parametrize("where", ["diskattachments", "nics"])
def test_a_machine_that_was_made_in_part_is_gone_on_with(engine: Engine, where: str) -> None:
    spec = engine.spec(disks=(engine.disk().ref,), cards=2)
    engine.double.fail(f"POST /vms/.*/{where}", "reset_before")
    with pytest.raises(Unavailable):
        engine.driver.create_vm(spec)
    ref = engine.driver.create_vm(spec)
    assert of_name(engine, spec.name) == [ref.external_id]
    record = engine.record("vms", ref.external_id)
    assert (len(record["nics"]), len(record["attachments"])) == (2, 1)


def test_what_is_refused_leaves_nothing_and_a_name_of_others_is_taken(engine: Engine, driver: OvirtDriver) -> None:
    before = engine.double.things("vms")
    there = NicSpec(uuid4(), engine.record("vms", STRANGER)["nics"][0]["mac"], "", "", PROFILE)
    nowhere = replace(there, mac="52:54:00:00:00:01", profile=str(uuid4()))
    for spec, kind in (
        (engine.spec(name="stranger-down"), AlreadyExists),
        (engine.spec(disks=(DiskRef(uuid4(), DOMAIN),)), NotFound),
        (replace(engine.spec(), nics=(nowhere,)), NotFound),
        (replace(engine.spec(), nics=(there,)), AlreadyExists),
        (replace(engine.spec(), cluster=str(uuid4())), NotFound),
        (replace(engine.spec(), cluster="../vms"), NotFound),
    ):
        with pytest.raises(kind):
            driver.create_vm(spec)
        assert engine.double.things("vms") == before


def test_a_making_that_fails_says_why_in_the_engines_words(engine: Engine, driver: OvirtDriver) -> None:
    engine.double.configure(next_making_fails="The storage went away.")
    ref = driver.create_vm(engine.thin())
    engine.wait(lambda: driver.making(ref).state is MakingState.FAILED)
    assert "The storage went away." in driver.making(ref).why
    assert driver.find_vm(ref.uid) is None


def test_an_engine_that_restarts_meanwhile_goes_on_and_its_forgotten_job_is_no_failure(engine: Engine) -> None:
    engine.double.configure(thin_seconds=1000)
    ref = engine.driver.create_vm(engine.thin())
    engine.double.advance(500)
    engine.wait(lambda: engine.driver.making(ref).percent == 50)
    engine.double.engine_restarts()
    assert engine.driver.making(ref).state is MakingState.WORKING
    assert {vm["status"] for vm in engine.double.things("jobs").values()} >= {"unknown"}
    engine.double.advance(500)
    engine.wait(lambda: engine.driver.making(ref).state is MakingState.DONE)
    engine.double.advance(4000)
    assert engine.driver.making(ref).state is MakingState.DONE, "the job is forgotten"


def test_a_complete_machine_is_ours_whatever_its_name_and_a_copy_is_not(engine: Engine, driver: OvirtDriver) -> None:
    ref = engine.made(engine.spec())
    comment = engine.record("vms", ref.external_id)["comment"]
    engine.double.set_vm(ref.external_id, name="renamed by hand", comment=f"before {comment} after")
    copy = engine.double.plant_vm("a-copy", comment=comment)
    found = driver.find_vm(ref.uid)
    assert found is not None
    assert (found.external_id, found.name, found.is_copy) == (ref.external_id, "renamed by hand", False)
    [copied] = [vm for vm in driver.inventory().vms if vm.external_id == copy]
    assert copied.is_copy
    with pytest.raises(AlreadyExists):
        driver.adopt_vm(copy)
    engine.double.remove("vms", ref.external_id)
    assert driver.find_vm(ref.uid) is None
    with pytest.raises(NotFound):
        driver.run_vm(ref)
    driver.delete_vm(ref)
    assert copy in engine.double.things("vms")


def test_a_machine_that_is_known_is_asked_for_by_its_id_and_else_searched(engine: Engine, driver: OvirtDriver) -> None:
    ref = engine.made(engine.spec())
    engine.calls()
    assert driver.find_vm(ref.uid, ref.external_id)
    assert [call.partition("?")[0] for call in engine.calls()] == [f"GET /vms/{ref.external_id}"]
    assert driver.find_vm(ref.uid)
    assert len(engine.calls("GET /vms?")) == 1
    with pytest.raises(NotFound):
        driver.stop_vm(VmRef(ref.uid, str(uuid4())))


def test_before_it_is_complete_its_name_tells_it_from_a_copy(engine: Engine, driver: OvirtDriver) -> None:
    engine.double.configure(thin_seconds=1000)
    ref = driver.create_vm(engine.thin())
    engine.double.plant_vm("a-copy", comment=engine.record("vms", ref.external_id)["comment"])
    found = driver.find_vm(ref.uid)
    assert found is not None
    assert found.external_id == ref.external_id


@pytest.mark.parametrize("comment", ["made by hand", "", "  two  spaces  "])
def test_an_adopted_machine_obeys_and_is_given_back_as_it_was(
    engine: Engine, driver: OvirtDriver, comment: str
) -> None:
    engine.double.set_vm(STRANGER, comment=comment)
    before = engine.record("vms", STRANGER)
    ref = driver.adopt_vm(STRANGER)
    assert ref == driver.adopt_vm(STRANGER) == VmRef(UUID(STRANGER), STRANGER)
    driver.run_vm(ref)
    driver.stop_vm(ref)
    driver.unadopt_vm(ref)
    driver.unadopt_vm(ref)
    after = engine.record("vms", STRANGER)
    passing = {"start_time", "stop_time", "initialized"}  # it may have been started before it was stopped
    assert {name for name in before if before[name] != after[name]} <= passing
    assert driver.find_vm(ref.uid) is None


def test_a_machine_that_we_made_and_forgot_keeps_its_uid_and_says_where_its_mark_is(
    engine: Engine, driver: OvirtDriver
) -> None:
    for spec in (engine.thin(), engine.spec(cards=0)):
        ref = engine.made(spec)
        assert driver.adopt_vm(ref.external_id) == driver.adopt_vm(ref.external_id) == ref
        comment = engine.record("vms", ref.external_id)["comment"]
        assert comment.endswith(f"-{ref.uid.hex}-{ref.external_id[:8]}")
        assert driver.find_vm(ref.uid) is not None
        driver.unadopt_vm(ref)
        assert engine.record("vms", ref.external_id)["comment"] == ""


def test_power_is_asked_for_once_and_a_lost_answer_is_looked_up(engine: Engine, driver: OvirtDriver) -> None:
    ref = engine.made(engine.spec(disks=(engine.disk().ref,)))
    driver.shut_down_vm(ref)
    with pytest.raises(Busy):
        driver.reboot_vm(ref)
    engine.double.fail("/start", "reset_after")
    with pytest.raises(OutcomeUnknown):
        driver.run_vm(ref)
    driver.run_vm(ref)
    engine.wait(lambda: engine.status(ref) is VmStatus.UP)
    driver.reboot_vm(ref)
    engine.wait(lambda: engine.status(ref) is VmStatus.UP)
    with pytest.raises(Busy):
        driver.delete_vm(ref)
    driver.shut_down_vm(ref)
    driver.shut_down_vm(ref)
    engine.wait(lambda: engine.status(ref) is VmStatus.DOWN)


def test_a_refused_start_is_told_in_the_engines_words_and_names_no_host(engine: Engine, driver: OvirtDriver) -> None:
    ref = engine.made(engine.spec())
    said = "[Cannot run VM. There is no host that satisfies current scheduling constraints., The host node1 did not satisfy it.]"
    engine.double.fail("/start", "fault", status=409, reason="Operation Failed", detail=said)
    with pytest.raises(NoCapacity) as refused:
        driver.run_vm(ref)
    assert refused.value.public == (
        "The engine says: Cannot run VM. There is no host that satisfies current scheduling constraints."
    )


def test_disks_stay_when_a_machine_goes_and_others_disks_too(engine: Engine, driver: OvirtDriver) -> None:
    spec = engine.thin()
    ref = engine.made(spec)
    theirs = engine.record("vms", STRANGER)["attachments"]
    engine.double.set_vm(STRANGER, attachments=[])
    record = engine.record("vms", ref.external_id)
    engine.double.set_vm(ref.external_id, attachments=record["attachments"] + [{**theirs[0], "bootable": False}])
    driver.delete_vm(ref)
    driver.delete_vm(ref)
    assert driver.find_vm(ref.uid) is None
    assert theirs[0]["disk"] in engine.double.things("disks")
    disk = spec.template_disks[0].ref
    for _ in range(2):
        driver.delete_disk(disk)
    engine.wait(lambda: driver.find_disk(disk) is None)
    driver.delete_disk(disk)


def test_what_is_somebody_elses_is_not_found(engine: Engine, driver: OvirtDriver) -> None:
    before = engine.double.things("vms")
    for uid in (STRANGER, RUNNING):
        ref = VmRef(UUID(uid), uid)
        assert driver.find_vm(ref.uid) is None
        driver.delete_vm(ref)
        for verb in (driver.run_vm, driver.stop_vm, driver.shut_down_vm, driver.reboot_vm, driver.addresses):
            with pytest.raises(NotFound):
                verb(ref)
    assert engine.double.things("vms") == before


# -- disks


def test_a_disk_whose_answer_was_lost_is_one_and_one_that_a_machine_has_is_not_deleted(
    engine: Engine, driver: OvirtDriver
) -> None:
    engine.double.fail("POST /disks", "reset_after")
    disk = engine.disk()
    name = alias(PORTAL, disk.ref.uid)
    assert [one["id"] for one in engine.double.things("disks").values() if one["alias"] == name] == [str(disk.ref.uid)]
    assert driver.our_disks(DOMAIN) == (driver.find_disk(disk.ref),)
    engine.made(engine.spec(disks=(disk.ref,)))
    with pytest.raises(Busy):
        driver.delete_disk(disk.ref)
    for ref in (replace(disk.ref, uid=uuid4()), replace(disk.ref, external_id=str(uuid4()))):
        assert driver.find_disk(ref) is None
    with pytest.raises(NotFound):
        driver.find_disk(DiskRef(uuid4(), str(uuid4())))


def test_a_disk_for_which_there_is_no_room_is_refused(engine: Engine) -> None:
    engine.double.fail("POST /disks", "storage_full")
    with pytest.raises(NoCapacity):
        engine.disk()
    engine.double.fail("POST /disks", "503")
    with pytest.raises(Unavailable):
        engine.disk()
    assert engine.driver.our_disks(DOMAIN) == ()


def test_errors_have_no_public_word_of_the_engines_inside(engine: Engine) -> None:
    engine.double.fail("POST /vms$", "500")
    with pytest.raises(HypervisorError) as refused:
        engine.driver.create_vm(engine.spec())
    assert refused.value.public == type(refused.value).default


# -- whose it is, when hands were at work


def test_a_clone_that_was_given_such_a_name_by_hand_is_left_alone(engine: Engine, driver: OvirtDriver) -> None:
    spec = engine.thin()
    ref = engine.made(spec)
    record = engine.record("vms", ref.external_id)
    clone = engine.double.plant_vm(f"test-{record['name']}", comment=record["comment"])
    with pytest.raises(AlreadyExists, match="Several"):
        driver.find_vm(ref.uid)
    found = driver.find_vm(ref.uid, ref.external_id)
    assert found is not None
    assert found.name == spec.name
    driver.delete_vm(ref)
    engine.wait(lambda: driver.find_vm(ref.uid, ref.external_id) is None)
    assert engine.record("vms", clone)["status"] == "down"


def test_one_that_was_renamed_before_its_first_start_is_known_by_its_id(engine: Engine, driver: OvirtDriver) -> None:
    ref = engine.made(engine.thin())
    engine.double.set_vm(ref.external_id, name="renamed")
    assert driver.find_vm(ref.uid) is None
    found = driver.find_vm(ref.uid, ref.external_id)
    assert found is not None
    driver.run_vm(ref)
    engine.wait(lambda: engine.status(ref) is VmStatus.UP)


def test_a_copy_of_a_disk_that_was_made_by_hand_is_left_alone(engine: Engine, driver: OvirtDriver) -> None:
    spec = engine.thin()
    ref = engine.made(spec)
    [(uid, disk)] = driver.making(ref).disks.items()
    assert uid == spec.template_disks[0].ref.uid
    other = engine.double.plant_vm("other")
    copy = engine.record("vms", other)["attachments"][0]["disk"]
    engine.double.put("disks", copy, alias=alias(PORTAL, uid))
    bare, known = spec.template_disks[0].ref, replace(spec.template_disks[0].ref, external_id=disk)
    for doubtful in (driver.find_disk, driver.delete_disk):
        with pytest.raises(AlreadyExists, match="Several"):
            doubtful(bare)
    driver.delete_vm(ref)
    engine.wait(lambda: driver.find_vm(ref.uid, ref.external_id) is None)
    driver.delete_disk(known)
    engine.wait(lambda: driver.find_disk(known) is None)
    assert copy in engine.double.things("disks")


def test_a_disk_that_was_moved_to_another_storage_domain_is_found_and_deleted(
    engine: Engine, driver: OvirtDriver
) -> None:
    spec = engine.thin()
    ref = engine.made(spec)
    [(uid, disk)] = driver.making(ref).disks.items()
    elsewhere = next(key for key in engine.double.things("storagedomains") if key != DOMAIN)
    engine.double.put("disks", disk, storage_domains=[elsewhere])
    known = DiskRef(uid, DOMAIN, disk)
    found = driver.find_disk(known)
    assert found is not None
    assert found.external_id == disk
    driver.delete_vm(ref)
    engine.wait(lambda: driver.find_vm(ref.uid, ref.external_id) is None)
    driver.delete_disk(known)
    engine.wait(lambda: disk not in engine.double.things("disks"))
