"""Who opens a websocket: a browser that is logged in, or the bearer of an API token."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import parse_cookie
from django.utils.translation import get_supported_language_variant

from portal.common.actor import Actor, Door
from portal.common.http import client_address
from portal.common.origins import is_own_origin
from tenants.services.logins import user_of_session
from tenants.services.tokens import note_bad_token, token_behind
from tenants.services.viewing import Over, view_of_session

BEARER = "bearer "


def header(scope: dict[str, Any], name: str) -> str:
    """A header of the handshake; empty when it was not sent, or sent more than once."""
    found = [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name.encode()]
    return found[0] if len(found) == 1 else ""


def actor_of_scope(scope: dict[str, Any]) -> Actor | None:
    """Read anew from the rows at every call: a log-out, a revoked token or a disabled user is seen at the next."""
    authorization = header(scope, "authorization")
    if authorization:
        return _of_token(_bearer(authorization))
    return _of_session(parse_cookie(header(scope, "cookie")).get(settings.SESSION_COOKIE_NAME, ""))


def note_stranger(scope: dict[str, Any]) -> None:
    """Put on record who came to open a socket with a token that is not good: a handshake, and no later look, is a try."""
    if text := _bearer(header(scope, "authorization")):
        note_bad_token(text, client_address=address_of(scope))


def address_of(scope: dict[str, Any]) -> str:
    """The real client's address, behind the trusted proxies."""
    hops = [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == b"x-forwarded-for"]
    return client_address((scope.get("client") or ("",))[0], ", ".join(hops))


def comes_from_us(scope: dict[str, Any]) -> bool:
    """Whether the page that opens the socket is ours; a program, which has a token or nothing at all, sends no origin."""
    origin = header(scope, "origin")
    if not origin:
        is_program = bool(header(scope, "authorization")) or not header(scope, "cookie")
        return is_program and not any(key.lower() == b"origin" for key, _ in scope["headers"])
    return is_own_origin(origin, own=settings.PUBLIC_ORIGINS)


def language_of(scope: dict[str, Any]) -> str:
    """The language that the pages of this browser have."""
    chosen = parse_cookie(header(scope, "cookie")).get(settings.LANGUAGE_COOKIE_NAME, "")
    accepted = [part.partition(";")[0].strip() for part in header(scope, "accept-language").split(",")]
    for wanted in (chosen, *accepted):
        try:
            return get_supported_language_variant(wanted.lower())
        except LookupError:
            continue
    return settings.LANGUAGE_CODE


def _bearer(authorization: str) -> str:
    """The text of a token; empty for a log-in of another kind."""
    return authorization[len(BEARER) :].strip() if authorization.lower().startswith(BEARER) else ""


def _of_token(text: str) -> Actor | None:
    token = token_behind(text) if text else None
    if token is None:
        return None
    return Actor(user=token.user, door=Door.API, token_uid=token.pk, scope=token.scope, bounds=token.bounds)


def _of_session(key: str) -> Actor | None:
    user = user_of_session(key)
    if user is None:
        return None
    view = view_of_session(key, user)
    if isinstance(view, Over):
        return None  # the next page ends it, and says so
    if view is not None:
        return Actor(user=view.user, door=Door.PAGE, session_key=key, real_user=user)
    return Actor(user=user, door=Door.PAGE, session_key=key)
