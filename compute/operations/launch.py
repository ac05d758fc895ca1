"""The operation that launches a new data center: made, given what it may use, its quota and its admin, and opened.

What a step has finished stays when a later one fails: the data center is there, disabled, and another launch of the same
one goes on from the step that failed. Each step brings about what the launch says, whatever an earlier one left, and
records what it changed in the same transaction, once. Only a network that was not made to the end is removed again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute.shareables import SHAREABLE, Shareable
from network import rules
from network.choices import NetworkStatus
from network.models import Network
from network.operations.networks import laid, left_of, make_on_provider, remove_from_provider, verify
from network.services import free_range, held_ranges
from portal.common.access import access_changed
from portal.common.actor import Actor, Door
from portal.events.codes import Outcome
from portal.events.record import Subject, record
from portal.hypervisors.models import Provider
from portal.jobs.context import JobContext
from portal.jobs.gate import ask_gate
from portal.jobs.models import Job
from portal.jobs.operation import Act, Done, Kept, Operation, StepContext, StepDef, StepFailed, Wait, register
from tenants import policy, quota
from tenants.holdings import CODENAME
from tenants.models import DataCenter, DataCenterUserGrant, User
from tenants.models.quota import Dimension
from tenants.permits import Permit
from tenants.services.grants import hold_role

NOTHING_TO_DO = Done(skipped=True)
ADMIN = "data-center-admin"  # the role of whoever runs the new data center


def _center(ctx: StepContext, *, may_be_open: bool = False) -> DataCenter:
    """The data center, held to the end of the transaction, so that nobody shares out beside the launch."""
    row = DataCenter.objects.select_for_update(no_key=True).filter(pk=ctx.target_uid).first()
    if row is None:
        raise StepFailed(_("The data center is gone. Continue, and it is made anew."), code="data_center_gone")
    if row.enabled and not may_be_open:
        raise _opened_meanwhile()
    return row


def _opened_meanwhile() -> StepFailed:
    text = _("The data center was enabled by hand meanwhile. Change it on its own pages.")
    return StepFailed(text, code="opened_meanwhile")


def by_right(act: Act, *permits: Permit) -> Act:
    """The step, done only while whoever asked for the launch still holds these on the whole system, as its services ask."""

    def allowed(ctx: StepContext) -> Done | Wait | Kept | None:
        for permit in permits:
            ask_gate(ctx.actor, permit, "system", policy.system().pk)
        return act(ctx)

    return allowed


def _tell(ctx: StepContext, verb: str, row: DataCenter, **data: Any) -> None:
    """Into the audit log, in the transaction of the change itself."""
    subject = Subject("data_center", row.pk, row.name, row.pk)
    record(ctx.actor, verb, outcome=Outcome.DONE, subject=subject, correlation_id=ctx.job_uid, data=data)


# -- the data center


def make_center(ctx: StepContext) -> None:
    """Its row, disabled until the launch is through; of one that an earlier launch made, the name it is to have now."""
    name, description = ctx.params["name"], ctx.params["description"]
    try:
        with transaction.atomic():
            wanted = {"name": name, "description": description}
            row, made = DataCenter.objects.get_or_create(pk=ctx.target_uid, defaults=wanted | {"enabled": False})
            _refuse_taken(name, but=row.pk)
            if made:
                _tell(ctx, "DATA_CENTER_CREATE", row)
            elif row.enabled:
                raise _opened_meanwhile()
            elif (row.name, row.description) != (name, description):
                row.name, row.description = name, description
                row.save(update_fields=["name", "description"])
                _tell(ctx, "DATA_CENTER_EDIT", row)
    except IntegrityError as error:
        raise _name_taken() from error


def _refuse_taken(name: str, *, but: UUID) -> None:
    if DataCenter.objects.exclude(pk=but).filter(name__iexact=name).exists():
        raise _name_taken()


def _name_taken() -> StepFailed:
    text = _("Another data center took the name meanwhile. Continue, and choose another name.")
    return StepFailed(text, code="name_taken")


# -- what it may use


def assigning(kind: str, chosen: str) -> Act:
    """The step that lets it use exactly those of a kind that ``params[chosen]`` names, for who may still share out."""
    share = SHAREABLE[kind]

    def assign(ctx: StepContext) -> Done | None:
        uids = {UUID(uid) for uid in ctx.params[chosen]}
        with transaction.atomic():
            row = _center(ctx)
            there = set(share.assignment._default_manager.filter(data_center=row).values_list(share.field, flat=True))
            _give(ctx, share, row, uids - there)
            _take_back(ctx, share, row, there - uids)
        return None if uids | there else NOTHING_TO_DO

    return by_right(assign, Permit.PROVIDER_MANAGE)


def _give(ctx: StepContext, share: Shareable, row: DataCenter, uids: Iterable[UUID]) -> None:
    for uid in sorted(uids):
        thing = shared(share).filter(pk=uid).first()
        if thing is None:
            text = _("Something that was chosen is gone. Continue, and choose again what it may use.")
            raise StepFailed(text, code="resource_gone")
        share.assignment._default_manager.create(**{share.field: thing, "data_center": row})
        _tell(ctx, "RESOURCE_ASSIGN", row, kind=share.name, id=str(uid), name=str(thing))


def _take_back(ctx: StepContext, share: Shareable, row: DataCenter, uids: Iterable[UUID]) -> None:
    """What an earlier launch gave and this one does not name, unless something that came since needs it."""
    for uid in sorted(uids):
        thing = share.model._default_manager.get(pk=uid)
        if any(rows.exists() for rows in share.needed_by(row, thing).values()):
            text = _("The data center needs %(name)s, which is not chosen any more. Continue, and choose it.")
            raise StepFailed(text % {"name": thing}, code="in_use")
        share.assignment._default_manager.filter(**{share.field: uid, "data_center": row}).delete()
        _tell(ctx, "RESOURCE_UNASSIGN", row, kind=share.name, id=str(uid))


def shared(share: Shareable) -> Any:
    """The rows of a kind that belong to no data center, and so can be assigned."""
    rows = share.model._default_manager.all()
    return rows.filter(owner=None) if any(field.name == "owner" for field in share.model._meta.fields) else rows


# -- a network of its own


def make_network(ctx: StepContext) -> Done | None:
    """Its own network, if it is to have one: rows first, then on the provider. Without a range the next free one."""
    wanted = ctx.params["network"]
    if wanted is None:
        return NOTHING_TO_DO
    network = Network.objects.select_related("provider").filter(pk=wanted["uid"]).first() or _laid(ctx, wanted)
    make_on_provider(network)
    ctx.fault_point("made")
    return None


def _laid(ctx: StepContext, wanted: dict[str, Any]) -> Network:
    try:
        with transaction.atomic():
            # Held, so that of two networks whose ranges overlap the second sees the first.
            rows = Provider.objects.select_for_update(no_key=True)
            provider = rows.filter(pk=wanted["provider"], enabled=True).first()
            if provider is None:
                text = _("The provider of the network is gone or disabled. Continue, and choose another.")
                raise StepFailed(text, code="provider_gone")
            row = _center(ctx)
            cidr = wanted["cidr"] or free_range(provider)
            if rules.network_reasons(wanted["name"], cidr, held_ranges(provider)):
                text = _(
                    "The range of the network was taken meanwhile. Continue, and leave it empty for the next free."
                )
                raise StepFailed(text, code="range_taken")
            network = laid(UUID(wanted["uid"]), row, provider=provider, name=wanted["name"], cidr=cidr)
            _tell(ctx, "NETWORK_CREATE", row, network=str(network.pk), name=network.name, range=cidr)
    except IntegrityError as error:  # another network took the range in the same moment
        text = _("Another network is being made on the provider just now.")
        raise StepFailed(text, code="range_taken", can_retry=True) from error
    return network


def unmake_network(ctx: StepContext) -> Kept | None:
    """Remove what was not made to the end; a network that works stays, for the next launch finds it."""
    wanted = ctx.params["network"]
    network = Network.objects.select_related("provider").filter(pk=wanted["uid"]).first() if wanted else None
    if wanted is None or (network is not None and network.status == NetworkStatus.OPERATIONAL):
        return Kept()
    if network is None:
        return None
    remove_from_provider(network)
    ctx.fault_point("removed")
    with transaction.atomic():
        gone, _kinds = Network.objects.filter(pk=network.pk).delete()
        if gone:
            row = _center(ctx, may_be_open=True)
            _tell(ctx, "NETWORK_DELETE", row, network=str(network.pk), name=network.name)
    return None


def verify_network(ctx: StepContext) -> Done | None:
    """Success is what the hypervisor says it has."""
    wanted = ctx.params["network"]
    if wanted is None:
        return NOTHING_TO_DO
    network = Network.objects.select_related("provider").filter(pk=wanted["uid"]).first()
    if network is None:
        raise StepFailed(_("The network is gone."), code="network_gone")
    verify(network)
    return None


# -- how much, and who


def set_quota(ctx: StepContext) -> Done | None:
    """Its limits; what is not named has none."""
    limits = {dimension: ctx.params["limits"].get(dimension) for dimension in Dimension}
    with transaction.atomic():
        row = _center(ctx)
        if limits != quota.limits(row):
            quota.set_limits(row, limits)
            _tell(ctx, "QUOTA_EDIT", row, limits={str(name): value for name, value in limits.items()})
            return None
    return None if any(limit is not None for limit in limits.values()) else NOTHING_TO_DO


def appoint(ctx: StepContext) -> None:
    """Its admin, by the right of whoever asked for the launch; one that an earlier launch appointed is none any more."""
    user = User.objects.filter(pk=ctx.params["admin"], is_active=True).first()
    if user is None:
        raise _admin_gone()
    actor = _grantor(ctx)
    with transaction.atomic():
        row = _center(ctx)
        for other in User.objects.filter(pk__in=_grants_of_admins(row).values("user")).exclude(pk=user.pk):
            policy.revoke(actor, ADMIN, other, row)
            _tell(ctx, "REVOKE", row, role=ADMIN, user=str(other.pk))
        if not _is_admin(row, user.pk):
            hold_role(actor, ADMIN, row)
            policy.grant(actor, ADMIN, user, row)
            _tell(ctx, "GRANT", row, role=ADMIN, user=str(user.pk))


def _admin_gone() -> StepFailed:
    text = _("The account of the administrator is gone or disabled. Continue, and choose another.")
    return StepFailed(text, code="admin_gone")


def _grants_of_admins(row: DataCenter) -> Any:
    return DataCenterUserGrant.objects.filter(content_object=row, permission__codename=CODENAME + ADMIN)


def _is_admin(row: DataCenter, user: Any) -> bool:
    """Whether this account is enabled and holds the role for good."""
    return bool(_grants_of_admins(row).filter(user=user, user__is_active=True, expires_at=None).exists())


def _grantor(ctx: StepContext) -> Actor:
    """Whoever asked, loaded anew: his rights now are what counts."""
    told = ctx.actor
    user = User.objects.filter(pk=told.uid).first() if told.uid else None
    if told.uid and user is None:
        text = _("The account of whoever asked for this is gone. Another super-admin can continue it.")
        raise StepFailed(text, code="asker_gone")
    return Actor(user=user, door=Door.JOB, request_id=told.request_id, client_address=told.client_address)


# -- launch


def check_all(ctx: StepContext) -> None:
    """That all of it is still as it was given, before anybody is let in."""
    row = DataCenter.objects.filter(pk=ctx.target_uid).first()
    for share, chosen in ((SHAREABLE[kind], name) for kind, name in GIVEN.items()):
        there = share.assignment._default_manager.filter(data_center=row).values_list(share.field, flat=True)
        if row is None or {UUID(uid) for uid in ctx.params[chosen]} - set(there):
            text = _("Something that was chosen is gone. Continue, and choose again what it may use.")
            raise StepFailed(text, code="resource_gone")


def let_in(job: JobContext) -> None:
    """With the end of the job the data center is open for its people."""
    row = _center(job, may_be_open=True)
    if not row.enabled:
        if not _is_admin(row, job.params["admin"]):
            raise _admin_gone()
        row.enabled = True
        row.save(update_fields=["enabled"])
        _tell(job, "DATA_CENTER_ENABLE", row)
        access_changed(policy.people_of(row))


def network_left(job: Job, _step: str) -> list[str]:
    """What a launch may leave: the network of its own that it did not make to the end."""
    return left_of(UUID(job.params["network"]["uid"])) if job.params["network"] else []


GIVEN = {
    "cluster": "clusters",
    "storage_domain": "storage_domains",
    "network": "networks",
    "template": "templates",
}


class LaunchDataCenter(Operation):
    """Make a data center with all that a department needs, and open it."""

    name = "compute.launch_data_center"
    title = gettext_lazy("Launch data center")
    audit_verb = "DATA_CENTER_LAUNCH"
    while_undone = gettext_lazy("What was finished stays.")
    when_failed = gettext_lazy("What was finished stays. Continue the launch from the step that failed.")
    steps = (
        StepDef("data_center", gettext_lazy("Make the data center"), by_right(make_center, Permit.SYSTEM_MANAGE)),
        StepDef("clusters", gettext_lazy("Assign clusters"), assigning("cluster", "clusters")),
        StepDef("storage", gettext_lazy("Assign storage domains"), assigning("storage_domain", "storage_domains")),
        StepDef("templates", gettext_lazy("Assign templates"), assigning("template", "templates")),
        StepDef("networks", gettext_lazy("Assign networks"), assigning("network", "networks")),
        StepDef(
            "network",
            gettext_lazy("Make its own network"),
            by_right(make_network, Permit.PROVIDER_MANAGE),
            unmake_network,
        ),
        StepDef("verify_network", gettext_lazy("Verify the network"), verify_network),
        StepDef("quota", gettext_lazy("Set the quota"), by_right(set_quota, Permit.SYSTEM_MANAGE, Permit.QUOTA_EDIT)),
        StepDef("admin", gettext_lazy("Appoint the administrator"), appoint),
        StepDef("launch", gettext_lazy("Open it for its people"), check_all, destructive=True),
    )
    on_finished = staticmethod(let_in)
    left_behind = staticmethod(network_left)


def register_all() -> None:
    """Make it known to the engine."""
    register(LaunchDataCenter)
