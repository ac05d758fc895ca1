"""How API clients say who they are: a bearer token, or the session cookie with the CSRF token."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from tenants.models import ApiToken, User
from tenants.services.tokens import token_behind


class BearerAuthentication(BaseAuthentication):
    """``Authorization: Bearer <token>``."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """The token's user, or None when no token is offered; a bad one is 401."""
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != b"bearer":
            return None
        token = token_behind(parts[1].decode("ascii", "ignore")) if len(parts) == 2 else None
        if token is None:
            raise AuthenticationFailed(_("The token is unknown, expired or revoked."))
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return 'Bearer realm="api"'


class StrictSessionAuthentication(SessionAuthentication):
    """The session cookie; every unsafe method needs the CSRF token."""

    def authenticate_header(self, request: Any) -> str:
        """What a 401 asks for."""
        return 'Bearer realm="api"'
