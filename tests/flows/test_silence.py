"""A hypervisor that is away, full or hung: jobs wait for it, say so, and leave nothing when they give up."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from compute.models import ReadinessResult, Vm
from compute.operations.readiness import CheckReadiness
from compute.sync.inventory import sync_provider
from portal.events.models import Event
from portal.hypervisors import connect
from portal.hypervisors.identity import portal_id
from portal.hypervisors.specs import Inventory
from portal.jobs.engine import UNDO_SECONDS, retry_job
from portal.jobs.models import Job
from portal.jobs.operation import Operation
from portal.jobs.states import JobStatus
from portal.jobs.tasks import sweep
from tenants.models import QuotaCharge
from tests.doubles.hypervisor import DoubleDriver
from tests.doubles.hypervisor_state import Fault, put
from tests.flows.doors import Api, Browser
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.patience import run_through, step_on, until
from tests.flows.place import Place
from tests.flows.scenarios import SCENARIOS, name_of, operations
from tests.flows.test_faults import assert_honest
from tests.lab.turns import every_other

pytestmark = [pytest.mark.long, pytest.mark.django_db(transaction=True)]

SILENT = "The hypervisor does not answer."
SILENT_IN_GREEK = "Ο υπερεπόπτης δεν απαντά."


@pytest.fixture(autouse=True)
def _at_once(place: Place) -> None:
    place.double.configure(boot_seconds=0, halt_seconds=0)


def go_away(place: Place, *, after: int = 0) -> None:
    """From the next call but so many on, the hypervisor answers nothing."""
    place.double.fail("*", Fault.GONE, times=-1, after=after)


def until_it_turns(place: Place, job: Job) -> None:
    """The job tries on for as long as it is worth it, and then goes back or ends."""
    for _ in range(100):
        step_on(place, job, later=130)
        if job.status not in {JobStatus.QUEUED, JobStatus.STARTED}:
            return
    raise AssertionError(f"{job} never gave up")


def calls_of(place: Place, operation: type[Operation]) -> int:
    job = SCENARIOS[operation.name].start(place, "counted")
    place.double.forget_calls()
    run_through(place, job)
    return len(place.double.calls())


def broken_by_silence() -> list[type[Operation]]:
    return [operation for operation in operations() if not SCENARIOS[operation.name].finds_faults]


@pytest.mark.parametrize("operation", broken_by_silence(), ids=name_of)
def test_hypervisor_down_at_every_call_ends_the_job_undone_and_honest(
    place: Place, operation: type[Operation], pytestconfig: pytest.Config
):
    for number in every_other(range(calls_of(place, operation)), pytestconfig):
        job = SCENARIOS[operation.name].start(place, f"m-{number}")
        go_away(place, after=number)
        until_it_turns(place, job)
        place.double.heal()
        run_through(place, job)
        assert_honest(job)
        assert job.error["text"] == SILENT
        assert_nothing_lost(place)
    if operation.name == "compute.delete_vm":
        delete_what_is_left(place)


def test_a_look_at_readiness_finds_a_hypervisor_that_is_down_at_every_call(place: Place):
    for number in range(calls_of(place, CheckReadiness)):
        job = SCENARIOS[CheckReadiness.name].start(place, "")
        go_away(place, after=number)
        until_it_turns(place, job)
        assert job.status == JobStatus.FINISHED
        assert ReadinessResult.objects.exclude(code="").exists(), number
        place.double.heal()
        assert_nothing_lost(place)


def delete_what_is_left(place: Place) -> None:
    for vm in list(Vm.objects.all()):
        assert run_through(place, place.do("delete", vm)).status == JobStatus.FINISHED
    assert not QuotaCharge.objects.exists()
    assert_nothing_lost(place)


def begin_to_undo(place: Place) -> tuple[Vm, Job]:
    """A machine whose disk was made when the hypervisor went away for good: it cannot be undone either."""
    vm, job = place.create()
    place.double.fail("create_first_boot", Fault.GONE, times=-1)
    until_it_turns(place, job)
    go_away(place)
    step_on(place, job)
    assert job.status == JobStatus.UNWINDING
    return vm, job


def plain(page: bytes) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page.decode()).split()).replace(" .", ".")


def test_while_an_undo_waits_for_the_hypervisor_every_page_says_so(place: Place):
    vm, job = begin_to_undo(place)
    client = Browser(place, "alice").client()
    places = (f"/machines/{vm.pk}/", f"/jobs/{job.pk}/")

    for path in places:
        told = plain(client.get(path).content)
        assert f"undoing: {SILENT}" in told
        assert "What had been made is being undone; the quota is given back when that is done." in told
        assert f"It is tried again by itself, next at {timezone.localtime(job.not_before):%H:%M:%S}." in told
        greek = plain(client.get(path, headers={"Accept-Language": "el"}).content)
        assert SILENT not in greek
        assert SILENT_IN_GREEK in greek
    assert f"Being undone: Prepare the first boot. {SILENT}" in plain(client.get("/").content)
    shown = Api(place, "alice").get(f"/api/v1/jobs/{job.pk}/").json()
    assert shown["status"] == "unwinding"
    assert shown["next_try_at"] is not None
    assert shown["error"]["text"] == SILENT
    assert QuotaCharge.objects.exists(), "the disk is still there, and costs"


def test_while_a_step_waits_for_the_hypervisor_the_page_counts_the_tries(place: Place):
    vm, job = place.create()
    go_away(place)
    for _ in range(2):
        step_on(place, job, later=1)
    told = plain(Browser(place, "alice").client().get(f"/machines/{vm.pk}/").content)
    assert f"{SILENT} (attempt 2)" in told
    assert "It is tried again by itself, next at" in told
    assert "undone" not in told


def test_an_undo_goes_on_by_itself_soon_after_the_hypervisor_is_back(place: Place):
    _vm, job = begin_to_undo(place)
    for _ in range(10):
        step_on(place, job, later=300)
    assert job.not_before <= timezone.now() + timedelta(seconds=40), "however long it lasted, it is looked for often"

    place.double.heal()
    Job.objects.filter(pk=job.pk).update(
        not_before=timezone.now() - timedelta(minutes=1), changed_at=timezone.now() - timedelta(minutes=1)
    )
    assert sweep() == 1
    run_through(place, job)

    assert job.status == JobStatus.FAILED
    told = plain(Browser(place, "alice").client().get(f"/jobs/{job.pk}/").content)
    assert f"{SILENT} What had been made was undone, and the quota given back." in told
    assert not QuotaCharge.objects.exists()
    assert_nothing_lost(place)


def test_an_undo_that_waited_for_an_hour_is_a_matter_for_an_administrator_who_can_have_it_tried_again(place: Place):
    vm, job = begin_to_undo(place)
    step_on(place, job, later=UNDO_SECONDS + 1)
    assert job.status == JobStatus.STUCK
    client = Browser(place, "alice").client()
    told = plain(client.get(f"/machines/{vm.pk}/").content)
    assert f"{SILENT} Undoing it did not succeed. An administrator must look at it." in told
    assert "It is tried again by itself" not in told
    assert_nothing_lost_but(place, job)

    place.double.heal()
    retry_job(job.pk)
    run_through(place, job)

    assert job.status == JobStatus.FAILED
    assert not QuotaCharge.objects.exists()
    assert_nothing_lost(place)


def assert_nothing_lost_but(place: Place, job: Job) -> None:
    place.double.heal()
    connect.forget(place.provider.uid)
    assert_nothing_lost(place, waiting=[job])


def test_a_failed_deletion_says_what_is_left_and_can_be_asked_for_again(place: Place):
    vm = place.machine(run=False)
    place.double.fail("delete_disk", Fault.REFUSED, times=-1)
    job = run_through(place, place.do("delete", vm))
    told = plain(Browser(place, "alice").client().get(f"/machines/{vm.pk}/").content)
    assert "What is left of the machine still counts in your quota. Delete it again later." in told
    assert "not found on the hypervisor" in told
    assert job.status == JobStatus.FAILED
    assert QuotaCharge.objects.filter(consumer_uid=vm.disks.get().pk).exists()

    place.double.heal()
    delete_what_is_left(place)


# --- no room


def test_tf15_storage_full_at_each_write_of_a_creation_is_told_and_leaves_nothing(place: Place):
    [domain] = place.double.things("storage_domain")
    used = sum(disk["allocated"] for disk in place.double.things("disk").values() if disk["storage_domain"] == domain)
    for number, room in enumerate((0, 196_616, 196_616 + 376_831)):
        place.double.configure(capacity_bytes=used + room)
        job = place.create(f"m-{number}")[1]
        run_through(place, job)
        assert_honest(job)
        assert job.error["code"] == "hypervisor_no_capacity"
        assert job.error["text"] == "The hypervisor has no room left for this."
        assert not Vm.objects.exists()
        assert not QuotaCharge.objects.exists()
        place.double.configure(capacity_bytes=1 << 40)
        assert_nothing_lost(place)
    assert [call.method for call in place.double.calls("create_first_boot")] == ["create_first_boot"] * 2
    place.double.configure(capacity_bytes=used + 196_616 + 376_832)
    assert run_through(place, place.create("fits")[1]).status == JobStatus.FINISHED


def test_tf15_storage_full_while_a_template_is_uploaded_leaves_nothing(place: Place):
    place.double.configure(capacity_bytes=1)
    job = SCENARIOS["compute.import_template"].start(place, "big")
    run_through(place, job)
    assert_honest(job)
    assert job.error["code"] == "hypervisor_no_capacity"
    place.double.configure(capacity_bytes=1 << 40)
    assert_nothing_lost(place)


# --- calls that hang, are given up, and take effect after all


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "CHANGE", 0.3)


def let_go(place: Place) -> None:
    """Whatever hung does now what it was asked for."""
    place.double.heal()
    until(lambda: not [call for call in place.double.calls() if call.outcome == "open"])


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("operation", "method"),
    [("create_vm", "create_disk"), ("create_vm", "create_vm"), ("create_vm", "run_vm"), ("delete_vm", "delete_disk"),
     ("stop_vm", "stop_vm")],
)  # fmt: skip
def test_tf11_a_call_that_hangs_is_given_up_and_its_late_effect_does_no_harm(place: Place, operation: str, method: str):
    job = SCENARIOS[f"compute.{operation}"].start(place, "m-1")
    place.double.fail(method, Fault.HANG)
    assert run_through(place, job).status == JobStatus.FINISHED, job.error
    let_go(place)
    assert_nothing_lost(place)


def undone_with_a_late_call(place: Place, *, step: str, method: str) -> Job:
    """A creation whose call hung, and took effect when its step had been undone already."""
    _vm, job = place.create()
    place.double.fail(method, Fault.HANG)
    place.double.fail(method, Fault.REFUSED)
    while step not in job.error.get("undone", []):
        step_on(place, job)
    let_go(place)
    assert run_through(place, job).status == JobStatus.FAILED, job.error
    return job


def assert_noted(place: Place, job: Job, *kinds: str) -> None:
    """What was removed is told in the audit log; and it is not looked for for ever."""
    noted = Event.objects.filter(code="VM_LEFTOVER_REMOVED", correlation_id=job.pk)
    assert [event.data["found"] for event in noted] == ([list(kinds)] if kinds else [])
    Job.objects.update(ended_at=timezone.now() - timedelta(hours=1))
    place.double.forget_calls()
    assert_nothing_lost(place)
    assert place.double.calls("find_vm", "find_disk") == []


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("step", "method", "noted"),
    [("make_disks", "create_disk", ["disk"]), ("first_boot", "create_first_boot", [])],
)
def test_tf11_what_a_hung_call_makes_after_its_undo_is_removed_by_the_next_compare(
    place: Place, step: str, method: str, noted: list[str]
):
    before = place.look()
    job = undone_with_a_late_call(place, step=step, method=method)
    assert place.look() != before, "the late effect is there"

    assert_nothing_lost(place)

    assert place.look() == before
    assert_noted(place, job, *noted)


@pytest.mark.usefixtures("_impatient")
def test_tf11_a_machine_that_is_defined_after_its_undo_does_not_hold_its_disks(place: Place):
    before = place.look()
    job = undone_with_a_late_call(place, step="define", method="create_vm")
    assert place.look() == before, "the undo of the disks found it"
    assert_nothing_lost(place)
    assert_noted(place, job)


@pytest.mark.usefixtures("_impatient")
def test_tf11_a_hung_definition_makes_nothing_after_the_undo_took_its_disks(place: Place):
    _vm, job = place.create()
    place.double.fail("create_vm", Fault.HANG)
    place.double.fail("create_vm", Fault.REFUSED)
    assert run_through(place, job).status == JobStatus.FAILED
    before = place.look()
    let_go(place)
    assert place.look() == before
    assert_nothing_lost(place)


def test_a_machine_of_a_failed_creation_that_comes_at_the_very_last_is_removed_by_the_next_compare(place: Place):
    before = place.look()
    _vm, job = place.create()
    place.double.fail("create_disk", Fault.REFUSED)
    assert run_through(place, job).status == JobStatus.FAILED
    marker = {"portal_id": str(portal_id()), "uid": str(job.target_uid)}
    machine = {"name": "late", "description": "", "memory_mib": 64, "vcpus": 1, "nics": [], "disks": []}
    with place.double.store.change() as db:
        put(db, "vm", str(job.target_uid), {**machine, "marker": marker, "state": "up", "since": 0})

    assert_nothing_lost(place)

    assert place.look() == before
    assert_noted(place, job, "vm")


def test_what_bears_our_mark_and_no_failed_job_knows_is_not_touched(place: Place):
    vm = place.machine(run=False)
    Job.objects.all().delete()
    Vm.objects.all().delete()
    before = place.look()
    sync_provider(place.provider)
    assert vm.pk in place.look().vms
    assert place.look() == before


def test_a_machine_that_came_up_while_everything_was_read_is_not_taken_for_absent(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    read = DoubleDriver.inventory

    def slow(driver: DoubleDriver, progress: Callable[[], None]) -> Inventory:
        found = read(driver, progress)
        monkeypatch.setattr(DoubleDriver, "inventory", read)
        place.machine()
        connections.close_all()  # a call runs on a thread of its own
        return found

    monkeypatch.setattr(DoubleDriver, "inventory", slow)
    sync_provider(place.provider)
    assert Vm.objects.get().status in {"up", "powering_up"}
    assert_nothing_lost(place)
