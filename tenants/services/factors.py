"""The hallway of second factors: getting one, proving it, losing it, and of which roles it is asked.

The secret is sealed; recovery codes are kept as keyed hashes and open once. A code is taken once, and tries are counted
as those of passwords are. Until a secret is proven nothing is written: the form carries it, sealed.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import pyotp
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.common.access import access_changed
from portal.common.actor import Actor, Door
from portal.common.errors import (
    Conflict,
    Invalid,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    PortalError,
    Reason,
    TooMany,
    Unavailable,
)
from portal.common.models import Session
from portal.common.sealed import SealBroken, keyed_hash, seal, seal_json, unseal, unseal_json
from portal.events.record import Subject, attempt, trying
from tenants import policy
from tenants.holdings import Holdings
from tenants.models import RecoveryCode, Role, SecondFactor, User
from tenants.permits import Permit
from tenants.services.standing import refuse_to_let_in
from tenants.services.throttle import CODE, give_back, give_back_of_day, is_news, take_of_day, take_try, whose_address

ISSUER = "Stegi"
STEP_SECONDS = 30
SKEW = (0, -1, 1)  # half minutes that a telephone's clock may be off
RECOVERY_CODES = 10
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is mistaken for another
RECOVERY_LENGTH = 10  # some 49 bits
BEGUN_SECONDS = 1800
ASKING = (Permit.USER_MANAGE, Permit.SYSTEM_MANAGE)


@dataclass(frozen=True, slots=True)
class Begun:
    """A secret that is not proven yet: for the app to read, and as the form carries it."""

    secret: str
    uri: str
    sealed: str


def factor_of(user: User) -> SecondFactor | None:
    """A person's second factor."""
    return SecondFactor.objects.filter(user=user).first()


def recovery_codes_left(user: User) -> int:
    """How many codes can still be used."""
    return RecoveryCode.objects.filter(user=user, used_at=None).count()


def is_asked_of(user: User) -> bool:
    """Whether a role that this person holds on the system or on a data center asks for a second factor."""
    asking = set(Role.objects.filter(needs_factor=True).values_list("codename", flat=True))
    if not asking:
        return False
    mine = Holdings(Actor(user=user, door=Door.PAGE))
    return bool(asking & set(mine.system)) or any(asking & set(roles) for roles in mine.centers.by_object.values())


def begin(actor: Actor, sealed: str = "") -> Begun:
    """A new secret for the actor, or again the one that a form of his carries. Nothing is written."""
    _refuse_token(actor)
    if factor_of(actor.user) is not None:
        raise Conflict(_("You have a second factor. Remove it first to set up another."))
    secret = _carried(actor, sealed) or pyotp.random_base32()
    uri = pyotp.TOTP(secret).provisioning_uri(name=actor.name, issuer_name=ISSUER)
    carried = sealed if sealed and _carried(actor, sealed) else ""
    return Begun(secret, uri, carried or seal_json({"for": str(actor.uid), "secret": secret, "at": int(time.time())}))


def confirm(actor: Actor, sealed: str, code: str) -> list[str]:
    """Have the secret, once its first code proves that the app holds it. The recovery codes, told this once."""
    with attempt(actor, "FACTOR_ADD", Subject("user", actor.uid, actor.name)):
        _refuse_token(actor)
        if factor_of(actor.user) is not None:
            raise Conflict(_("You have a second factor. Remove it first to set up another."))
        secret = _carried(actor, sealed)
        if not secret:
            raise Conflict(_("This page was open for too long. Begin again with a new secret."))
        step = _step_of(secret, _digits(code))
        if step is None:
            text = _("That is not the code of this secret. Check that the clock of your telephone is right.")
            raise Invalid(text, reasons=(Reason("code_wrong", text, "code"),))
        SecondFactor.objects.create(user=actor.user, sealed_secret=seal(secret), last_step=step)
        return _new_codes(actor.user)


