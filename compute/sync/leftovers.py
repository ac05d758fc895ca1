"""What came to be after its creation had been undone: a call that nobody waited for any more took effect all the same.

A hypervisor that was frozen may take up a request minutes after its caller gave it up, and nothing tells it not to. So what
a creation would have made is looked for again for a while after it failed. Known by that job's own record: no other thing
is touched, whatever mark it bears.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from compute.models import Vm
from portal.common.actor import system_actor
from portal.events.codes import Outcome, Severity
from portal.events.record import Subject, record
from portal.hypervisors.base import Driver
from portal.hypervisors.connect import driver_for
from portal.hypervisors.errors import HypervisorError, Unavailable
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import DiskRef, VmRef, VmStatus
from portal.jobs.models import Job
from portal.jobs.states import JobStatus

log = logging.getLogger(__name__)

LOOKED_FOR = timedelta(minutes=15)
MOST_AT_ONCE = 200


def remove_leftovers(provider: Provider) -> None:
    """Look for what recently failed creations made after all, and remove it. Raises ``Unavailable``."""
    driver = driver_for(provider)
    for job in _failed_of_late(provider)[:MOST_AT_ONCE]:
        try:
            found = _remove(driver, job)
        except Unavailable:
            raise
        except HypervisorError as error:
            log.warning("what job %s left over could not be removed yet: %s", job.uid, error.detail or error.public)
        else:
            if found:
                _tell(job, found)


def _failed_of_late(provider: Provider) -> QuerySet[Job]:
    return Job.objects.filter(
        operation="compute.create_vm",
        status__in=[JobStatus.FAILED, JobStatus.ABORTED],
        ended_at__gte=timezone.now() - LOOKED_FOR,
        params__provider=str(provider.pk),
    ).exclude(target_uid__in=Vm.objects.values("pk"))


def _remove(driver: Driver, job: Job) -> list[str]:
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
        if driver.capabilities().first_boot_volume:
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
