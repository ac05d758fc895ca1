"""Reading jobs, events and data centers through the policy."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import NotFound
from portal.events.models import Event
from portal.jobs.models import Job
from portal.jobs.states import JobStatus
from tenants import bounds, policy
from tenants.fitting import fits, humblest_first
from tenants.kinds import kinds
from tenants.models import DataCenter, Role, User
from tenants.permits import Permit


def jobs(actor: Actor) -> QuerySet[Job]:
    """One's own jobs, and those of the data centers whose jobs one may see. Newest first.

    Of a disabled data center nothing is told, so that what one did there is not either, until it is enabled again. What was
    asked of the whole system (a launch, of a data center that is disabled until its end) stays its maker's to see.
    """
    rows = Job.objects.prefetch_related("steps").order_by("-created_at", "-uid")
    if policy.holds_everywhere(actor, Permit.JOB_VIEW):
        return rows
    centers = list(policy.visible(actor, Permit.JOB_VIEW, DataCenter.objects.all()).values_list("pk", flat=True))
    own = bounds.own_jobs(actor) & (~_in_disabled() | Q(permit_kind="system"))
    return rows.filter(own | Q(data_center_uid__in=centers))


def _in_disabled() -> Q:
    """Of jobs and events: in a data center that is disabled now."""
    return Q(data_center_uid__in=DataCenter.objects.filter(enabled=False).values("pk"))


def stuck_jobs(actor: Actor) -> QuerySet[Job]:
    """The jobs that are stuck and that this actor may end. Newest first."""
    rows = Job.objects.filter(status=JobStatus.STUCK)
    if policy.holds_everywhere(actor, Permit.JOB_MANAGE):
        return rows
    if not policy.holds_anywhere(actor, Permit.JOB_MANAGE):
        return rows.none()
    centers = policy.visible(actor, Permit.JOB_MANAGE, DataCenter.objects.all())
    return rows.filter(data_center_uid__in=centers.order_by().values("pk"))


def readable_jobs(actor: Actor, uids: Iterable[UUID]) -> set[UUID]:
    """Those of these jobs that one may read: of ``jobs``, and whoever started it, of objects whose jobs one may see.

    Of an object that came from another data center since, these are the ones in which it is now: what was told there of
    limits, people and places is for those who may see the jobs of that one.
    """
    wanted = set(uids)
    found = set(jobs(actor).filter(pk__in=wanted).values_list("pk", flat=True))
    if found == wanted:
        return found
    named = ("pk", "target_kind", "target_uid", "data_center_uid")
    rest = list(Job.objects.filter(pk__in=wanted - found).values_list(*named))
    for kind in kinds():
        on = {uid for _pk, name, uid, _center in rest if name == kind.name and kind.data_center_path}
        if on:
            rows = policy.visible(actor, Permit.JOB_VIEW, kind.model._default_manager.filter(pk__in=on))
            seen = set(rows.values_list("pk", kind.data_center_path))
            found |= {pk for pk, name, uid, center in rest if name == kind.name and (uid, center) in seen}
    return found


def get_job(actor: Actor, uid: UUID) -> Job:
    """One of them, with its steps. Raises ``NotFound`` alike for one that is not there and one that may not be seen."""
    job = Job.objects.prefetch_related("steps").filter(pk__in=readable_jobs(actor, [uid])).first()
    if job is None:
        raise NotFound(_("There is no such job, or you may not see it."))
    return job


def events(actor: Actor) -> QuerySet[Event]:
    """One's own acts, and what happened in the data centers whose log one may read. Newest first.

    As with jobs, what one did in a disabled data center is not told until it is enabled again.
    """
    rows = Event.objects.order_by("-at", "-uid")
    if policy.holds_everywhere(actor, Permit.EVENT_VIEW):
        return rows
    centers = list(policy.visible(actor, Permit.EVENT_VIEW, DataCenter.objects.all()).values_list("pk", flat=True))
    own = bounds.own_acts(actor, about="object_uid") if bounds.carries(actor, Permit.EVENT_VIEW) else Q(pk__in=[])
    return rows.filter(own & ~_in_disabled() | Q(data_center_uid__in=centers))


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


def where_to_ask(actor: Actor) -> DataCenter | None:
    """The data center in which somebody would be given what he holds nowhere: the first that he sees; None without any."""
    return data_centers(actor).filter(enabled=True).order_by("name").first()


def roles_for(kind: str) -> list[Role]:
    """The roles that can be given on an object of this kind: the institute's ranks from the humblest, then the others."""
    fitting = [row for row in Role.objects.all() if fits(row.permits, kind)]
    return sorted(fitting, key=lambda row: humblest_first(row.codename, row.permits))


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
