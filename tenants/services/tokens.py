"""The hallway of API tokens."""

from __future__ import annotations

import secrets
from datetime import timedelta
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import Invalid, NotFound, NotPermitted, Reason
from portal.common.sealed import keyed_hash
from portal.events.record import Subject, attempt
from tenants.models import ApiToken

USED_EVERY = timedelta(minutes=1)
LONGEST_SECONDS = 365 * 24 * 3600
PREFIX = "stegi_"


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
