"""The hallway of log-ins by password, and of API tokens."""

from __future__ import annotations

import secrets
from datetime import timedelta
from uuid import UUID

from django.contrib.auth import authenticate
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.common.actor import Actor, Door
from portal.common.errors import Invalid, NotAuthenticated, NotFound, NotPermitted, PortalError, Reason, TooMany
from portal.common.sealed import keyed_hash
from portal.events.record import Subject, attempt
from tenants.models import ApiToken, User
from tenants.services.throttle import give_back, take_try

USED_EVERY = timedelta(minutes=1)
LONGEST_SECONDS = 365 * 24 * 3600
PREFIX = "stegi_"


def check_password(
    username: str,
    password: str,
    *,
    client_address: str,
    request_id: str = "",
    door: Door = Door.PAGE,
    device: str = "",
) -> User:
    """The user behind a name and password. Raises ``NotAuthenticated``, or ``TooMany`` after too many wrong ones.

    ``device``: what a browser has of an earlier log-in of this name (``throttle``). Empty passwords and NUL are refused before anything is asked. The answer is the same for an unknown name.
    """
    actor = Actor(user=None, door=door, request_id=request_id, client_address=client_address)
    # Before the transaction: hashing takes long, and the count of a refused try must stay.
    found = _authenticated(username, password, client_address, device)
    if isinstance(found, TooMany) and found.repeated:
        raise found  # the first is on record; whoever is refused without end must not fill the log
    with attempt(actor, "LOGIN", _named(username)) as trial:
        if not isinstance(found, User):
            raise found
        trial.subject = Subject("user", found.pk, found.username)
    return found


def _named(username: str) -> Subject:
    """The user of that name. What names nobody is not written down: it may be a password in the wrong field."""
    known = None if "\x00" in username else User.objects.filter(username=username).first()
    return Subject("user", known.pk, known.username) if known else Subject("user", None)


def _authenticated(username: str, password: str, client_address: str, device: str) -> User | PortalError:
    try:
        take_try(username, client_address, device=device)
    except TooMany as error:
        return error
    user = None
    if password.strip() and "\x00" not in password + username:
        user = authenticate(username=username, password=password)
    if not isinstance(user, User):
        return NotAuthenticated(_("The user name or the password is wrong."))
    give_back(username, client_address, device=device)
    return user


def create_token(actor: Actor, *, name: str, scope: str, expires_in: int) -> tuple[ApiToken, str]:
    """Make a token for the actor himself; the text is told once, a keyed hash is kept."""
    with attempt(actor, "TOKEN_CREATE", Subject("token", None, name)) as trial:
        if actor.scope != "write":
            raise NotPermitted(_("A token that may only read cannot make tokens."))
        if not 60 <= expires_in <= LONGEST_SECONDS:
            text = _("A token lives between 60 seconds and one year (in seconds).")
            raise Invalid(
                text,
                reasons=(
                    Reason("expires_in_out_of_range", text, "expires_in", {"minimum": 60, "maximum": LONGEST_SECONDS}),
                ),
            )
        text = PREFIX + secrets.token_urlsafe(32)
        row = ApiToken.objects.create(
            user=actor.user,
            name=name,
            scope=scope,
            hash=keyed_hash(text, purpose="token"),
            expires_at=timezone.now() + timedelta(seconds=expires_in),
        )
        trial.subject = Subject("token", row.pk, name)
    return row, text


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


def revoke_token(actor: Actor, uid: UUID) -> None:
    """End one of the actor's own tokens."""
    with attempt(actor, "TOKEN_REVOKE", Subject("token", None)):
        if actor.scope != "write":
            raise NotPermitted(_("A token that may only read cannot end tokens."))
        if not ApiToken.objects.filter(pk=uid, user=actor.user).delete()[0]:
            raise NotFound(_("There is no such token."))
