"""The buttons by which a super-admin sees the portal as somebody else, and is himself again."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import rotate_token
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from portal.common.http import actor_of
from portal.common.login_first import login_required
from tenants.services.viewing import Over, begin_view, end_view


@require_POST
@login_required
def view_begin(request: HttpRequest, uid: UUID) -> HttpResponse:
    """See the portal as this user, from its first page on. For super-admins."""
    begin_view(actor_of(request), request.session, uid)
    rotate_token(request)  # a form of before is no form of the other's, and the other way round
    return redirect("home")


@require_POST
@login_required
def view_end(request: HttpRequest) -> HttpResponse:
    """Be oneself again."""
    end_view(actor_of(request), request.session, Over.ASKED)
    rotate_token(request)
    return redirect("tenants:users")
