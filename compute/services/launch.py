"""The hallway of launching data centers: what is asked for becomes a plan with all reasons against it, or one job."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4, uuid5

from django.db.models import Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from compute.models import Host
from compute.operations.launch import ADMIN, GIVEN, LaunchDataCenter, shared
from compute.selectors import data_domains
from compute.services.launch_offers import Offer, offers
from compute.shareables import SHAREABLE, why_not_shared
from network import rules
from network.choices import NetworkStatus
from network.models import Network
from network.services import free_range, held_ranges
from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, NotFound, NotPermitted, PortalError, Reason
from portal.events.codes import Outcome, code_for
from portal.events.models import Event
from portal.events.record import Subject, attempt, trying
from portal.hypervisors.known import capabilities_of
from portal.hypervisors.models import Provider
from portal.jobs.models import Job
from portal.jobs.start import Gate, JobRequest, Lock, Target, start_job
from portal.jobs.states import FINAL
from tenants import policy
from tenants.models import DataCenter, Role, User
from tenants.models.data_center import SYSTEM_UID
from tenants.models.quota import Dimension
from tenants.permits import Permit
from tenants.services.data_centers import refuse_unfit
from tenants.services.grant_ends import end_of
from tenants.services.person_search import AskedPerson, known_person, person_meant, row_of, stored_person
from tenants.services.users import create_user, refuse_username

OPERATION = LaunchDataCenter.name


@dataclass(frozen=True, slots=True)
class OwnNetwork:
    """The NAT network that is to be made for it; without a range the next free one is taken."""

    name: str
    provider: UUID
    cidr: str = ""


@dataclass(frozen=True, slots=True)
class NewAdmin:
    """A local account to be made for its admin. The password is hashed in the request and goes no further."""

    display_name: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """What is asked for. ``admin`` is a user name: of ``new_admin`` where there is one, else of an account that is there, or of
    a directory's, which ``with_admin`` asks for (``asked``; ``silent``: why it could not be).

    ``continues`` is the launch that failed or was cancelled, whose data center this one goes on with.
    """

    name: str
    admin: str
    description: str = ""
    clusters: tuple[UUID, ...] = ()
    storage_domains: tuple[UUID, ...] = ()
    networks: tuple[UUID, ...] = ()
    templates: tuple[UUID, ...] = ()
    network: OwnNetwork | None = None
    limits: Mapping[Dimension, int | None] = field(default_factory=dict)
    new_admin: NewAdmin | None = None
    continues: UUID | None = None
    asked: AskedPerson | None = None
    silent: str = ""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What would be done, why it cannot be (``reasons``), and what the choices are called, kind by kind."""

    steps: tuple[str, ...]
    reasons: tuple[Reason, ...]
    names: dict[str, tuple[str, ...]]
    network: str = ""  # with its range as it would be just now
    made_network: Network | None = None


def authorize_launch(actor: Actor) -> None:
    """Raise ``NotPermitted`` for whoever does not run the whole institute, or could not appoint an admin for good."""
    system = policy.system()
    policy.authorize(actor, Permit.SYSTEM_MANAGE, system)
    policy.authorize(actor, Permit.PROVIDER_MANAGE, system)
    given = Role.objects.get(codename=ADMIN).permits
    if beyond := sorted(set(given) - set(policy.permits_on(actor, [system])[system.pk])):
        text = _(
            "A launch gives its admin all that this role has; you can give only what you hold, and lack %(permits)s."
        )
        raise NotPermitted(text % {"permits": ", ".join(beyond)})
    if end := end_of(actor, given, system):
        text = _("You hold this yourself until %(end)s only. Somebody who holds it without an end can launch it.")
        raise NotPermitted(text % {"end": date_format(timezone.localtime(end), "SHORT_DATETIME_FORMAT")})


def with_admin(actor: Actor, wanted: LaunchRequest) -> LaunchRequest:
    """The request with its admin asked for in his directory, unless the account is new. Call it outside of any transaction.

    Raises ``Unavailable`` naming a directory that cannot be asked.
    """
    with trying(actor, "DATA_CENTER_LAUNCH", Subject("data_center", None, wanted.name)):
        authorize_launch(actor)
        return (
            wanted if wanted.new_admin is not None else replace(wanted, asked=person_meant(wanted.admin, field="admin"))
        )


