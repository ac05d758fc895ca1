"""What a step and a hook see of their job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from portal.common.actor import Actor, Door, NamedUser
from portal.jobs.claim import Claim
from portal.jobs.faults import fault_point
from portal.jobs.models import Job, Step

LONGEST_MESSAGE = 300


def actor_of_job(job: Job) -> Actor:
    """Who asked, rebuilt from the row: uid and name. Rights must be looked up anew."""
    user = NamedUser(job.actor_uid, job.actor_name) if job.actor_uid else None
    return Actor(user=user, door=Door.JOB, request_id=job.request_id, client_address=job.client_address)


def fault_name(job: Job, step: Step, place: str) -> str:
    """The name of a fault point of a step."""
    return f"{job.operation}.{step.name}.{place}"


@dataclass(slots=True)
class JobContext:
    """``StepContext`` as the engine makes it; ``step`` is None in a hook."""

    claim: Claim
    step: Step | None = None

    @property
    def job_uid(self) -> UUID:
        """The job's uid, which is also the correlation id of its events."""
        return self.claim.job.uid

    @property
    def target_uid(self) -> UUID:
        """What the job is about."""
        return self.claim.job.target_uid

    @property
    def actor_uid(self) -> UUID | None:
        """Who asked; None for the portal itself."""
        return self.claim.job.actor_uid

    @property
    def actor(self) -> Actor:
        """Who asked, for the audit log; rights must be looked up anew."""
        return actor_of_job(self.claim.job)

    @property
    def params(self) -> dict[str, Any]:
        """What the job was started with."""
        return dict(self.claim.job.params)

    @property
    def error(self) -> dict[str, Any]:
        """Why the job failed (in ``on_failed``); empty otherwise."""
        return dict(self.claim.job.error)

    def output(self, step: str) -> dict[str, Any]:
        """What an earlier step left; empty when it left nothing."""
        return next((dict(known.output) for known in self.claim.steps if known.name == step), {})

    def report(self, message: str, *, progress: int | None = None) -> None:
        """Tell the watchers how far the step is. Raises ``LeaseLost``, which must not be caught."""
        if self.step is None:
            return
        values: dict[str, Any] = {"message": message[:LONGEST_MESSAGE]}
        self.claim.save({}, step=self.step, step_values=values | progress_of(progress))

    def is_cancelled(self) -> bool:
        """Whether the job was cancelled since this step began; asked of the database."""
        return Job.objects.filter(uid=self.job_uid, cancel_requested_at__isnull=False).exists()

    def remember(self, **output: Any) -> None:
        """Keep something as the step's output now, for a second try of it. Raises ``LeaseLost``."""
        if self.step is None:
            return
        self.step.output = self.step.output | output
        self.claim.save({}, step=self.step, step_values={"output": self.step.output})

    def fault_point(self, name: str) -> None:
        """A place of the step's own where tests may kill the worker."""
        if self.step is not None:
            fault_point(fault_name(self.claim.job, self.step, name))


def progress_of(progress: int | None) -> dict[str, int]:
    """The column's value for a progress in percent, if there is one."""
    return {} if progress is None else {"progress": max(0, min(100, progress))}
