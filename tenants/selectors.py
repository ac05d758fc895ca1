"""Reading jobs through the policy."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import NotFound
from portal.jobs.models import Job
from tenants import policy
from tenants.models import DataCenter, User
from tenants.permits import Permit


def jobs(actor: Actor) -> QuerySet[Job]:
    """One's own jobs, and those of the data centers whose jobs one may see. Newest first."""
    rows = Job.objects.prefetch_related("steps").order_by("-created_at", "-uid")
    if policy.holds_everywhere(actor, Permit.JOB_VIEW):
        return rows
    centers = list(policy.visible(actor, Permit.JOB_VIEW, DataCenter.objects.all()).values_list("pk", flat=True))
    return rows.filter(Q(actor_uid=actor.uid) | Q(data_center_uid__in=centers))


def user_named(username: str) -> User:
    """The user of that name, for commands. ``NotFound`` when there is none."""
    row = User.objects.filter(username=username).first()
    if row is None:
        raise NotFound(_("There is no user %(name)s.") % {"name": username})
    return row


def data_center_named(name: str) -> DataCenter:
    """The data center of that name, for commands. ``NotFound`` when there is none."""
    row = DataCenter.objects.filter(name=name).first()
    if row is None:
        raise NotFound(_("There is no data center %(name)s.") % {"name": name})
    return row
