"""The hallway of API tokens: a person's own, and those of a data center, which act under a name of their own."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.common.access import access_changed
from portal.common.actor import Actor, Door
from portal.common.errors import Conflict, Invalid, NotAuthenticated, NotFound, NotPermitted, Reason
from portal.common.phrases import kept
from portal.common.sealed import keyed_hash
from portal.events.codes import Outcome, Severity
from portal.events.record import Subject, attempt, record
from tenants import bounds, policy
from tenants.holdings import CODENAME, live
from tenants.kinds import Kind, kinds, with_whole
from tenants.models import ApiToken, DataCenter, Role, System, User
from tenants.permits import EVERYTHING, Permit
from tenants.services.grant_ends import NEVER, end_of
from tenants.services.grants import hold_role
from tenants.services.people import authorize_people, persons, roles_to_give
from tenants.services.throttle import is_news, whose_address
from tenants.services.told import naming

USED_EVERY = timedelta(minutes=1)
SHORTEST_SECONDS = 60
LONGEST_SECONDS = 365 * 24 * 3600
MOST_CHOSEN = 50
PREFIX = "stegi_"
BAD_TOKEN = gettext_lazy("The token is unknown, expired or revoked.")


@dataclass(frozen=True, slots=True)
class TokenWish:
    """What a token is to be. ``permits`` empty: all that its user holds but for what lasts (``LASTING``); ``objects`` empty: all that he reaches."""

    name: str
    scope: str
    expires_in: int  # seconds
    permits: Sequence[str] = ()
    objects: Sequence[UUID] = ()


def create_token(
    actor: Actor,
    *,
    name: str,
    scope: str,
    expires_in: int,
    permits: Sequence[str] = (),
    objects: Sequence[UUID] = (),
) -> tuple[ApiToken, str]:
    """Make a token for the actor himself; the text is told once, a keyed hash is kept."""
    wish = TokenWish(name, scope, expires_in, permits, objects)
    with attempt(actor, "TOKEN_CREATE", Subject("token", None, wish.name)) as trial:
        _refuse_maker(actor, wish)
        _refuse_overtaken(actor)
        row, text = _made(actor, actor.user, wish)
        trial.subject = Subject("token", row.pk, wish.name)
    return row, text


def create_service_token(actor: Actor, data_center: UUID, wish: TokenWish, *, role: str) -> tuple[ApiToken, str]:
    """Make a token of a data center: an account without a password, which holds ``role`` there and nothing elsewhere.

    For those who look after its people, who give no more than they hold themselves. A name that was used before is the
    same account again, with what it made, for whoever holds all of that himself; one whose token lives is ``Conflict``.
    Its role ends with the token, which ends no later than the token that made it.
    """
    with attempt(actor, "TOKEN_CREATE", Subject("token", None, wish.name)) as trial:
        center = authorize_people(actor, data_center)
        trial.subject = Subject("token", None, wish.name, center.pk)
        _refuse_maker(actor, wish)
        if role not in {known.codename for known in roles_to_give()}:
            raise _invalid("role", _("There is no such role on a data center."))
        _refuse_bad(wish)
        ends_at = timezone.now() + timedelta(seconds=wish.expires_in)
        hold_role(actor, role, center, expires_at=ends_at, field="expires_in")
        account = _account(center, wish.name)
        _refuse_beyond_own(actor, account)
        _take_roles(actor, account, center)
        policy.grant(actor, role, account, center, expires_at=ends_at)
        row, text = _made(actor, account, wish)
        trial.subject = Subject("token", row.pk, wish.name, center.pk)
        trial.data = {"role": role}
    return row, text


def tokens_of(actor: Actor) -> QuerySet[ApiToken]:
    """One's own tokens; one that is for chosen permits or objects sees itself alone."""
    rows = ApiToken.objects.filter(user=actor.user)
    return rows.filter(pk__in=[actor.token_uid] if actor.token_uid else []) if actor.bounds else rows


def service_tokens(actor: Actor, data_center: UUID) -> QuerySet[ApiToken]:
    """The tokens of a data center, for those who look after its people."""
    center = authorize_people(actor, data_center)
    return ApiToken.objects.filter(user__service_of=center).select_related("user")


def role_names(data_center: UUID, tokens: Sequence[ApiToken]) -> dict[UUID, str]:
    """By token the name of the role that its account holds on this data center."""
    found = persons(DataCenter(pk=data_center), [token.user for token in tokens])
    return {
        token.pk: ", ".join(held.name for held in each.roles.values())
        for token, each in zip(tokens, found, strict=True)
    }


def token_behind(text: str) -> ApiToken | None:
    """The live token of this text, of a user who is active. Notes its use, to the minute."""
    now = timezone.now()
    row = (
        ApiToken.objects.select_related("user")
        .filter(hash=keyed_hash(text, purpose="token"), expires_at__gt=now, user__is_active=True)
        .first()
    )
    if row is not None and (row.last_used_at is None or row.last_used_at < now - USED_EVERY):
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=now)
    return row