def plan_launch(actor: Actor, wanted: LaunchRequest) -> LaunchPlan:
    """What a launch would do, by rows alone; nothing is written. Raises as ``launched_before`` does."""
    authorize_launch(actor)
    before = launched_before(wanted.continues)
    made = _made_network(before)
    return LaunchPlan(
        tuple(str(step.title) for step in LaunchDataCenter.steps if step.name not in _idle(wanted, before)),
        tuple(_reasons(wanted, before, made)),
        {name: tuple(row.name for row in _chosen(kind, getattr(wanted, name))) for kind, name in GIVEN.items()},
        _network_text(wanted.network, made),
        made,
    )


def _idle(wanted: LaunchRequest, before: Job | None) -> set[str]:
    """The steps that have nothing to do, by name; one that goes on with another launch may take back what that gave."""
    if before is not None:
        return set()
    limited = any(limit is not None for limit in wanted.limits.values())
    steps: dict[str, Any] = {"templates": wanted.templates, "networks": wanted.networks, "quota": limited}
    steps |= dict.fromkeys(("network", "verify_network"), wanted.network)
    return {name for name, chosen in steps.items() if not chosen}


def launch_data_center(actor: Actor, wanted: LaunchRequest) -> Job:
    """Start it. For super-admins. ``Invalid`` with all reasons, each with its field; ``Busy`` naming a job that is at it.

    A new admin's account is made now, in the same transaction, so that no job ever holds a password.
    """
    with attempt(actor, "DATA_CENTER_LAUNCH", Subject("data_center", None, wanted.name)) as trial:
        authorize_launch(actor)
        before = launched_before(wanted.continues)
        made = _made_network(before)
        if reasons := tuple(_reasons(wanted, before, made)):
            raise Invalid(" ".join(str(reason.text) for reason in reasons), reasons=reasons)
        uid = before.target_uid if before else uuid4()
        params = _params(wanted, made, _admin(actor, wanted))
        target = Target("data_center", uid, wanted.name, uid)
        gate = Gate(Permit.SYSTEM_MANAGE, "system", policy.system().pk)
        # Of one name one launch at a time, and of one data center too.
        locks = [Lock("data_center", uid), Lock("data_center_name", uuid5(SYSTEM_UID, wanted.name.lower()))]
        if params["network"]:
            locks.append(Lock("network", UUID(params["network"]["uid"])))
        job = start_job(actor, JobRequest(LaunchDataCenter, target, gate, tuple(locks), params))
        trial.subject = Subject("data_center", uid, wanted.name, uid)
        trial.correlation_id, trial.outcome = job.pk, Outcome.REQUESTED
    return job


def launched_before(uid: UUID | None) -> Job | None:
    """The launch that is to be continued, None for a new one.

    Raises ``NotFound`` for what is no launch, ``Conflict`` while it is at work and when the data center was opened.
    """
    if uid is None:
        return None
    job = Job.objects.filter(pk=uid, operation=OPERATION).first()
    if job is None:
        raise NotFound(_("There is no such launch of a data center."))
    if job.status not in FINAL:
        raise Conflict(_("That launch has not ended yet. Wait until it has."))
    if _was_opened(job.target_uid):
        text = _("The data center %(name)s was launched already. Change it on its own pages.")
        raise Conflict(text % {"name": job.target_name})
    return job


def unfinished_launch(row: DataCenter) -> Job | None:
    """The last launch of a data center that none has finished yet; None for one that was opened or made otherwise."""
    if _was_opened(row.pk):
        return None
    return Job.objects.filter(operation=OPERATION, target_uid=row.pk).order_by("-created_at").first()


def _was_opened(uid: UUID) -> bool:
    """Whether people were let in at any time, by a launch or by hand: it is theirs then, and no launch's."""
    opened = Event.objects.filter(object_uid=uid, code=code_for("DATA_CENTER_ENABLE", Outcome.DONE))
    return DataCenter.objects.filter(pk=uid, enabled=True).exists() or opened.exists()


