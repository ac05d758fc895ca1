"""What stands before every view: a second factor that is owed, looking as somebody else, and rights read once for a page."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from http import HTTPStatus

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.middleware.csrf import rotate_token
from django.urls import reverse
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect
from rest_framework.authentication import get_authorization_header

from portal.common.api import PROBLEM
from portal.common.errors import PortalError, ReadOnlyView, problem_json, read_only_view
from portal.common.http import actor_of, refusal_page
from portal.common.sessions import OWES_FACTOR
from tenants import policy
from tenants.services.viewing import KEY, Over, View, end_view, refuse_act, view_in

SHOWING = ("GET", "HEAD")
API = "/api/"


class OneLookMiddleware:
    """Requests that change nothing see rights as they were at their first question; all others ask each time."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method not in SHOWING:
            return self.get_response(request)
        with policy.one_look():
            return self.get_response(request)


class OwedFactorMiddleware:
    """Who must have a second factor and has none is led to set one up, and does nothing else before."""

    free = ("factor", "factor-add", "logout", "set_language", "set-theme", "login", "login-code")

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # A session is looked at only where there may be one: who is not logged in gets none, and a token has none.
        if settings.SESSION_COOKIE_NAME not in request.COOKIES or not request.session.get(OWES_FACTOR):
            return self.get_response(request)
        if request.path in {reverse(name) for name in self.free}:
            return self.get_response(request)
        if request.path.startswith("/api/"):
            return _owed(request)
        kind = HttpResponseClientRedirect if request.htmx else HttpResponseRedirect  # type: ignore[attr-defined]
        answer: HttpResponse = kind(reverse("factor"))
        return answer


def _owed(request: HttpRequest) -> HttpResponse:
    text = _("Your role asks for a second factor. Set it up on the page of your account first.")
    body = problem_json(403, "factor_owed", text, request.request_id)  # type: ignore[attr-defined]
    return JsonResponse(body, status=403, content_type=PROBLEM)


class ViewingMiddleware:
    """While a log-in looks as somebody else, every page is that user's, and every method that may change is refused.

    The user behind stays at hand as ``request.real_user``, and ``request.viewing`` tells pages to say so. Only the end of the
    view and the log-out are his own. A bearer token speaks for its own user, whatever cookie comes along.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    @cached_property
    def _own(self) -> frozenset[str]:
        return frozenset({reverse("tenants:view-end"), reverse("logout")})

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not _looks(request) or not request.user.is_authenticated:
            return self.get_response(request)
        view = view_in(request.session, request.user)
        if isinstance(view, View):
            return self._as_other(request, view)
        over = view or Over.TIME
        end_view(actor_of(request), request.session, over)
        rotate_token(request)  # the forms of its pages are good no more
        if request.method not in (*SHOWING, "OPTIONS"):
            return _refused(request, _over(over))
        messages.info(request, _over(over).detail)
        return self.get_response(request)

    def _as_other(self, request: HttpRequest, view: View) -> HttpResponse:
        if request.method == "POST" and request.path in self._own:
            return self._as_himself(request)
        request.real_user, request.viewing = request.user, view  # type: ignore[attr-defined]
        request.user = view.user
        if request.method in (*SHOWING, "OPTIONS"):
            return self.get_response(request)
        error = read_only_view(str(view.user))
        refuse_act(actor_of(request), error, method=str(request.method), path=request.path)
        return _refused(request, error)

    def _as_himself(self, request: HttpRequest) -> HttpResponse:
        actor, kept = actor_of(request), {KEY: request.session[KEY]}
        answer = self.get_response(request)
        if request.path == reverse("logout") and KEY not in request.session:
            end_view(actor, kept, Over.LOG_OUT)
        return answer


def _looks(request: HttpRequest) -> bool:
    # As the API itself reads it (``BearerAuthentication``): two readings would leave a header that is a token to one alone.
    header = get_authorization_header(request)  # type: ignore[arg-type]  # it asks for META alone
    has_token = header.lower().split()[:1] == [b"bearer"]
    if settings.SESSION_COOKIE_NAME not in request.COOKIES or (has_token and request.path.startswith(API)):
        return False
    return KEY in request.session


def _over(why: Over) -> ReadOnlyView:
    texts = {
        Over.TIME: _("The half hour in which you saw the portal as somebody else is over. You are yourself again."),
        Over.ACCOUNT: _("The account you saw the portal as cannot be looked as any more. You are yourself again."),
    }
    text = texts.get(why, _("You may not see the portal as somebody else any more. You are yourself again."))
    return ReadOnlyView(text)


def _refused(request: HttpRequest, error: PortalError) -> HttpResponse:
    if not request.path.startswith(API):
        return refusal_page(request, error)
    request_id = str(getattr(request, "request_id", ""))
    body = problem_json(HTTPStatus.FORBIDDEN, error.code, str(error.detail), request_id)
    return JsonResponse(body, status=HTTPStatus.FORBIDDEN, content_type=PROBLEM)
