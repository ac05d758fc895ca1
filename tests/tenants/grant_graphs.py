"""Random graphs of grants over every kind of object, and what they are worth as a few plain lines of Python say it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone
from hypothesis import strategies as st

from compute.models import Cluster, Image, StorageDomain, Template, TemplateAssignment, Vm
from network.models import Network, NetworkAssignment, VnicProfile
from portal.common.actor import Actor, Door
from portal.hypervisors.models import Provider
from tenants import policy
from tenants.holdings import CODENAME
from tenants.kinds import kind_of
from tenants.models import ApiToken, DataCenter, Role, System, User
from tenants.permits import VIEWING, Permit

USERS, GROUPS, CENTERS, ROLES = 3, 2, 3, 3
OBJECTS = CENTERS + 10  # besides the system
OFFERED = ("VM_VIEW", "VM_RUN", "TEMPLATE_VIEW", "TEMPLATE_USE", "TEMPLATE_EDIT", "NETWORK_USE", "IMAGE_VIEW",
           "DATA_CENTER_VIEW", "GRANT", "USER_MANAGE", "NO_SUCH_PERMIT")  # fmt: skip
PERMITS = tuple(Permit(name) for name in OFFERED if name != "NO_SUCH_PERMIT")
OUTLASTING = {Permit.GRANT, Permit.USER_MANAGE}
ALL = "ALL"
LOGINS = ("browser", "view", "token")
ASSIGNED = {Permit.TEMPLATE_VIEW, Permit.TEMPLATE_USE, Permit.NETWORK_USE}
LIVE = (None, timedelta(hours=1))
EXPIRED = timedelta(hours=-1)


@dataclass(frozen=True)
class Grant:
    """Who (a number below ``USERS`` is a user, others are groups), which role, on what; when it ends, from now."""

    subject: int
    role: int
    target: int
    ends: timedelta | None


@dataclass(frozen=True)
class Graph:
    """Everything about rights that may differ."""

    roles: list[frozenset[str]]
    grants: list[Grant]
    members: frozenset[tuple[int, int]]  # (user, group)
    disabled: frozenset[int]  # data centers
    assigned: frozenset[tuple[int, int]]  # (template or network, data center)
    locked: frozenset[int]  # users
    scope: str  # of the token
    permits: frozenset[str] | None  # that the token is kept to; with ``ALL`` to none
    chosen: frozenset[int] | None  # objects that the token is kept to
    login: str = "token"  # else a browser's, or one of somebody who looks at the portal as the user


def numbers(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, count - 1)


graphs = st.builds(
    Graph,
    roles=st.lists(st.frozensets(st.sampled_from(OFFERED), max_size=5), min_size=ROLES, max_size=ROLES),
    grants=st.lists(
        st.builds(
            Grant, numbers(USERS + GROUPS), numbers(ROLES), numbers(1 + OBJECTS), st.sampled_from([*LIVE, EXPIRED])
        ),
        max_size=8,
    ),
    members=st.frozensets(st.tuples(numbers(USERS), numbers(GROUPS)), max_size=4),
    disabled=st.frozensets(numbers(CENTERS), max_size=2),
    assigned=st.frozensets(st.tuples(numbers(2), numbers(CENTERS)), max_size=3),
    locked=st.frozensets(numbers(USERS), max_size=1),
    scope=st.sampled_from(["write", "write", "read"]),
    permits=st.none()
    | st.just(frozenset({ALL}))
    | st.frozensets(st.sampled_from([*PERMITS, ALL]), min_size=1, max_size=6),
    chosen=st.none() | st.none() | st.frozensets(numbers(OBJECTS), min_size=1, max_size=4),
    login=st.sampled_from([*LOGINS, "token"]),
)


@dataclass
class Ground:
    """The objects that graphs are laid over: the system, data centers, and two machines, templates, networks and images.

    Each network has a vNIC profile. Of each pair the first belongs to the first data center; the second to another, or to the institute.
    """

    system: System
    users: list[User] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    centers: list[DataCenter] = field(default_factory=list)
    objects: dict[str, list[Any]] = field(default_factory=dict)
    permissions: dict[tuple[type, int], Permission] = field(default_factory=dict)

    @property
    def targets(self) -> list[Any]:
        """What a grant can be on, by its number."""
        return [self.system, *self.centers, *(row for rows in self.objects.values() for row in rows)]

    def actor(self, graph: Graph, user: int) -> Actor:
        """The user by the log-in of the graph: what a token keeps him to is said by its row."""
        who, told = User.objects.get(pk=self.users[user].pk), {"request_id": "r", "client_address": "192.0.2.7"}
        if graph.login != "token":
            looking = self.users[(user + 1) % USERS] if graph.login == "view" else None
            return Actor(who, Door.PAGE, session_key="s", real_user=looking, **told)
        permits = None if graph.permits is None else sorted(map(str, graph.permits))
        chosen = [{"id": str(uid)} for uid in self.chosen(graph) or ()]
        token = ApiToken(user=who, scope=graph.scope, permits=permits, chosen=chosen)
        return Actor(who, Door.API, token_uid=token.pk, scope=token.scope, bounds=token.bounds, **told)

    def chosen(self, graph: Graph) -> frozenset[UUID] | None:
        """The ids of what the token is for; None: everything."""
        if graph.chosen is None or graph.login != "token":
            return None
        return frozenset(self.targets[1 + number].pk for number in graph.chosen)

    def of_kinds(self) -> Iterator[list[Any]]:
        """Every object, kind by kind, the system last."""
        yield self.centers
        yield from self.objects.values()
        yield [self.system]

    def lay(self, graph: Graph) -> None:
        """Write a graph, in a number of queries that does not grow with it."""
        Role.objects.all().delete()
        Role.objects.bulk_create(
            Role(name=f"r{number}", codename=f"r{number}", permits=sorted(permits))
            for number, permits in enumerate(graph.roles)
        )
        User.groups.through.objects.bulk_create(
            User.groups.through(user=self.users[user], group=self.groups[group]) for user, group in graph.members
        )
        DataCenter.objects.filter(pk__in=[self.centers[number].pk for number in graph.disabled]).update(enabled=False)
        User.objects.filter(pk__in=[self.users[number].pk for number in graph.locked]).update(is_active=False)
        template, network = self.objects["template"][0], self.objects["network"][0]
        for noun, model, name in ((0, TemplateAssignment, "template"), (1, NetworkAssignment, "network")):
            row: Any = (template, network)[noun]
            model.objects.bulk_create(
                model(**{name: row}, data_center=self.centers[center])
                for each, center in graph.assigned
                if each == noun
            )
        self._grant(graph.grants)

    def _grant(self, grants: list[Grant]) -> None:
        tables: dict[Any, dict[Any, Any]] = {}
        for grant in grants:
            target, is_user = self.targets[grant.target], grant.subject < USERS
            kind = kind_of(type(target))
            model = kind.user_grants if is_user else kind.group_grants
            subject: Any = self.users[grant.subject] if is_user else self.groups[grant.subject - USERS]
            permission = self.permissions[type(target), grant.role]
            ends = None if grant.ends is None else timezone.now() + grant.ends
            who = {"user" if is_user else "group": subject}
            row = model(permission=permission, content_object=target, expires_at=ends, **who)
            tables.setdefault(model, {})[subject.pk, permission.pk, target.pk] = row
        for model, rows in tables.items():
            model._default_manager.bulk_create(rows.values())


def make_ground() -> Ground:
    """Made once; nothing is granted yet."""
    groups = [Group.objects.create(name=f"g{number}") for number in range(GROUPS)]
    centers = DataCenter.objects.bulk_create(DataCenter(name=f"d{number}") for number in range(CENTERS))
    programs = {USERS - 1: centers[0]}  # the last one is no person, but a data center's program
    users = User.objects.bulk_create(
        User(username=f"u{number}", service_of=programs.get(number)) for number in range(USERS)
    )
    provider = Provider.objects.create(kind="double", name="p", address="double:///nowhere")
    storage = StorageDomain.objects.create(name="s", provider=provider, external_id="s")
    cluster = Cluster.objects.create(name="c", provider=provider)
    owners, sizes = (centers[0], None), {"memory_mib": 256, "vcpus": 1}
    objects: dict[str, list[Any]] = {
        "vm": Vm.objects.bulk_create(
            Vm(name=center.name, data_center=center, cluster=cluster, provider=provider, **sizes)
            for center in centers[:2]
        ),
        "template": Template.objects.bulk_create(
            Template(name="t", owner=owner, storage_domain=storage) for owner in owners
        ),
        "network": Network.objects.bulk_create(
            Network(name="n", owner=owner, provider=provider, cidr=f"10.99.{number}.0/24")
            for number, owner in enumerate(owners)
        ),
        "image": Image.objects.bulk_create(
            Image(name="i", owner=owner, format="raw", size_bytes=1) for owner in owners
        ),
    }
    objects["vnic_profile"] = VnicProfile.objects.bulk_create(
        VnicProfile(name="p", network=network) for network in objects["network"]
    )
    system, permissions = policy.system(), {}
    for model in {System, DataCenter, *(type(rows[0]) for rows in objects.values())}:
        for number in range(ROLES):
            permissions[model, number] = Permission.objects.create(
                codename=f"{CODENAME}r{number}", name="", content_type=ContentType.objects.get_for_model(model)
            )
    return Ground(system, users, groups, centers, objects, permissions)


def worth(ground: Ground, graph: Graph, user: int, permit: Permit, target: Any) -> bool:
    """Whether the user holds the permit on the object, as the rules say it: no query, no reuse of the policy's ways."""
    if user in graph.locked or not carried(graph, permit):
        return False
    asleep = {ground.centers[number].pk for number in graph.disabled}
    owner = _owner(target)
    whole = target.network if type(target) is VnicProfile else target
    uses = {ground.centers[center].pk for noun, center in graph.assigned if whole is _assignable(ground)[noun]}
    chosen = ground.chosen(graph)
    is_reached = chosen is None or bool(chosen & {target.pk, whole.pk, owner})
    if not is_reached and not (chosen & uses and permit in ASSIGNED):
        return False
    for where in _held(ground, graph, user, permit):
        if where == ground.system.pk or (where == owner and owner not in asleep):
            return True
        if where in {target.pk, whole.pk} and type(target) is not DataCenter and owner not in asleep:
            return True
        if where in uses and where not in asleep and permit in ASSIGNED:
            return True
    return False