def request_of(job: Job) -> LaunchRequest:
    """What a launch was asked for, to be changed and asked for again; its admin has an account by now."""
    told: dict[str, Any] = job.params
    chosen = {name: tuple(UUID(uid) for uid in told[name]) for name in GIVEN.values()}
    admin = User.objects.filter(pk=told["admin"]).values_list("username", flat=True).first()
    own = told["network"]
    return LaunchRequest(
        name=told["name"],
        admin=admin or "",
        description=told["description"],
        network=OwnNetwork(own["name"], UUID(own["provider"]), own["cidr"]) if own else None,
        limits={Dimension(name): limit for name, limit in told["limits"].items()},
        continues=job.pk,
        clusters=chosen["clusters"],
        storage_domains=chosen["storage_domains"],
        networks=chosen["networks"],
        templates=chosen["templates"],
    )


# -- the rows of the request


def _chosen(kind: str, uids: tuple[UUID, ...]) -> Any:
    return shared(SHAREABLE[kind]).filter(pk__in=uids).order_by("name", "uid")


def _made_network(before: Job | None) -> Network | None:
    """The network that the launch before laid, or that the data center has: none that another job is making."""
    if before is None:
        return None
    own = Q(status=NetworkStatus.OPERATIONAL) | Q(pk=(before.params["network"] or {}).get("uid"))
    rows = Network.objects.filter(own, owner=before.target_uid).select_related("provider")
    return rows.order_by("created_at").first()


def _network_text(wanted: OwnNetwork | None, made: Network | None) -> str:
    if made is not None:
        return f"{made.name} {made.cidr}"
    if wanted is None:
        return ""
    provider = Provider.objects.filter(pk=wanted.provider, enabled=True).first()
    try:
        cidr = wanted.cidr or (free_range(provider) if provider else "")
    except PortalError:
        cidr = ""
    return f"{wanted.name} {cidr}".strip()


def _params(wanted: LaunchRequest, made: Network | None, admin: User) -> dict[str, Any]:
    """What the job needs: ids and figures. Never a password."""
    own: dict[str, str] | None = None
    if made is not None:
        own = {"uid": str(made.pk), "provider": str(made.provider_id), "name": made.name, "cidr": made.cidr}
    elif wanted.network is not None:
        asked = wanted.network
        own = {"uid": str(uuid4()), "provider": str(asked.provider), "name": asked.name, "cidr": asked.cidr}
    return {
        "name": wanted.name,
        "description": wanted.description,
        "network": own,
        "limits": {str(name): limit for name, limit in wanted.limits.items() if limit is not None},
        "admin": str(admin.pk),
        **{name: [str(uid) for uid in getattr(wanted, name)] for name in GIVEN.values()},
    }


def _admin(actor: Actor, wanted: LaunchRequest) -> User:
    new = wanted.new_admin
    if wanted.asked is not None:
        return stored_person(wanted.asked, field="admin")
    if new is None:
        return known_person(wanted.admin)  # type: ignore[return-value]  # the reasons have looked
    return create_user(actor, username=wanted.admin, password=new.password, display_name=new.display_name)


# -- why not


def _reasons(wanted: LaunchRequest, before: Job | None, made: Network | None) -> Iterator[Reason]:
    uid = before.target_uid if before else None
    yield from _refusals(lambda: refuse_unfit(wanted.name, wanted.description, but=uid))
    for kind, name in GIVEN.items():
        uids = set(getattr(wanted, name))
        if uids - set(_chosen(kind, tuple(uids)).values_list("pk", flat=True)):
            yield Reason("resource_unknown", _("There is no such object, or it belongs to a data center."), name)
    yield from _place_reasons(wanted)
    yield from _network_reasons(wanted, made, uid)
    text = _("A limit is 0 or more; leave it out for no limit.")
    yield from (Reason("limit_negative", text, str(key)) for key, limit in wanted.limits.items() if (limit or 0) < 0)
    yield from _admin_reasons(wanted)


def _refusals(check: Callable[[], None]) -> Iterator[Reason]:
    try:
        check()
    except PortalError as error:
        yield from error.reasons


