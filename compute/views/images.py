"""The page of images: what was uploaded, how far it is, and more to upload."""

from __future__ import annotations

import json
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from compute.choices import ImageFormat
from compute.file_names import LATIN, title_of
from compute.models import Image
from compute.operations.images import refusal_text
from compute.services import images, volume_offers
from compute.services.images import ImageRequest
from compute.services.sharing import uid_in
from compute.views import page_verbs
from portal.common.errors import Invalid
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.common.paging import page_by_name
from portal.common.units import bytes_text
from tenants import policy
from tenants.permits import Permit
from tenants.tried import audited
from tenants.verbs import rights_page

QCOW2 = b"QFI\xfb"  # with which such a file begins
SECTION = {"section": "images"}
PER_PAGE = 50
MOST_VOLUMES = 200


@require_safe
@login_required
def image_list(request: HttpRequest) -> HttpResponse:
    """The images one may see, a page of them by name; and a form for those who may upload more."""
    actor = actor_of(request)
    images.authorize_shelf(actor)
    rows, more = page_by_name(images.images(actor), request.GET.get("after", ""), size=PER_PAGE)
    permits = policy.permits_on(actor, rows)
    make = page_verbs.make_template(actor)
    shown = [
        {
            "image": image,
            "reason": refusal_text(image),
            "percent": _percent(image),
            "waits": images.waits(image),
            "swept_at": images.swept_at(image),
            "doubt": images.doubt_of(image),
            "may_grant": Permit.GRANT in permits[image.pk],
            "verbs": page_verbs.of_image(image, permits[image.pk], make),
            "rights": rights_page(image),
        }
        for image in rows
    ]
    volumes = list(volume_offers.volume_offers(actor)[:MOST_VOLUMES])
    places, for_all = list(images.upload_places(actor)), policy.holds_everywhere(actor, Permit.IMAGE_UPLOAD)
    context = SECTION | {
        "rows": shown,
        "more": more,
        "places": places,
        "for_all": for_all,
        "upload": None if places or for_all else page_verbs.upload(actor),
        "volumes": volumes,
        "of_volume": make.unless("" if volumes else volume_offers.why_none(actor)),
        "latin": json.dumps(LATIN),
        "chunk_bytes": settings.IMAGE_CHUNK_BYTES,
        "form_size": bytes_text(settings.IMAGE_FORM_BYTES),
    }
    return render(request, "compute/image_list.html", context)


def _percent(image: Image) -> int:
    return 100 * image.received_bytes // image.size_bytes


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("IMAGE_DELETE", "image")
def image_delete(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Cancel an upload, or remove an image, once that was confirmed."""
    actor = actor_of(request)
    image = images.removable(actor, uid)
    if request.method != "POST":
        context = SECTION | {"image": image, "percent": _percent(image)}
        return render(request, "compute/image_remove.html", context)
    images.delete_image(actor, uid)
    messages.info(request, _("%(name)s was removed.") % {"name": image.name})
    return redirect("compute:images")


def _sum(request: HttpRequest) -> str:
    return request.POST.get("sha256", "").strip().lower()


@require_POST
@login_required
def image_upload(request: HttpRequest) -> HttpResponse:
    """A whole file in a plain form."""
    actor, file = actor_of(request), request.FILES.get("file")
    if file is None or not file.size:
        raise Invalid(_("Choose a file that is not empty."))
    place = request.POST.get("data_center", "")
    head = file.read(len(QCOW2))
    said = ImageFormat.QCOW2 if head == QCOW2 else ImageFormat.RAW
    wish = ImageRequest(title_of(file.name or ""), said, file.size, uid_in(place) if place else None, _sum(request))
    image = images.create_image(actor, wish)
    file.seek(0)
    for number, part in enumerate(file.chunks(settings.IMAGE_CHUNK_BYTES)):
        images.receive(actor, image.pk, part, offset=number * settings.IMAGE_CHUNK_BYTES)
    messages.success(request, _("%(name)s has arrived and is being inspected.") % {"name": image.name})
    return redirect("compute:images")