def note_bad_token(text: str, *, client_address: str, request_id: str = "") -> None:
    """Put on record that somebody came with a token which is not good, once within some minutes: a program tries without end.

    A token that has ended, or whose user is disabled, is told by its name; whatever else by where it came from alone.
    """
    row = ApiToken.objects.select_related("user").filter(hash=keyed_hash(text, purpose="token")).first()
    if not is_news(str(row.pk) if row else whose_address(client_address), of="bad token"):
        return
    subject = Subject("token", row.pk, row.name, row.user.service_of_id) if row else Subject("token", None)
    why = "unknown" if row is None else "expired" if row.user.is_active else "user_disabled"
    record(
        Actor(user=None, door=Door.API, request_id=request_id, client_address=client_address),
        "TOKEN_LOGIN",
        outcome=Outcome.REFUSED,
        severity=Severity.WARNING,
        subject=subject,
        message=kept(BAD_TOKEN),
        data={"why": why} | ({"user": row.user.username} if row else {}),
    )


def revoke_token(actor: Actor, uid: UUID) -> None:
    """End one of the actor's own tokens; what was opened with it closes."""
    with attempt(actor, "TOKEN_REVOKE", Subject("token", None)) as trial:
        _refuse_reader(actor)
        if uid != actor.token_uid:
            bounds.refuse_bounded(actor)
        row = _found(tokens_of(actor), uid)
        trial.subject = Subject("token", uid, row.name)
        row.delete()
        access_changed([row.user_id])


def revoke_service_token(actor: Actor, data_center: UUID, uid: UUID) -> None:
    """End one of a data center's; its account keeps its name, and what it made. ``NotPermitted`` where it holds more there."""
    with attempt(actor, "TOKEN_REVOKE", Subject("token", None)) as trial:
        center = authorize_people(actor, data_center)
        _refuse_reader(actor)
        row = _found(service_tokens(actor, data_center), uid)
        trial.subject = Subject("token", uid, row.name, center.pk)
        row.delete()
        _take_roles(actor, row.user, center)
        User.objects.filter(pk=row.user_id).update(is_active=False)
        access_changed([row.user_id])


def choosable(actor: Actor, *, most: int) -> dict[str, list[tuple[UUID, str]]]:
    """What a token can be for, by kind of object: as far as the actor sees it, ``most`` of each."""
    return {
        kind.name: _named_apart(actor, kind, policy.visible(actor, seen, with_whole(kind))[:most])
        for kind in kinds()
        if (seen := policy.SEE.get(kind.name)) and kind.model is not System
    }


def _named_apart(actor: Actor, kind: Kind, rows: Iterable[Any]) -> list[tuple[UUID, str]]:
    """Each as it is called, with what tells it from others of the name."""
    name, listed = naming(actor), list(rows)
    told: Mapping[UUID, str] = {}
    if kind.apart is not None and len({str(row) for row in listed}) < len(listed):
        told = kind.apart([row.pk for row in listed], policy.holds_everywhere(actor, Permit.PROVIDER_VIEW))
    return [(row.pk, f"{name(row)} ({told[row.pk]})" if row.pk in told else name(row)) for row in listed]


def _made(actor: Actor, user: User, wish: TokenWish) -> tuple[ApiToken, str]:
    _refuse_bad(wish)
    text = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken.objects.create(
        user=user,
        name=wish.name,
        scope=wish.scope,
        permits=_named(wish),
        chosen=_chosen(actor, wish.objects),
        maker_name=actor.name,
        hash=keyed_hash(text, purpose="token"),
        expires_at=timezone.now() + timedelta(seconds=wish.expires_in),
    )
    return row, text


def _named(wish: TokenWish) -> list[str] | None:
    if EVERYTHING in wish.permits:
        return [EVERYTHING]
    return sorted(bounds.with_looking(Permit(each) for each in wish.permits)) or None


def _refuse_maker(actor: Actor, wish: TokenWish) -> None:
    if actor.scope != "write":
        raise NotPermitted(_("A token that may only read cannot make tokens."))
    bounds.refuse_bounded(actor)
    if actor.token_uid is not None:
        _refuse_outliving(actor.token_uid, wish)


def _refuse_overtaken(actor: Actor) -> None:
    """What ends his tokens, a new password or the end of his account, may have come since he said who he is; until the
    transaction ends it waits.
    """
    now = User.objects.select_for_update(no_key=True).filter(pk=actor.user.pk, is_active=True).first()
    if now is None or now.password != actor.user.password:
        raise NotAuthenticated(_("Your account or its password was changed meanwhile. Log in anew."))