def _place_reasons(wanted: LaunchRequest) -> Iterator[Reason]:
    """Machines need hosts, and an active data domain that these hosts have."""
    clusters, domains = _chosen("cluster", wanted.clusters), _chosen("storage_domain", wanted.storage_domains)
    if not clusters:
        yield Reason("clusters_missing", _("Choose at least one cluster: machines run there."), "clusters")
    if not domains:
        text = _("Choose at least one storage domain: the disks of machines lie there.")
        yield Reason("storage_missing", text, "storage_domains")
    yield from (Reason(why.code, why.text, "storage_domains") for row in domains if (why := why_not_shared(row)))
    if clusters and domains and not _fitting(clusters, domains):
        text = _("No host of the chosen clusters has one of these storage domains, active. Choose one that it has.")
        yield Reason("storage_apart", text, "storage_domains")


def _fitting(clusters: Any, domains: Any) -> bool:
    fitting = data_domains().filter(pk__in=domains.values("pk"), provider__in=_providers_of(clusters))
    zones = {row.zone.external_id for row in clusters.select_related("zone") if row.zone}
    return any(not row.zones or zones & set(row.zones) for row in fitting)


def _providers_of(clusters: Any) -> Any:
    return Host.objects.filter(cluster__in=clusters, provider__enabled=True).values("provider")


def _network_reasons(wanted: LaunchRequest, made: Network | None, uid: UUID | None) -> Iterator[Reason]:
    own = wanted.network
    if own is None:
        return
    if made is not None:
        if (own.name, own.provider) != (made.name, made.provider_id) or own.cidr not in {"", made.cidr}:
            text = _("The network %(name)s was made already. Leave it as it is.") % {"name": made.name}
            yield Reason("network_made", text, "network_name")
        return
    if Network.objects.filter(owner=uid, name=own.name).exclude(owner=None).exists():
        text = _("A network of this name is already in this data center. Choose another name.")
        yield Reason("name_taken", text, "network_name")
    provider = Provider.objects.filter(pk=own.provider, enabled=True).first()
    if provider is None:
        text = _("There is no such provider, or it is disabled.")
        yield Reason("provider_invalid", text, "network_provider")
        return
    if not capabilities_of(provider).networks:
        text = _(
            "No network can be made on %(name)s. Choose none, and assign a network that it has; or choose another provider."
        )
        yield Reason("networks_unsupported", text % {"name": provider.name}, "network_provider")
        return
    clusters = _chosen("cluster", wanted.clusters)
    if clusters and not _providers_of(clusters).filter(provider=provider).exists():
        text = _(
            "No host of the chosen clusters is on this provider: machines could not use the network. Choose a provider of "
            "these clusters, or none."
        )
        yield Reason("network_apart", text, "network_provider")
    fields = {"name": "network_name", "cidr": "network_cidr"}
    for reason in _range_reasons(own, provider):
        yield Reason(reason.code, reason.text, fields[reason.field], reason.data)


def _range_reasons(own: OwnNetwork, provider: Provider) -> list[Reason]:
    try:
        return rules.network_reasons(own.name, own.cidr or free_range(provider), held_ranges(provider))
    except Conflict as error:
        return list(error.reasons)


def _admin_reasons(wanted: LaunchRequest) -> Iterator[Reason]:
    if wanted.new_admin is not None:
        yield from (
            Reason(reason.code, reason.text, "admin") for reason in _refusals(lambda: refuse_username(wanted.admin))
        )
        return
    asked = wanted.asked
    user = row_of(asked) if asked is not None else known_person(wanted.admin)
    if wanted.silent:
        yield Reason("admin_unasked", wanted.silent, "admin")
    elif asked is not None and asked.account.kept_out:
        yield Reason("admin_kept_out", _("The directory keeps this account out. Choose another."), "admin")
    elif asked is None and user is None:
        text = _("There is no user of this name. Check the spelling, or have a local account made.")
        yield Reason("admin_unknown", text, "admin")
    elif user is not None and not user.is_active:
        yield Reason("admin_disabled", _("This account is disabled. Enable it first, or choose another."), "admin")


# -- what can be chosen


def offered(actor: Actor, clusters: Collection[UUID] = ()) -> dict[str, Offer]:
    """What can be chosen with these clusters, field by field, as ``offers``; for those who may launch."""
    authorize_launch(actor)
    return offers(actor, clusters)
