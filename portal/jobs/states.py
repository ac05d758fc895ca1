"""The states of a job and of a step, and which follow which. Pure."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class JobStatus(TextChoices):
    """``queued -> started -> finished``; on failure ``unwinding -> failed``; an undo that cannot succeed: ``stuck``."""

    QUEUED = "queued", _("queued")
    STARTED = "started", _("started")
    UNWINDING = "unwinding", _("undoing")
    FINISHED = "finished", _("finished")
    FAILED = "failed", _("failed")
    ABORTED = "aborted", _("cancelled")
    STUCK = "stuck", _("stuck")
    CLOSED = "closed", _("closed")


FINAL = frozenset({JobStatus.FINISHED, JobStatus.FAILED, JobStatus.ABORTED, JobStatus.CLOSED})
RUNNABLE = frozenset({JobStatus.QUEUED, JobStatus.STARTED, JobStatus.UNWINDING})


class StepStatus(TextChoices):
    """One step's run; ``skipped``: there was nothing to do, or the job turned round before it began."""

    PENDING = "pending", _("waiting")
    RUNNING = "running", _("running")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    UNDOING = "undoing", _("undoing")
    UNDONE = "undone", _("undone")
    SKIPPED = "skipped", _("skipped")