def prove(user: User, code: str, *, actor: Actor, device: str = "", verb: str = "LOGIN_CODE") -> None:
    """Take a code of the app, or a recovery code, each of them once.

    Raises ``NotAuthenticated`` for a wrong or used one, and ``TooMany`` after too many.
    """
    found = _proven(user, code, actor, device)  # before the transaction: the count of a refused try must stay
    if isinstance(found, TooMany) and found.repeated:
        raise found
    who = actor if found is not None else replace(actor, user=user)  # whoever comes with a wrong code is nobody yet
    with attempt(who, verb, Subject("user", user.pk, user.username)):
        if found is not None:
            raise found


def refuse_stale(actor: Actor) -> NotAuthenticated:
    """Put on record, once in a while for each address, that a code came without a first step that still counts; what to answer."""
    error = NotAuthenticated(_("That took too long. Log in again."))
    if is_news(whose_address(actor.client_address), of="stale log-in"):
        with suppress(NotAuthenticated), attempt(actor, "LOGIN_CODE", Subject("user", None)):
            raise error
    return error


def check_code(user: User, code: str, *, actor: Actor) -> None:
    """The second step of a log-in over the API, for whoever has a second factor or must have one.

    Raises as ``prove``, and ``NotPermitted`` for whoever must set one up first.
    """
    asking = replace(actor, user=None)
    if factor_of(user) is not None:
        if not code:
            text = _("This account has a second factor: send its code as well.")
            with attempt(asking, "LOGIN_CODE", Subject("user", user.pk, user.username)):
                raise NotAuthenticated(text, reasons=(Reason("code_missing", text, "code"),))
        prove(user, code, actor=asking)
    elif is_asked_of(user):
        with attempt(asking, "LOGIN_CODE", Subject("user", user.pk, user.username)):
            raise NotPermitted(_("Your role asks for a second factor. Log in by a browser and set it up first."))


def renew_codes(actor: Actor, code: str) -> list[str]:
    """Other recovery codes; those of before are worth nothing."""
    with trying(actor, "FACTOR_RENEW", Subject("user", actor.uid, actor.name)):
        _refuse_token(actor)
        _own(actor)
    prove(actor.user, code, actor=actor, verb="FACTOR_RENEW")
    return _new_codes(actor.user)


def remove(actor: Actor, code: str) -> None:
    """Be without a second factor, by one more code of it."""
    with trying(actor, "FACTOR_REMOVE", Subject("user", actor.uid, actor.name)):
        _refuse_token(actor)
        factor = _own(actor)
    prove(actor.user, code, actor=actor, verb="FACTOR_REMOVE")
    _forget(factor.user)


def reset(actor: Actor, user: User) -> None:
    """Take a lost second factor from somebody, for those who manage users; never one's own, nor of one who is above them.

    It ends his log-ins: one of them may be in the hands of whoever has the telephone now.
    """
    with attempt(actor, "FACTOR_RESET", Subject("user", user.pk, user.username)):
        if not actor.is_system:
            policy.authorize(actor, Permit.USER_MANAGE, policy.system())
        if actor.uid == user.pk:
            raise Conflict(
                _("Remove your own second factor with a code of it. Without one another super-admin can help.")
            )
        if factor_of(user) is None:
            raise NotFound(_("%(name)s has no second factor.") % {"name": user})
        refuse_to_let_in(actor, user)
        _forget(user)
        Session.objects.filter(user_uid=user.pk).delete()
        access_changed([user.pk])


def ranks(actor: Actor) -> list[Role]:
    """The roles of which a second factor can be asked. Raises ``NotPermitted`` for whoever lacks one of ``ASKING``.

    To manage users is not enough: who holds more than that may be asked for less, too.
    """
    for permit in ASKING:
        policy.authorize(actor, permit, policy.system())
    return [row for row in Role.objects.order_by("name") if Permit.DATA_CENTER_VIEW in row.permits]


def may_ask(actor: Actor) -> bool:
    """Whether the actor chooses of which roles a second factor is asked."""
    return set(ASKING) <= policy.permits_on(actor, [policy.system()])[policy.system().pk]


