"""The hallway of explanations: why somebody may or may not do something with an object, told to whoever may know."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Model, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import Invalid, NotFound, PortalError, Reason
from tenants import policy
from tenants.holdings import CODENAME, live
from tenants.kinds import around, kind_named, kind_of, kinds, owner_of
from tenants.models import ApiToken, DataCenter, Directory, Role, System, User
from tenants.models.data_center import SYSTEM_UID
from tenants.permit_words import in_order, permits_for
from tenants.permits import Permit
from tenants.policy import SEE, Explanation, people_of
from tenants.remedies import Remedy, Scope, remedy
from tenants.services.told import gives, people_told, places_told

LONGEST = 200  # of what is asked, as far as it is repeated


@dataclass(frozen=True, slots=True)
class Link:
    """One way to a yes: the role, on what it is held, and through which group. ``role`` empty: not the asker's to know."""

    role: str
    role_name: str
    scope: Scope
    assigned: bool = False  # the scope may merely use the object
    group: str = ""
    directory: str = ""
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a user holds a permit on an object; every way to it, or what would help. No remedy: no grant would."""

    user: User
    permit: Permit
    target: Model
    allowed: bool
    sentence: str
    chain: tuple[Link, ...] = ()
    remedy: Remedy | None = None
    remedy_name: str = ""  # of the role

    @property
    def kind(self) -> str:
        """The kind of the object."""
        return kind_of(type(self.target)).name


def explain(asker: Actor, *, permit: str, about: str, user: str = "") -> Answer:
    """Why, or why not. ``about`` is ``kind:uid`` or ``system``; ``user`` a uid or user name, empty for oneself.

    Raises ``Invalid`` that names the field, ``NotFound`` for what the asker may not see or whom he may not know, and
    ``NotPermitted`` where he asks for another and may not give roles there.
    """
    target = object_of(asker, about)
    wanted = _permit(permit, kind_of(type(target)).name)
    subject = subject_of(asker, target, user)
    found = policy.explain(subject, wanted, target)
    person: User = subject.user
    if found.allowed:
        chain = _chain(asker, subject, target, found)
        said = _("%(name)s may. Each of these roles is enough:") % {"name": person}
        return Answer(person, wanted, target, allowed=True, sentence=said, chain=chain)
    helping = remedy(asker, wanted, target)
    if obstacle := _obstacle(subject, target, found, helping):
        return Answer(person, wanted, target, allowed=False, sentence=obstacle)
    name = _role_names(helping.roles[:1])[helping.roles[0]]
    said = _("%(name)s lacks the permit %(permit)s here.") % {"name": person, "permit": wanted.value}
    return Answer(person, wanted, target, allowed=False, sentence=said, remedy=helping, remedy_name=name)


def permits_of(asker: Actor, *, about: str, user: str = "") -> tuple[Model, User, list[tuple[Permit, bool]]]:
    """Each permit that means something on an object, and whether the user holds it. Raises as ``explain``."""
    target = object_of(asker, about)
    subject = subject_of(asker, target, user)
    held = policy.permits_on(subject, [target])[target.pk]
    kind = kind_of(type(target)).name
    return target, subject.user, [(permit, permit in held) for permit in in_order(permits_for(kind), kind)]


def object_of(asker: Actor, text: str) -> Model:
    """The object of ``kind:uid``, if the asker may see it. That there is the whole system (``system``) is no secret."""
    name, _colon, uid = text.partition(":")
    kind = kind_named(name)
    if name == "system" and uid in {"", str(SYSTEM_UID)}:
        return policy.system()
    if kind is None or kind.name not in SEE or kind.model is System:
        known = ", ".join(sorted({each.name for each in kinds()} & set(SEE)))
        said = _("Write the object as kind:id, with one of these kinds: %(kinds)s.") % {"kinds": known}
        raise _invalid("object", said)
    try:
        wanted = UUID(uid)
    except ValueError:
        raise _invalid("object", _("Write the object as kind:id, with its id as the portal shows it.")) from None
    row = policy.visible(asker, SEE[kind.name], kind.model._default_manager.all()).filter(pk=wanted).first()
    if row is None:
        raise NotFound(_("There is no such object, or you may not see it."))
    return row


def may_ask_for_others(asker: Actor, target: Model) -> bool:
    """Whether the asker administers the object: whoever may give roles on it may ask why others may or may not."""
    return gives(asker, target)


def subject_of(asker: Actor, target: Model, user: str) -> Actor:
    """Whom it is about, acting: the asker as he is, or another whom he administers. Raises as ``explain``."""
    if not user or user in {str(asker.uid), asker.name}:
        return asker
    policy.authorize(asker, Permit.GRANT, target)
    found = User.objects.filter(Q(pk=_uid(user)) if _uid(user) else Q(username=user[:LONGEST])).first()
    if found is not None and found.pk == asker.uid:
        return asker
    if found is None or not _knows(asker, found, target):
        text = _("There is no such user, or you may not know.")
        raise NotFound(text, reasons=(Reason("user_unknown", text, "user"),))
    return _acting(found, asker)


def _acting(user: User, asker: Actor) -> Actor:
    """The user at his best; a program of a data center by its token, of which it has no more than one that lives."""
    whole = Actor(user=user, door=asker.door, request_id=asker.request_id)
    token = ApiToken.objects.filter(user=user, expires_at__gt=timezone.now()).first() if user.service_of_id else None
    return replace(whole, token_uid=token.pk, scope=token.scope, bounds=token.bounds) if token else whole


def _knows(asker: Actor, user: User, target: Model) -> bool:
    """Everybody for those who manage users; else who is of the data center that one administers, or holds the object."""
    if policy.holds_everywhere(asker, Permit.USER_MANAGE):
        return True
    owner = owner_of(target)
    if owner is not None and gives(asker, owner):
        return user.pk in people_of(owner)
    told = people_told(asker, target)
    if told is not None and user.pk not in told.users:
        return False
    return any(_grants(scope, user).exists() for scope in places_told(asker, target))


def _grants(scope: Model, user: User) -> Any:
    return live(kind_of(type(scope)).user_grants._default_manager.filter(content_object=scope, user=user))


def _permit(text: str, kind: str) -> Permit:
    found = next((permit for permit in permits_for(kind) if permit.value == text), None)
    if found is None:
        said = _("There is no such permit on an object of this kind. There are: %(permits)s.")
        raise _invalid("permit", said % {"permits": ", ".join(permit.value for permit in permits_for(kind))})
    return found


def _obstacle(subject: Actor, target: Model, found: Explanation, helping: Remedy) -> str:
    """What keeps somebody from it whatever he is given; empty when a grant would help."""
    if not subject.user.is_active:
        return _("The account of %(name)s is disabled, so it may do nothing.") % {"name": subject.user}
    owner = owner_of(target)
    if owner is not None and not owner.enabled:
        text = _(
            "The data center %(name)s is disabled: until a super-admin enables it again, its people may do nothing here."
        )
        return text % {"name": owner.name}
    if not helping.roles:
        return _("No role has this permit: a super-admin would have to make one first.")
    # Of a token: it bounds what its user may, and no grant widens it.
    return "" if found.helping_roles else found.sentence


def _chain(asker: Actor, subject: Actor, target: Model, found: Explanation) -> tuple[Link, ...]:
    ways = found.derivation
    if subject is not asker and not policy.holds_everywhere(asker, Permit.GRANT):
        # Who runs the institute is none of a department's matter, nor what is given on all of which it has a part.
        told = {scope.pk for scope in places_told(asker, target)} | {way["uid"] for way in ways if way["assigned"]}
        ways = tuple(way if way["uid"] in told else way | {"role": "", "group": ""} for way in ways)
    names = _role_names({way["role"] for way in ways})
    groups = _directories({way["group"] for way in ways})
    ends = _expiries(subject.user, found)
    places = {way["uid"] for way in ways if way["ancestor"] == "data_center"}
    scopes = dict(DataCenter.objects.filter(pk__in=places).order_by().values_list("pk", "name"))
    scopes |= {SYSTEM_UID: ""} | {scope.pk: str(scope) for scope in around(target) if scope.pk != SYSTEM_UID}
    return tuple(
        Link(
            way["role"],
            names.get(way["role"], ""),
            Scope(way["ancestor"], way["uid"], scopes.get(way["uid"], "")),
            assigned=way["assigned"],
            group=way["group"],
            directory=groups.get(way["group"], ""),
            expires_at=ends.get((way["uid"], way["role"], way["group"])),
        )
        for way in ways
    )


def _role_names(codenames: Any) -> dict[str, str]:
    return dict(Role.objects.filter(codename__in=list(codenames)).order_by().values_list("codename", "name"))


def _directories(groups: Any) -> dict[str, str]:
    """For each of these groups that comes from a directory, the directory's name."""
    rows = Directory.objects.filter(groups__group__name__in=[name for name in groups if name]).order_by()
    return dict(rows.values_list("groups__group__name", "name"))


def _expiries(user: User, found: Explanation) -> dict[tuple[UUID, str, str], datetime]:
    """When the grants of a derivation end, by (scope, role, group); those that do not end are left out."""
    ends: dict[tuple[UUID, str, str], datetime] = {}
    for ancestor in {way["ancestor"] for way in found.derivation}:
        kind = kind_named(ancestor)
        if kind is None:
            continue
        uids = [way["uid"] for way in found.derivation if way["ancestor"] == ancestor]
        for table, who, group in ((kind.user_grants, "user", ""), (kind.group_grants, "group__user", "group__name")):
            rows = live(table._default_manager.filter(**{who: user}, content_object__in=uids, expires_at__isnull=False))
            fields = ["content_object_id", "permission__codename", "expires_at", *([group] if group else [])]
            for uid, codename, end, *through in rows.order_by().values_list(*fields):
                ends[(uid, codename.removeprefix(CODENAME), through[0] if through else "")] = end
    return ends


def _uid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _invalid(field: str, text: str) -> PortalError:
    return Invalid(text, reasons=(Reason(f"{field}_invalid", text, field),))
