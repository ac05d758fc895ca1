"""The picture of a machine's screen."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from compute.services.screens import shown_screen
from portal.common.http import actor_of
from portal.common.login_first import login_required

NOTHING = Path(settings.BASE_DIR) / "static" / "img" / "screen.svg"


@require_safe
@login_required
def vm_screen(request: HttpRequest, uid: UUID) -> HttpResponse:
    """A small picture of what the screen showed a moment ago; a drawing of a screen where there is none."""
    shown = shown_screen(actor_of(request), uid)
    version = f'"{shown.version}"'
    if request.headers.get("If-None-Match") == version:
        answer = HttpResponse(status=HTTPStatus.NOT_MODIFIED)
    elif shown.image:
        answer = HttpResponse(shown.image, content_type="image/webp")
    else:
        answer = HttpResponse(NOTHING.read_bytes(), content_type="image/svg+xml")
    # Kept by this browser alone, and never shown without asking whether it still may be.
    answer["Cache-Control"] = "private, no-cache"
    answer["ETag"], answer["Vary"] = version, "Cookie"
    return answer
