"""What came to be after its creation had been undone: a call that nobody waited for any more took effect all the same.

A hypervisor that was frozen may take up a request minutes after its caller gave it up, and nothing tells it not to. So what
a creation would have made is looked for again for a while after it failed. Known by that job's own record: no other thing
is touched, whatever mark it bears.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from compute.models import Vm
from compute.sync.turns import turn_of
from portal.common.actor import system_actor
from portal.events.codes import Outcome, Severity
from portal.events.record import Subject, record
from portal.hypervisors.base import Driver
from portal.hypervisors.connect import driver_for
from portal.hypervisors.errors import HypervisorError, Unavailable
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import Capabilities, DiskRef, Inventory, VmFound, VmRef, VmStatus
from portal.jobs.models import Job
from portal.jobs.states import JobStatus

log = logging.getLogger(__name__)

LOOKED_FOR = timedelta(minutes=15)
MOST_AT_ONCE = 50  # jobs that are looked after at one compare; of more, all get their turn in time
# How long after it failed a job is thought of at all: longer than an engine is made at, or waits for a look.
LONGEST_KEPT = timedelta(days=30)
# The step whose output keeps when such a machine was seen: at first, and the last time while it was being made.
STEP, SEEN_AT = "define", "left_seen_at"


def remove_leftovers(
    provider: Provider, inventory: Inventory, able: Capabilities, *, ours: UUID, waits: bool = False
) -> None:
    """Look for what recently failed creations made after all, and remove it. Raises ``Unavailable``.

    Where disks come with their machine, nothing is asked but for machines that the inventory shows. ``ours``: this portal's id.
    ``waits``: nothing may be removed there yet; what is seen is kept in mind.
    """
    driver = driver_for(provider)
    seen = able.templates
    jobs = _seen_there(provider, inventory, ours, waits=waits) if seen else _in_turn(_failed_of_late(provider))
    if waits:
        return
    for job in jobs:
        try:
            found = _remove(driver, job, able)
        except Unavailable:
            raise
        except HypervisorError as error:
            log.warning("what job %s left over could not be removed yet: %s", job.uid, error.detail or error.public)
        else:
            if found:
                _tell(job, found)


def _failed(provider: Provider) -> QuerySet[Job]:
    return Job.objects.filter(
        operation="compute.create_vm",
        status__in=[JobStatus.FAILED, JobStatus.ABORTED],
        params__provider=str(provider.pk),
    ).exclude(target_uid__in=Vm.objects.values("pk"))


def _failed_of_late(provider: Provider) -> QuerySet[Job]:
    return _failed(provider).filter(ended_at__gte=timezone.now() - LOOKED_FOR)


def _in_turn(jobs: QuerySet[Job]) -> list[Job]:
    return list(jobs.order_by("ended_at", "pk")[turn_of(jobs.count(), most=MOST_AT_ONCE)])


# -- where disks come with their machine


def _seen_there(provider: Provider, inventory: Inventory, ours: UUID, *, waits: bool) -> list[Job]:
    """Jobs whose machine is there by its mark and has no row, and those whose machine was seen so: its disks may be left.

    A machine that is still being made, or must not be removed yet (``waits``), is left until then, and the time for it counts
    from then.
    """
    there = {vm.marker.uid: vm for vm in inventory.vms if vm.marker and vm.marker.portal_id == ours and not vm.is_copy}
    strays = sorted(there.keys() - set(Vm.objects.filter(provider=provider).values_list("pk", flat=True)))
    since = timezone.now() - LOOKED_FOR
    late = Q(**{f"steps__output__{SEEN_AT}__gte": since.isoformat()})
    seen = late & Q(steps__name=STEP, ended_at__gte=since - LONGEST_KEPT)
    some = strays[turn_of(len(strays), most=MOST_AT_ONCE)]
    jobs = _in_turn(_failed(provider).filter(Q(target_uid__in=some) | seen).distinct())
    return [job for job in jobs if _is_due(job, there.get(job.target_uid), since, waits=waits)]


def _is_due(job: Job, machine: VmFound | None, since: datetime, *, waits: bool) -> bool:
    step = job.steps.filter(name=STEP).first()
    told = step.output.get(SEEN_AT) if step is not None else None
    last = datetime.fromisoformat(told) if told else job.ended_at
    if step is None or last is None or last < since:
        return False
    is_kept = waits or (machine is not None and machine.status is VmStatus.IMAGE_LOCKED)
    if is_kept or (machine is not None and not told):
        step.output = step.output | {SEEN_AT: timezone.now().isoformat()}
        step.save(update_fields=["output"])
    return not is_kept


# -- removing


def _remove(driver: Driver, job: Job, able: Capabilities) -> list[str]:
    """The kinds of what was found and is gone now."""
    found = []
    machine = driver.find_vm(job.target_uid)
    if machine is not None:
        ref = VmRef(job.target_uid, machine.external_id)
        if machine.status not in {VmStatus.DOWN, VmStatus.SUSPENDED}:
            driver.stop_vm(ref)
        driver.delete_vm(ref)
        found.append("vm")
    for disk in job.params.get("disks", []):
        image = DiskRef(UUID(disk["uid"]), disk["storage_domain"])
        if driver.find_disk(image) is not None:
            driver.delete_disk(image)
            found.append("disk")
        if able.first_boot_volume:
            driver.delete_first_boot(job.target_uid, storage_domain=disk["storage_domain"])
    return found


def _tell(job: Job, found: list[str]) -> None:
    log.warning("what job %s left over was removed: %s", job.uid, ", ".join(found))
    record(
        system_actor(),
        "VM_LEFTOVER_REMOVED",
        outcome=Outcome.NOTED,
        subject=Subject(job.target_kind, job.target_uid, job.target_name, job.data_center_uid),
        correlation_id=job.uid,
        severity=Severity.WARNING,
        data={"found": found},
    )
