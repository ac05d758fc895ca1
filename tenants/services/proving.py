"""Who asks by a log-in's cookie tells once more what that log-in took, before he gets something that outlives it."""

from __future__ import annotations

from portal.common.actor import Actor
from portal.common.errors import Invalid, NotAuthenticated, Reason, TooMany
from portal.common.sessions import began_at
from portal.events.record import Subject, attempt
from tenants.services.factors import factor_of, prove
from tenants.services.passwords import password_refusal

VERB = "TOKEN_PROVE"


def what_proves(actor: Actor) -> str:
    """What the actor is to tell: ``code`` of his second factor, or his ``password`` where his log-in took no code.

    A factor that was set up since the log-in began proves nothing: whoever has a stolen log-in can set one up.
    """
    factor, began = factor_of(actor.user), began_at(actor.session_key) if actor.session_key else None
    return "code" if factor is not None and began is not None and factor.created_at < began else "password"


def prove_by_cookie(actor: Actor, *, code: str = "", password: str = "") -> None:
    """The same at the API's door, where a token has been proven already."""
    if actor.session_key:
        prove_again(actor, code=code, password=password)


def prove_again(actor: Actor, *, code: str = "", password: str = "") -> None:
    """Take it. ``Invalid`` names the field; ``TooMany`` after too many wrong ones, which are counted as those of log-ins are."""
    if what_proves(actor) == "code":
        _prove_code(actor, code)
    else:
        _prove_password(actor, password)


def _prove_code(actor: Actor, code: str) -> None:
    try:
        prove(actor.user, code, actor=actor, verb=VERB)
    except NotAuthenticated as error:
        raise Invalid(error.detail, reasons=(Reason("code_wrong", error.detail, "code"),)) from error


def _prove_password(actor: Actor, password: str) -> None:
    refusal = password_refusal(actor, password, field="password")
    if isinstance(refusal, TooMany) and refusal.repeated:
        raise refusal
    with attempt(actor, VERB, Subject("user", actor.uid, actor.name)):
        if refusal is not None:
            raise refusal
