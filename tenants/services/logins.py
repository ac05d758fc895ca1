"""Whether a log-in is still good, for those who stay longer than a request: open sockets."""

from __future__ import annotations

from importlib import import_module
from uuid import UUID

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.core.exceptions import ValidationError
from django.db.models.functions import Now
from django.utils.crypto import constant_time_compare

from portal.common.actor import Bounds
from portal.common.sessions import OWES_FACTOR
from tenants.models import ApiToken, User

SessionStore = import_module(settings.SESSION_ENGINE).SessionStore


def user_of_session(session_key: str) -> User | None:
    """The active user whom this session logs in; None once it ended or expired, or the password was changed.

    None too for who must set up a second factor first.

    Unlike ``django.contrib.auth.get_user`` it changes nothing: no new key behind the browser's back.
    """
    if not session_key:
        return None
    session = SessionStore(session_key)
    if session.get(OWES_FACTOR):
        return None
    user = _active(session.get(SESSION_KEY))
    if user is None or not _is_of_present_password(session.get(HASH_SESSION_KEY, ""), user):
        return None
    return user


def bounds_of_token(token_uid: UUID) -> Bounds:
    """To what a token keeps whoever acts by it; to nothing at all once it is revoked."""
    token = ApiToken.objects.filter(uid=token_uid).first()
    return token.bounds if token else Bounds(permits=frozenset())


def user_of_token(token_uid: UUID) -> User | None:
    """The active user whom this API token speaks for; None once it was revoked or expired."""
    live = ApiToken.objects.filter(uid=token_uid, expires_at__gt=Now(), user__is_active=True)
    token = live.select_related("user").first()
    return token.user if token else None


def _active(uid: str | None) -> User | None:
    if not uid:
        return None
    try:
        return User.objects.filter(pk=uid, is_active=True).first()
    except ValidationError:
        return None


def _is_of_present_password(found: str, user: User) -> bool:
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(found, one) for one in hashes)
