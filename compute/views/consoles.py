"""The page of a machine's console. Its script asks for the ticket over the API, by the same log-in."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from compute.choices import CONSOLE_ENDINGS
from compute.services.consoles import authorize_console
from compute.views import parts
from portal.common.http import actor_of
from portal.common.login_first import login_required


@require_safe
@login_required
def vm_console(request: HttpRequest, uid: UUID) -> HttpResponse:
    """The machine's screen; when it is off, how to run it, and the screen as soon as there is one."""
    actor = actor_of(request)
    context = parts.at_console(actor, authorize_console(actor, uid))
    endings = {code: str(sentence) for code, sentence in CONSOLE_ENDINGS.items()}
    return render(request, "compute/vm_console.html", {"section": "machines", "endings": endings} | context)