def _refuse_outliving(token_uid: UUID, wish: TokenWish) -> None:
    """The end of a token would be worth nothing if it could make another that ends later."""
    end = ApiToken.objects.filter(pk=token_uid).values_list("expires_at", flat=True).first() or timezone.now()
    left = max(0, int((end - timezone.now()).total_seconds()))
    if wish.expires_in > left:
        text = _("What a token makes ends no later than the token itself: ask for %(left)d seconds at most, or log in.")
        told = text % {"left": left}
        raise NotPermitted(told, reasons=(Reason("longer_than_own", told, "expires_in", {"maximum": left}),))


def _refuse_reader(actor: Actor) -> None:
    if actor.scope != "write":
        raise NotPermitted(_("A token that may only read cannot end tokens."))


def _refuse_bad(wish: TokenWish) -> None:
    if not SHORTEST_SECONDS <= wish.expires_in <= LONGEST_SECONDS:
        text = _("A token lives between 60 seconds and one year (in seconds).")
        limits = {"minimum": SHORTEST_SECONDS, "maximum": LONGEST_SECONDS}
        raise Invalid(text, reasons=(Reason("expires_in_out_of_range", text, "expires_in", limits),))
    if unknown := sorted(set(wish.permits) - {*Permit, EVERYTHING}):
        raise _invalid("permits", _("There is no permit %(names)s.") % {"names": ", ".join(unknown)[:200]})
    if len(wish.objects) > MOST_CHOSEN:
        text = _("A token is for %(most)d objects at most. Choose their data center instead.")
        raise _invalid("objects", text % {"most": MOST_CHOSEN})


def _chosen(actor: Actor, objects: Sequence[UUID]) -> list[dict[str, str]]:
    """The objects by kind and name. Raises ``Invalid`` for what the actor does not see."""
    missing, found = set(objects), []
    for kind in kinds():
        seen = policy.SEE.get(kind.name)
        if missing and seen and kind.model is not System:
            rows = policy.visible(actor, seen, kind.model._default_manager.filter(pk__in=missing))
            found += [{"kind": kind.name, "id": str(row.pk), "name": str(row)} for row in rows]
            missing -= {UUID(one["id"]) for one in found}
    if missing:
        text = _("There is no such object, or you may not see it: %(uid)s.")
        raise _invalid("objects", text % {"uid": sorted(map(str, missing))[0]})
    return found


def _account(center: DataCenter, name: str) -> User:
    """The account of this name, made or woken. A person's name has no slash, so that none can be taken for another."""
    username = f"{center.name}/{name}"
    row = User.objects.filter(username=username).first() or User(username=username, service_of=center)
    lives = (
        ApiToken.objects.filter(user=row, expires_at__gt=timezone.now()).exists() if not row._state.adding else False
    )
    if row.service_of_id != center.pk or lives:
        text = _("A token of this name lives. Revoke it first, or choose another name.")
        raise Conflict(text, reasons=(Reason("name_taken", text, "name"),))
    row.is_active, row.display_name = True, name
    row.set_unusable_password()
    row.save()
    ApiToken.objects.filter(user=row).delete()
    return row


def _refuse_beyond_own(actor: Actor, account: User) -> None:
    """Whoever wakes an account acts by what it holds still, its machines above all: that must be his to give."""
    worth = dict(Role.objects.values_list("codename", "permits"))
    for grants in (kind.user_grants for kind in kinds() if kind.user_grants is not None):
        held = live(grants._default_manager.filter(user=account))
        rows = list(held.select_related("permission", "content_object"))
        mine = policy.permits_on(actor, {row.content_object for row in rows})
        for row in rows:
            needed = {Permit.GRANT, *worth.get(row.permission.codename.removeprefix(CODENAME), ())}
            if not needed <= mine[row.content_object_id]:
                text = _(
                    "A program of this name was here before and still holds more than you do. Choose another name."
                )
                raise NotPermitted(text, reasons=(Reason("name_beyond_own", text, "name"),))
            end = end_of(actor, needed, row.content_object)
            if end is not None and end < (row.expires_at or NEVER):
                text = _(
                    "A program of this name was here before and holds for longer what you hold until %(end)s only. Choose "
                    "another name."
                )
                told = text % {"end": date_format(timezone.localtime(end), "SHORT_DATETIME_FORMAT")}
                raise NotPermitted(told, reasons=(Reason("longer_than_own", told, "name"),))


def _take_roles(actor: Actor, account: User, center: DataCenter) -> None:
    [found] = persons(center, [account])
    for role in found.roles:
        policy.revoke(actor, role, account, center)


def _found(rows: QuerySet[ApiToken], uid: UUID) -> ApiToken:
    row = rows.select_related("user").filter(pk=uid).first()
    if row is None:
        raise NotFound(_("There is no such token."))
    return row


def _invalid(field: str, text: str) -> Invalid:
    return Invalid(text, reasons=(Reason(f"{field}_invalid", text, field),))
