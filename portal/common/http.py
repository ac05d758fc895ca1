"""What every request gets: an id, the real client's address, a language, a strict content policy; and errors as pages."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit
from uuid import uuid4

from django.conf import settings
from django.core.exceptions import BadRequest
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from django.utils import translation
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from portal.common.actor import Actor, Bounds, Door
from portal.common.errors import NoPage, NotAuthenticated, PortalError, Reason, Unavailable
from portal.common.login_first import log_in_first

log = logging.getLogger(__name__)

Handler = Callable[[HttpRequest], HttpResponse]
View = Callable[..., HttpResponse]
NUL = "\x00"
REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def client_address(remote: str, forwarded: str) -> str:
    """The real client's address. ``X-Forwarded-For`` is believed only from a trusted proxy, right to left."""
    trusted, address = _trusted(), remote
    for hop in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
        if not _within(address, trusted):
            break
        address = hop
    return address if _is_address(address) else ""


def _trusted() -> list[IPv4Network | IPv6Network]:
    return [ip_network(net) for net in settings.TRUSTED_PROXIES]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _within(address: str, nets: list[IPv4Network | IPv6Network]) -> bool:
    return _is_address(address) and any(ip_address(address) in net for net in nets)


class RequestContextMiddleware:
    """Request id, client address, and the headers that every answer carries."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.request_id = uuid4().hex  # type: ignore[attr-defined]
        if not _within(request.META.get("REMOTE_ADDR", ""), _trusted()):
            request.META.pop("HTTP_X_FORWARDED_PROTO", None)  # whether TLS was used is for our proxies alone to say
        request.client_address = client_address(  # type: ignore[attr-defined]
            request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", "")
        )
        response = self.get_response(request)
        response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        response.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        response.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
        # Files of the portal come with their own; a page below their address (there is no such file) is a person's.
        response.setdefault("Cache-Control", "no-store")
        return response


class NulMiddleware:
    """No database keeps a NUL in a text: refused once, here, instead of being a fault of whatever query comes first.

    It stands behind the check for forged requests, which has read a form's fields anyway; files that came with them are left alone.
    What the API is sent is its own to read, and to refuse with the field's name.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if NUL in unquote(request.META.get("QUERY_STRING", "")):
            raise BadRequest("a NUL in the query")
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: View, *_arguments: Any) -> None:
        """Look at the fields of a form that was posted to a page."""
        if request.method != "POST" or getattr(view, "csrf_exempt", False) or getattr(view, "takes_nul", False):
            return
        if any(NUL in text for name, values in request.POST.lists() for text in (name, *values)):
            raise BadRequest("a NUL in a form")


def takes_nul(view: View) -> View:
    """Of a page that answers a NUL as it answers whatever else is typed there, and writes that down."""
    view.takes_nul = True  # type: ignore[attr-defined]
    return view


class LanguageMiddleware:
    """The language: the user's own choice (a cookie), else what the browser asks for."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        language = translation.get_language_from_request(request)
        with translation.override(language):
            request.LANGUAGE_CODE = language
            response = self.get_response(request)
        response.setdefault("Content-Language", language)
        return response


class ErrorMiddleware:
    """Errors of services become pages in one place; a page never shows anything else of an exception."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = self.get_response(request)
        is_empty = isinstance(answer, HttpResponseNotAllowed) and not answer.content
        if not is_empty or request.method != "GET":
            return answer
        # Who comes by the address of a button, as it stands above a form that was refused, is not left with a white page.
        page = refusal_page(
            request, NoPage(_("There is no page at this address: it is where a button of another leads."))
        )
        page["Allow"] = answer["Allow"]
        return page

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer a ``PortalError`` with its page; a locked database with 503; anything else is Django's 500."""
        if isinstance(error, OperationalError):
            log.warning("database not available: %s", error)
            error = Unavailable(_("The database is busy. Try again in a moment."))
        if isinstance(error, NotAuthenticated):
            return log_in_first(request)
        return refusal_page(request, error) if isinstance(error, PortalError) else None


def refusal_page(request: HttpRequest, error: PortalError) -> HttpResponse:
    """A refusal as a page, or as the part of one that asked."""
    if error.private:
        log.warning("%s: %s", error.code, error.private)
    if request.htmx:  # type: ignore[attr-defined]
        context = {"error": error, "reasons": _not_said(error)}
        response = render(request, "partials/_refusal.html", context, status=error.status)
        response["HX-Retarget"], response["HX-Reswap"] = "#notices", "innerHTML show:window:top"
        return response
    context = {"error": error, "reasons": _not_said(error), "back": _back(request), "request_id": request.request_id}  # type: ignore[attr-defined]
    # Who is logged in goes on by the navigation; where the database was not there it is not asked for that once more.
    is_framed = error.status != HTTPStatus.SERVICE_UNAVAILABLE and request.user.is_authenticated
    context["layout"] = "base.html" if is_framed else "simple.html"
    return render(request, "error.html", context, status=error.status)


def _not_said(error: PortalError) -> list[Reason]:
    """The reasons that the heading does not say already."""
    return [reason for reason in error.reasons if str(reason.text) not in str(error.detail)]


def _back(request: HttpRequest) -> str:
    """The page of ours from which one came, where the browser tells: of a form that was sent its own; empty if it is this one."""
    came = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(came, {request.get_host()}, require_https=request.is_secure()):
        return ""
    found = urlsplit(came)
    is_here = found.path == request.path and request.method != "POST"
    return "" if is_here else urlunsplit(("", "", found.path, found.query, ""))


def actor_of(request: HttpRequest, *, door: Door = Door.PAGE) -> Actor:
    """The actor behind a request that is logged in."""
    token = getattr(request, "auth", None)
    session = getattr(request, "session", None)
    return Actor(
        user=request.user,
        door=door,
        request_id=getattr(request, "request_id", ""),
        client_address=getattr(request, "client_address", ""),
        session_key=(session.session_key or "") if session is not None and token is None else "",
        token_uid=getattr(token, "uid", None),
        scope=getattr(token, "scope", "write"),
        real_user=getattr(request, "real_user", None) if token is None else None,
        bounds=getattr(token, "bounds", Bounds()),
    )
