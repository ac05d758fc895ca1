"""The page of images: what was uploaded, how far it is, and more to upload."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from compute.models import Image
from compute.operations.images import refusal_text
from compute.services import images
from portal.common.http import actor_of
from portal.common.login_first import login_required
from tenants import policy
from tenants.permits import Permit

SECTION = {"section": "images"}
PER_PAGE = 50


@require_safe
@login_required
def image_list(request: HttpRequest) -> HttpResponse:
    """The images one may see, a page of them by name; for those who may upload any."""
    actor = actor_of(request)
    images.authorize_uploads(actor)
    after = request.GET.get("after", "")[:64]
    rows = list(images.images(actor, after=after)[: PER_PAGE + 1])
    shown = [{"image": image, "reason": refusal_text(image), "percent": _percent(image)} for image in rows[:PER_PAGE]]
    context = SECTION | {
        "rows": shown,
        "more": rows[PER_PAGE - 1].name if len(rows) > PER_PAGE else "",
        "places": images.upload_places(actor),
        "for_all": policy.holds_everywhere(actor, Permit.IMAGE_UPLOAD),
        "chunk_bytes": settings.IMAGE_CHUNK_BYTES,
    }
    return render(request, "compute/image_list.html", context)


def _percent(image: Image) -> int:
    return 100 * image.received_bytes // image.size_bytes


@require_POST
@login_required
def image_delete(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Cancel an upload, or remove an image."""
    actor = actor_of(request)
    name = images.get_image(actor, uid).name
    images.delete_image(actor, uid)
    messages.info(request, _("%(name)s was removed.") % {"name": name})
    return redirect("compute:images")
