"""Reading jobs through the policy."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from portal.common.actor import Actor
from portal.jobs.models import Job
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit


def jobs(actor: Actor) -> QuerySet[Job]:
    """One's own jobs, and those of the data centers whose jobs one may see. Newest first."""
    rows = Job.objects.prefetch_related("steps").order_by("-created_at", "-uid")
    if actor.is_system:
        return rows
    centers = list(policy.visible(actor, Permit.JOB_VIEW, DataCenter.objects.all()).values_list("pk", flat=True))
    everything = policy.explain(actor, Permit.JOB_VIEW, policy.system()).allowed
    return rows if everything else rows.filter(Q(actor_uid=actor.uid) | Q(data_center_uid__in=centers))