def ask_of(actor: Actor, codenames: Sequence[str]) -> None:
    """Ask for a second factor of these roles and of no others, from the next log-in on."""
    with attempt(actor, "FACTOR_ASK", Subject("system", None)) as trial:
        known = {row.codename for row in ranks(actor)}
        if unknown := sorted(set(codenames) - known):
            text = _("There is no role %(role)s.") % {"role": unknown[0][:64]}
            raise Invalid(text, reasons=(Reason("role_invalid", text, "roles"),))
        trial.data = {"roles": sorted(set(codenames))}
        Role.objects.filter(codename__in=known).update(needs_factor=False)
        Role.objects.filter(codename__in=codenames).update(needs_factor=True)


def _proven(user: User, code: str, actor: Actor, device: str) -> PortalError | None:
    key = str(user.pk)
    try:
        take_try(key, actor.client_address, device=device, of=CODE)
        take_of_day(key, device=device)
    except TooMany as error:
        return error
    try:
        taken = _takes(user, code)
    except Unavailable as error:
        return error
    if not taken:
        return NotAuthenticated(_("The code is wrong, or was used already. Wait for the next one of your app."))
    give_back(key, actor.client_address, device=device, of=CODE)
    give_back_of_day(key, device=device)
    return None


def _takes(user: User, code: str) -> bool:
    factor = factor_of(user)
    if factor is None:
        return False
    digits = _digits(code)
    if len(digits) == 6 and digits.isdigit():
        step = _step_of(_opened(factor), digits)
        rows = SecondFactor.objects.filter(pk=factor.pk)
        return step is not None and bool(rows.filter(last_step__lt=step).update(last_step=step))
    unused = RecoveryCode.objects.filter(user=user, hash=_recovery_hash(user, digits), used_at=None)
    return bool(unused.update(used_at=timezone.now()))


def _opened(factor: SecondFactor) -> str:
    try:
        return unseal(factor.sealed_secret)
    except SealBroken as error:
        text = _("The second factor cannot be read here. Use a recovery code, or ask a super-admin to reset it.")
        raise Unavailable(text, private=f"second factor {factor.pk}: no key in SEAL_KEYS opens it") from error


def _step_of(secret: str, digits: str) -> int | None:
    """The half minute whose code this is, near now; None when it is none."""
    totp, now = pyotp.TOTP(secret), int(time.time()) // STEP_SECONDS
    near = [now + skew for skew in SKEW]
    return next((one for one in near if hmac.compare_digest(totp.at(one * STEP_SECONDS), digits)), None)


def _digits(code: str) -> str:
    """As people type it: in groups, with capitals. ASCII, which is all that codes are made of."""
    return "".join(char for char in code.lower()[:64] if char.isascii() and char.isalnum())


def _new_codes(user: User) -> list[str]:
    codes = ["".join(secrets.choice(ALPHABET) for _ in range(RECOVERY_LENGTH)) for _ in range(RECOVERY_CODES)]
    with transaction.atomic():
        RecoveryCode.objects.filter(user=user).delete()
        RecoveryCode.objects.bulk_create([RecoveryCode(user=user, hash=_recovery_hash(user, code)) for code in codes])
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def _recovery_hash(user: User, code: str) -> str:
    return keyed_hash(f"{user.pk} {code}", purpose="recovery code")


def _carried(actor: Actor, sealed: str) -> str:
    try:
        carried = unseal_json(sealed)
    except SealBroken:
        return ""
    is_own = carried.get("for") == str(actor.uid) and time.time() - carried.get("at", 0) < BEGUN_SECONDS
    return str(carried["secret"]) if is_own and "secret" in carried else ""


def _own(actor: Actor) -> SecondFactor:
    factor = factor_of(actor.user)
    if factor is None:
        raise NotFound(_("You have no second factor."))
    return factor


def _forget(user: User) -> None:
    with transaction.atomic():
        SecondFactor.objects.filter(user=user).delete()
        RecoveryCode.objects.filter(user=user).delete()


def _refuse_token(actor: Actor) -> None:
    """Whoever found a token would have the factor himself, and its owner none."""
    if actor.token_uid is not None:
        raise NotPermitted(_("A token cannot change a second factor. Log in by a browser."))
