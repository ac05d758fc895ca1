"""Jobs, their steps, and the locks they hold. The row is the truth; Celery only carries it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from portal.common.models import UidModel
from portal.jobs.states import JobStatus, StepStatus


class Job(UidModel):
    """A run of an operation. Changed only by conditional updates that name the fence its worker holds."""

    operation = models.CharField(max_length=80)
    version = models.PositiveSmallIntegerField(default=1)
    params = models.JSONField(default=dict)
    status = models.CharField(max_length=10, choices=JobStatus.choices, default=JobStatus.QUEUED)
    # Who asked, and for what: enough to authorize again at the gate and to show and audit it when the target is gone.
    actor_uid = models.UUIDField(null=True, blank=True)
    actor_name = models.CharField(max_length=150)
    request_id = models.CharField(max_length=64, blank=True)
    client_address = models.CharField(max_length=45, blank=True)
    permit = models.CharField(max_length=40, blank=True)
    permit_kind = models.CharField(max_length=30, blank=True, help_text="The kind of object the permit is needed on.")
    permit_uid = models.UUIDField(null=True, blank=True)
    target_kind = models.CharField(max_length=30)
    target_uid = models.UUIDField()
    target_name = models.CharField(max_length=150, blank=True)
    data_center_uid = models.UUIDField(null=True, blank=True)
    audit_verb = models.CharField(max_length=40, blank=True)
    # Where it stands.
    position = models.PositiveSmallIntegerField(default=0, help_text="The step that is next, or being done or undone.")
    error = models.JSONField(default=dict)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancelled = models.BooleanField(default=False)
    closed_reason = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(auto_now_add=True)
    # Who works on it: a lease in database time, and a number that goes up with every claim.
    fence = models.PositiveBigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    not_before = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-uid"]
        indexes: ClassVar = [
            models.Index(fields=["-created_at", "-uid"], name="job_newest"),
            models.Index(fields=["target_uid", "-created_at"], name="job_by_target"),
            models.Index(fields=["data_center_uid", "-created_at"], name="job_by_data_center"),
            models.Index(fields=["actor_uid", "-created_at"], name="job_by_actor"),
            models.Index(
                fields=["lease_until"], name="job_open", condition=Q(status__in=["queued", "started", "unwinding"])
            ),
            models.Index(fields=["data_center_uid"], name="job_stuck", condition=Q(status="stuck")),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.target_name} ({self.status})"


class Step(models.Model):
    """One step's run."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=60)
    status = models.CharField(max_length=8, choices=StepStatus.choices, default=StepStatus.PENDING)
    progress = models.PositiveSmallIntegerField(default=0, help_text="Percent.")
    message = models.CharField(max_length=300, blank=True)
    output = models.JSONField(default=dict)
    attempts = models.PositiveSmallIntegerField(default=0)
    undo_attempts = models.PositiveSmallIntegerField(default=0)
    first_tried_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True, help_text="Since when every try has failed.")
    undo_first_tried_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["job", "position"], name="step_one_per_position")]

    def __str__(self) -> str:
        return f"{self.position} {self.name} ({self.status})"


class JobLock(models.Model):
    """What a job holds until it is final (``stuck`` keeps it)."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="locks")
    kind = models.CharField(max_length=30)
    uid = models.UUIDField()
    exclusive = models.BooleanField(default=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["kind", "uid"], condition=Q(exclusive=True), name="lock_one_exclusive"),
            models.UniqueConstraint(fields=["job", "kind", "uid"], name="lock_once_per_job"),
        ]
        indexes: ClassVar = [models.Index(fields=["kind", "uid"], name="lock_by_object")]

    def __str__(self) -> str:
        return f"{'exclusive' if self.exclusive else 'shared'} {self.kind} {self.uid}"