def carried(graph: Graph, permit: Permit) -> bool:
    """Whether the log-in conveys the permit at all."""
    if graph.login != "token":
        return True
    if graph.scope == "read" and permit not in VIEWING:
        return False
    return permit not in OUTLASTING if graph.permits is None else bool(graph.permits & {permit, ALL})


def worth_anywhere(ground: Ground, graph: Graph, user: int, permit: Permit) -> bool:
    """Whether the user holds it on the system or on a data center that is awake, whatever objects the token is for."""
    awake = {center.pk for number, center in enumerate(ground.centers) if number not in graph.disabled}
    held = set(_held(ground, graph, user, permit))
    return user not in graph.locked and carried(graph, permit) and bool(held & (awake | {ground.system.pk}))


def _held(ground: Ground, graph: Graph, user: int, permit: Permit) -> Iterator[UUID]:
    """On what the user holds a role with this permit, himself or through a group, by a grant that lives. The last one counts."""
    targets = ground.targets
    last = {(grant.subject, grant.role, targets[grant.target].pk): grant for grant in graph.grants}
    for (subject, role, uid), grant in last.items():
        is_his = subject == user or (user, subject - USERS) in graph.members
        if is_his and permit.value in graph.roles[role] and grant.ends in LIVE:
            yield uid


def _owner(target: Any) -> UUID | None:
    if type(target) is System:
        return None
    if type(target) is DataCenter:
        return target.pk
    if type(target) is VnicProfile:
        return target.network.owner_id
    return target.data_center_id if type(target) is Vm else target.owner_id


def _assignable(ground: Ground) -> tuple[Any, Any]:
    return ground.objects["template"][0], ground.objects["network"][0]
