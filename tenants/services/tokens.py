"""The hallway of log-ins by password, and of API tokens."""

from __future__ import annotations

import secrets
from datetime import timedelta
from uuid import UUID

from django.contrib.auth import authenticate
from django.core.cache import cache
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.common.actor import Actor, Door
from portal.common.errors import Invalid, NotAuthenticated, NotFound, Reason, TooMany
from portal.common.sealed import keyed_hash
from portal.events.record import Subject, attempt
from tenants.models import ApiToken, User

TRIES = 10
TRY_SECONDS = 300
LONGEST_SECONDS = 365 * 24 * 3600
PREFIX = "stegi_"


def check_password(
    username: str, password: str, *, client_address: str, request_id: str = "", door: Door = Door.PAGE
) -> User:
    """The user behind a name and password. Raises ``NotAuthenticated``, or ``TooMany`` after too many wrong ones.

    Empty passwords and NUL are refused before anything is asked. The answer is the same for an unknown name.
    """
    keys = [
        f"login:{keyed_hash(username.lower(), purpose='login')}",
        f"login-from:{keyed_hash(client_address, purpose='login')}",
    ]
    actor = Actor(user=None, door=door, request_id=request_id, client_address=client_address)
    with attempt(actor, "LOGIN", Subject("user", None, username[:150])) as trial:
        if any(cache.get(key, 0) >= TRIES * (1 if number == 0 else 5) for number, key in enumerate(keys)):
            raise TooMany(_("Too many wrong passwords. Wait five minutes."), data={"retry_after": TRY_SECONDS})
        user = None
        if password.strip() and "\x00" not in password + username:
            user = authenticate(username=username, password=password)
        if not isinstance(user, User):
            for key in keys:
                cache.add(key, 0, TRY_SECONDS)
                cache.incr(key)
            raise NotAuthenticated(_("The user name or the password is wrong."))
        cache.delete(keys[0])
        trial.subject = Subject("user", user.pk, user.username)
    return user


def create_token(actor: Actor, *, name: str, scope: str, expires_in: int) -> tuple[ApiToken, str]:
    """Make a token for the actor himself; the text is told once, a keyed hash is kept."""
    with attempt(actor, "TOKEN_CREATE", Subject("token", None, name)) as trial:
        if actor.scope != "write":
            raise NotAuthenticated(_("A token that may only read cannot make tokens."))
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
    """The live token of this text, of a user who is active."""
    rows = ApiToken.objects.select_related("user").filter(
        hash=keyed_hash(text, purpose="token"), expires_at__gt=timezone.now(), user__is_active=True
    )
    return rows.first()


def revoke_token(actor: Actor, uid: UUID) -> None:
    """End one of the actor's own tokens."""
    with attempt(actor, "TOKEN_REVOKE", Subject("token", None)):
        if actor.scope != "write":
            raise NotAuthenticated(_("A token that may only read cannot end tokens."))
        if not ApiToken.objects.filter(pk=uid, user=actor.user).delete()[0]:
            raise NotFound(_("There is no such token."))
