"""Removing disks: each is asked for, waited for while its hypervisor is at it, and told of where that gives up on it."""

from __future__ import annotations

import time

from django.utils.translation import gettext as _

from portal.hypervisors.base import Driver
from portal.hypervisors.errors import NotFound, RemovalFailed
from portal.hypervisors.specs import DiskFound, DiskRef
from portal.jobs.operation import StepContext, Wait

MOST_ASKED = 10
"""So often one removal is asked for where a disk is whole each time it is looked at: made anew by a call that came late, or not
yet taken up."""
ASK_SECONDS = 1.0  # between two times

Asked = list[float]  # as it stands in a job's step: how often, and when last


def remove_disks(ctx: StepContext, driver: Driver, refs: list[DiskRef], *, step: str) -> Wait | None:
    """Within the step of this name, looked at again until they are gone. Raises ``RemovalFailed``.

    Whoever tries again after that asks anew: what kept the hypervisor from it may have been mended.
    """
    asked: dict[str, Asked] = ctx.output(step).get("asked", {})
    try:
        now = {str(ref.uid): _asked(ctx, driver, ref, asked.get(str(ref.uid), [0, 0.0])) for ref in refs}
    except RemovalFailed:
        ctx.remember(asked={})
        raise
    if now != asked:
        ctx.remember(asked=now)
    if any(_seen(driver, ref) is not None for ref in refs):
        return Wait(1.0, _("Waiting for the disks to be gone."))
    return None


def _asked(ctx: StepContext, driver: Driver, ref: DiskRef, before: Asked) -> Asked:
    """How often the removal of a disk was asked for, and when last, once it was asked for where that is needed."""
    times, at = int(before[0]), before[1]
    if times:
        there = _seen(driver, ref)
        if there is None or there.status == "locked":
            return before
        is_old = time.time() >= at + ASK_SECONDS
        if there.status == "illegal" or (is_old and times >= MOST_ASKED):
            raise RemovalFailed(figures={"disk": str(ref.uid)}, detail=f"{there.external_id} is {there.status}")
        if not is_old:
            return before
    driver.delete_disk(ref)
    ctx.fault_point("removed")
    return [times + 1, time.time()]


def _seen(driver: Driver, ref: DiskRef) -> DiskFound | None:
    """A disk that is there still, after ``delete_disk`` was accepted.

    Where its storage domain is gone nobody can look: then that word is the last, and the disk counts as removed.
    """
    try:
        return driver.find_disk(ref)
    except NotFound:
        return None
