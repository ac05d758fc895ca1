"""The inspection of an uploaded image: its checksum, what it is by its bytes, and whether it is whole."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.conf import settings
from django.db.models import F, Sum
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import inspection, qemu_img, spool
from compute.choices import IMAGE_REFUSALS, IMAGE_REFUSED, ImageFormat, ImageStatus
from compute.guestfs import Stopped
from compute.models import Image
from compute.operations.asking import inspected_in_turn, stopped
from compute.operations.left_behind import image_left
from portal.jobs.context import JobContext
from portal.jobs.operation import Done, Operation, StepContext, StepDef, StepFailed, Wait, register
from tenants import quota

CHECK_SECONDS = 600.0
STEP_PERCENT = 5
LOOK_SECONDS = 2.0  # at most, until a cancel is heard


def image_of(ctx: StepContext) -> Image:
    """The image that a job is about."""
    image = Image.objects.filter(pk=ctx.target_uid).first()
    if image is None:
        raise StepFailed(_("The image is gone."), code="image_gone")
    return image


def promised_bytes() -> int:
    """What the spool has still to take of uploads that were begun."""
    begun = Image.objects.filter(status=ImageStatus.UPLOADING)
    return begun.aggregate(bytes=Sum(F("size_bytes") - F("received_bytes")))["bytes"] or 0


def refusal(code: str, detail: str) -> StepFailed:
    """The failure of an inspection that found something; the code becomes the image's reason."""
    return StepFailed(str(IMAGE_REFUSALS[code]), code=code, detail=detail)


def checksum(ctx: StepContext) -> Done | Wait:
    """Count the SHA-256 of what arrived, and compare it with what was said."""
    image = image_of(ctx)
    path = spool.uploaded(image.pk)
    if not path.is_file() or path.stat().st_size != image.size_bytes:
        raise refusal("broken", "the spool does not have all bytes")

    with spool.inspecting() as has_place:
        if not has_place:
            return inspected_in_turn()
        try:
            found = inspection.digest_of(path, report=_teller(ctx, image))
        except Stopped:
            return stopped()
    if image.sha256 and image.sha256 != found:
        raise refusal("checksum", f"said {image.sha256}, is {found}")
    return Done({"sha256": found})


def _teller(ctx: StepContext, image: Image) -> Callable[[int], None]:
    """Tells how far it is, and hears of a cancel (``Stopped``), now and then."""
    told, looked_at = 0, time.monotonic()

    def tell(read: int) -> None:
        nonlocal told, looked_at
        percent, now = 100 * read // image.size_bytes, time.monotonic()
        if percent < told + STEP_PERCENT and now < looked_at + LOOK_SECONDS:
            return
        told, looked_at = percent, now
        ctx.report("", progress=percent)
        if ctx.is_cancelled():
            raise Stopped

    return tell


def inspect(ctx: StepContext) -> Done:
    """What it is by its bytes; QEMU has not seen it yet."""
    image = image_of(ctx)
    try:
        facts = inspection.inspect(
            spool.uploaded(image.pk), said=image.format, most_virtual_bytes=settings.IMAGE_MOST_VIRTUAL_BYTES
        )
    except inspection.Refused as error:
        raise refusal(error.code, error.detail) from error
    return Done({"virtual_bytes": facts.virtual_bytes})


def check(ctx: StepContext) -> Wait | None:
    """Whether all its parts are there; a raw image has none."""
    image = image_of(ctx)
    if image.format != ImageFormat.QCOW2:
        return None
    try:
        with spool.inspecting() as has_place:
            if not has_place:
                return inspected_in_turn()
            qemu_img.check(spool.uploaded(image.pk), bounds=qemu_img.Bounds(CHECK_SECONDS, file_bytes=0))
    except qemu_img.QemuImgFailed as error:
        raise refusal("broken", error.detail) from error
    return None


def drop_bytes(ctx: StepContext) -> None:
    """What is refused is not kept."""
    spool.remove(ctx.target_uid)


def accept(job: JobContext) -> None:
    """Templates can be made of it."""
    Image.objects.filter(pk=job.target_uid).update(
        status=ImageStatus.READY,
        sha256=job.output("checksum")["sha256"],
        virtual_bytes=job.output("inspect")["virtual_bytes"],
    )


def refuse(job: JobContext) -> None:
    """It stays in the list, with the reason, until somebody removes it or the sweep does. Its bytes go, also where nothing was begun."""
    spool.remove(job.target_uid)
    quota.release(quota.Consumer("image", job.target_uid))
    Image.objects.filter(pk=job.target_uid).update(
        status=ImageStatus.REFUSED, reason=str(job.error.get("code", ""))[:40]
    )


def refusal_text(image: Image) -> str:
    """Why an image was refused, in the reader's language; empty for one that was not."""
    if image.status != ImageStatus.REFUSED:
        return ""
    return str(IMAGE_REFUSALS.get(image.reason, IMAGE_REFUSED))


class InspectImage(Operation):
    """Look at an uploaded image before anything is made of it."""

    name = "compute.inspect_image"
    title = gettext_lazy("Inspect image")
    audit_verb = "IMAGE_UPLOAD"
    when_failed = gettext_lazy("The image was refused, and its bytes were removed.")
    steps = (
        StepDef("checksum", gettext_lazy("Count the checksum"), checksum, drop_bytes),
        StepDef("inspect", gettext_lazy("Look at its format"), inspect),
        StepDef("check", gettext_lazy("Check that it is whole"), check),
    )
    on_finished = staticmethod(accept)
    on_failed = staticmethod(refuse)
    left_behind = staticmethod(image_left)


def register_all() -> None:
    """Make them known to the engine."""
    register(InspectImage)
