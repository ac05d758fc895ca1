"""Reading jobs, events and data centers through the policy."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import NotFound
from portal.events.models import Event
from portal.jobs.models import Job
from tenants import bounds, policy
from tenants.models import DataCenter, User
from tenants.permits import Permit


def jobs(actor: Actor) -> QuerySet[Job]:
    """One's own jobs, and those of the data centers whose jobs one may see. Newest first."""
    rows = Job.objects.prefetch_related("steps").order_by("-created_at", "-uid")
    if policy.holds_everywhere(actor, Permit.JOB_VIEW):
        return rows
    centers = list(policy.visible(actor, Permit.JOB_VIEW, DataCenter.objects.all()).values_list("pk", flat=True))
    return rows.filter(bounds.own_acts(actor, about="target_uid") | Q(data_center_uid__in=centers))


def events(actor: Actor) -> QuerySet[Event]:
    """One's own acts, and what happened in the data centers whose log one may read. Newest first."""
    rows = Event.objects.order_by("-at", "-uid")
    if policy.holds_everywhere(actor, Permit.EVENT_VIEW):
        return rows
    centers = list(policy.visible(actor, Permit.EVENT_VIEW, DataCenter.objects.all()).values_list("pk", flat=True))
    own = bounds.own_acts(actor, about="object_uid") if bounds.carries(actor, Permit.EVENT_VIEW) else Q(pk__in=[])
    return rows.filter(own | Q(data_center_uid__in=centers))


def users(actor: Actor, *, query: str = "", after: str = "") -> QuerySet[User]:
    """All accounts by user name, those that a text names. Raises ``NotPermitted`` for whoever does not manage users."""
    policy.authorize(actor, Permit.USER_MANAGE, policy.system())
    rows = User.objects.filter(username__gt=after, service_of=None).order_by("username")
    return rows.filter(Q(username__icontains=query) | Q(display_name__icontains=query)) if query else rows


def data_centers(actor: Actor) -> QuerySet[DataCenter]:
    """The data centers this actor may see, by name."""
    return policy.visible(actor, Permit.DATA_CENTER_VIEW, DataCenter.objects.all()).order_by("name", "uid")


def get_data_center(actor: Actor, uid: UUID) -> DataCenter:
    """One of them. Raises ``NotFound`` alike for one that is not there and one that may not be seen."""
    row = data_centers(actor).filter(pk=uid).first()
    if row is None:
        raise NotFound(_("There is no such data center, or you may not see it."))
    return row


def user_named(username: str) -> User:
    """The user of that name, for commands. ``NotFound`` when there is none."""
    row = User.objects.filter(username=username).first()
    if row is None:
        raise NotFound(_("There is no user %(name)s.") % {"name": username})
    return row


def group_named(name: str) -> Group:
    """The group of that name, for commands. ``NotFound`` when there is none."""
    row = Group.objects.filter(name=name).first()
    if row is None:
        raise NotFound(_("There is no group %(name)s.") % {"name": name})
    return row


def data_center_named(name: str) -> DataCenter:
    """The data center of that name, for commands. ``NotFound`` when there is none."""
    row = DataCenter.objects.filter(name=name).first()
    if row is None:
        raise NotFound(_("There is no data center %(name)s.") % {"name": name})
    return row
