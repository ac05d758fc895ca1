"""The hallway of images: uploads in chunks, each byte once; what is whole is inspected by a job."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from compute import rules, spool
from compute.choices import ImageFormat, ImageStatus
from compute.models import Image, Template
from compute.operations.images import InspectImage, promised_bytes
from portal.common.actor import Actor
from portal.common.errors import Busy, Conflict, Invalid, NotFound, NotPermitted, Reason
from portal.common.units import bytes_text
from portal.events.codes import Outcome
from portal.events.record import Subject, attempt, trying
from portal.hypervisors.identity import portal_id
from portal.hypervisors.models import Portal
from portal.jobs.models import JobLock
from portal.jobs.start import Gate, JobRequest, Lock, Target, start_job
from tenants import policy, quota
from tenants.models import DataCenter
from tenants.models.quota import Dimension
from tenants.permits import Permit
from tenants.selectors import get_data_center, where_to_ask
from tenants.services.makers import give_to_maker
from tenants.subjects import seen

log = logging.getLogger(__name__)

SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_SWEPT = 100
WAITS_AFTER = timedelta(minutes=2)  # without a part: longer than a slow line takes for one


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """An image to upload: its file's size in bytes, and where known its SHA-256. ``data_center_uid`` None: the institute's."""

    name: str
    format: str
    size_bytes: int
    data_center_uid: UUID | None = None
    sha256: str = ""


def images(actor: Actor) -> QuerySet[Image]:
    """The images this actor may see, by name."""
    related = Image.objects.select_related("owner", "uploader")
    return policy.visible(actor, Permit.IMAGE_VIEW, related).order_by("name", "uid")


def authorize_shelf(actor: Actor) -> None:
    """Raise ``NotPermitted`` for whoever may upload images nowhere, and has none to look at."""
    somewhere = (policy.holds_anywhere(actor, permit) for permit in (Permit.IMAGE_UPLOAD, Permit.IMAGE_VIEW))
    if not any(somewhere) and not images(actor).exists():
        policy.authorize(actor, Permit.IMAGE_UPLOAD, where_to_ask(actor) or policy.system())


def get_image(actor: Actor, uid: UUID) -> Image:
    """One of them. Raises ``NotFound`` alike for one that is not there and one that may not be seen."""
    image = images(actor).filter(pk=uid).first()
    if image is None:
        raise NotFound(_("There is no such image, or you may not see it."))
    return image


def waits(image: Image) -> bool:
    """Whether nobody is sending it: it goes on when its file is chosen again, until the sweep (``swept_at``)."""
    return image.status == ImageStatus.UPLOADING and image.changed_at < timezone.now() - WAITS_AFTER


def swept_at(image: Image) -> datetime:
    """When an upload that nobody goes on with is removed, at the earliest."""
    return image.changed_at + timedelta(hours=settings.IMAGE_UPLOAD_HOURS)


def doubt_of(image: Image) -> str:
    """Why an image that was taken may not be what its name says; empty without a doubt."""
    is_raw = image.status == ImageStatus.READY and image.format == ImageFormat.RAW
    return rules.raw_doubt(image.name) if is_raw else ""


def upload_places(actor: Actor) -> QuerySet[DataCenter]:
    """The data centers for which this actor may upload images."""
    return policy.visible(actor, Permit.IMAGE_UPLOAD, DataCenter.objects.filter(enabled=True)).order_by("name")


def create_image(actor: Actor, request: ImageRequest) -> Image:
    """Begin an upload. ``Invalid`` names the field, ``Conflict`` has the figures where there is no room for so much.

    What is promised to it (the size of its file) is charged to the data center; ``QuotaExceeded`` has the figures.
    """
    with attempt(actor, "IMAGE_CREATE", Subject("image", None, request.name)) as trial:
        owner = _owner(actor, request.data_center_uid)
        _refuse(request)
        uid = uuid4()
        if owner is not None:
            amounts = {Dimension.STORAGE_GIB: rules.gib_of(request.size_bytes)}
            quota.charge(quota.Consumer("image", uid), owner, amounts, user_uid=None)
        _refuse_without_room(request.size_bytes)
        image = Image.objects.create(
            uid=uid,
            name=request.name,
            owner=owner,
            uploader=actor.user,
            format=request.format,
            size_bytes=request.size_bytes,
            sha256=request.sha256,
        )
        give_to_maker(actor, image)
        trial.subject = _subject(image)
    return image


def _owner(actor: Actor, uid: UUID | None) -> DataCenter | None:
    owner = None if uid is None else get_data_center(actor, uid)
    policy.authorize(actor, Permit.IMAGE_UPLOAD, owner or policy.system())
    return owner


def _refuse(request: ImageRequest) -> None:
    reasons = rules.title_reasons(request.name)
    if request.format not in ImageFormat.values:
        reasons.append(Reason("format_invalid", _("The format is qcow2 or raw."), "format"))
    if request.sha256 and not SHA256.fullmatch(request.sha256):
        reasons.append(Reason("sha256_invalid", _("A SHA-256 checksum has 64 digits 0-9, a-f."), "sha256"))
    most = settings.IMAGE_MOST_BYTES
    if not 0 < request.size_bytes <= most:
        text = _("An image's file has between 1 byte and %(most)s.") % {"most": bytes_text(most)}
        reasons.append(Reason("size_out_of_range", text, "size_bytes", {"minimum": 1, "maximum": most}))
    if reasons:
        raise Invalid(" ".join(reason.text for reason in reasons), reasons=tuple(reasons))


def _refuse_without_room(size_bytes: int) -> None:
    """What others have begun and not yet sent is promised to them. One at a time until it is committed: two would not see each other."""
    Portal.objects.select_for_update().get(uid=portal_id())
    free = max(0, spool.free_bytes() - promised_bytes() - settings.IMAGE_SPARE_BYTES)
    if size_bytes > free:
        text = _("The portal has room for %(free)s of uploads now, and this is %(size)s. Try again later.") % {
            "free": bytes_text(free),
            "size": bytes_text(size_bytes),
        }
        data = {"free_bytes": free, "size_bytes": size_bytes}
        raise Conflict(text, reasons=(Reason("no_room", text, "size_bytes", data),))


def receive(actor: Actor, uid: UUID, data: bytes, *, offset: int) -> Image:
    """The next bytes of an image, of whoever began it: he answers for all of them. ``Conflict`` with the ``offset`` that is wanted for any other, one that came before too.

    With the last byte its inspection begins. The bytes are written outside of any transaction, for a disk may be slow. The
    image's file is held from the look at the row until the row tells of them: what comes late finds another offset, or that
    the image is inspected already, and writes nothing.
    """
    with trying(actor, "IMAGE_UPLOAD", seen(actor, "image", uid)):
        image = get_image(actor, uid)
        policy.authorize(actor, Permit.IMAGE_UPLOAD, image)
        _refuse_of_another(actor, image)
    _refuse_out_of_turn(image, data, offset=offset)  # and no file is there again for an image that was refused
    try:
        with spool.writer(uid, begins=offset == 0) as file:
            image = _still_there(actor, uid)
            _refuse_out_of_turn(image, data, offset=offset)
            file.write(data, offset=offset)
            received = offset + len(data)
            if received == image.size_bytes:
                file.cut(length=received)
            return _take(actor, image, received)
    except spool.Lost as error:
        _still_there(actor, uid)
        log.warning("bytes of the image %s are gone from the spool", uid)
        text = _("The bytes that had arrived are gone from the portal. Cancel this upload, and upload the file anew.")
        raise Conflict(text, reasons=(Reason("upload_lost", text),)) from error
    except spool.Taken as error:
        raise Conflict(_("Another part of this image is being written. Go on later.")) from error
    except OSError as error:
        log.warning("the spool took no bytes: %s", error)
        raise Conflict(_("The portal has no room left for this upload. Go on later.")) from error


def _refuse_of_another(actor: Actor, image: Image) -> None:
    """His name stands by the image, and parts leave no record: nobody else's bytes come between them."""
    if image.uploader is not None and image.uploader_id != actor.uid:
        text = _("%(name)s began this upload and alone sends its bytes. Cancel it, or begin another.")
        raise NotPermitted(text % {"name": image.uploader})


def _still_there(actor: Actor, uid: UUID) -> Image:
    try:
        return get_image(actor, uid)
    except NotFound:  # removed in this very moment, and its file was there again for us
        if not Image.objects.filter(pk=uid).exists():
            spool.remove(uid)
        raise


@transaction.atomic
def _take(actor: Actor, image: Image, received: int) -> Image:
    """Tell of bytes that the disk has, unless the image was removed meanwhile."""
    rows = Image.objects.filter(pk=image.pk, status=ImageStatus.UPLOADING, received_bytes=image.received_bytes)
    if not rows.update(received_bytes=received, changed_at=timezone.now()):
        raise NotFound(_("There is no such image, or you may not see it."))
    image.received_bytes = received
    if received == image.size_bytes:
        _inspect(actor, image)
    return image


def _locked(actor: Actor, uid: UUID, permit: Permit) -> Image:
    image = get_image(actor, uid)
    policy.authorize(actor, permit, image)
    row = Image.objects.select_for_update(of=("self",)).select_related("owner", "uploader").filter(pk=uid).first()
    if row is None:  # removed in this very moment
        raise NotFound(_("There is no such image, or you may not see it."))
    return row


def _refuse_out_of_turn(image: Image, data: bytes, *, offset: int) -> None:
    if image.status != ImageStatus.UPLOADING:
        raise Conflict(_("All bytes of this image have arrived."), data={"offset": image.received_bytes})
    if offset != image.received_bytes:
        text = _("The next byte that is wanted is number %(offset)d.") % {"offset": image.received_bytes}
        raise Conflict(text, data={"offset": image.received_bytes})
    if not data or len(data) > settings.IMAGE_CHUNK_BYTES:
        text = _("Send between 1 byte and %(most)s at once.") % {"most": bytes_text(settings.IMAGE_CHUNK_BYTES)}
        raise Invalid(text, data={"maximum": settings.IMAGE_CHUNK_BYTES})
    if offset + len(data) > image.size_bytes:
        text = _("That is more than the %(size)d bytes that were said.") % {"size": image.size_bytes}
        raise Invalid(text, data={"size_bytes": image.size_bytes})


def _inspect(actor: Actor, image: Image) -> None:
    with attempt(actor, "IMAGE_UPLOAD", _subject(image)) as trial:
        image.status = ImageStatus.INSPECTING
        image.save(update_fields=["status", "changed_at"])
        job = start_job(
            actor,
            JobRequest(
                InspectImage,
                Target("image", image.pk, image.name, image.owner_id),
                Gate(Permit.IMAGE_UPLOAD, "image", image.pk),
                (Lock("image", image.pk),),
            ),
        )
        trial.correlation_id, trial.outcome = job.pk, Outcome.REQUESTED


def removable(actor: Actor, uid: UUID) -> Image:
    """An image that this actor may remove, to be asked about before."""
    image = get_image(actor, uid)
    policy.authorize(actor, Permit.IMAGE_DELETE, image)
    return image


def delete_image(actor: Actor, uid: UUID) -> None:
    """Cancel an upload, or remove an image; its bytes go with it. ``Busy`` while a job has it."""
    with attempt(actor, "IMAGE_DELETE", Subject("image", uid)) as trial:
        image = _locked(actor, uid, Permit.IMAGE_DELETE)
        trial.subject = _subject(image)
        _refuse_held(image)
        quota.release(quota.Consumer("image", uid))
        image.delete()
        transaction.on_commit(lambda: spool.remove(uid), robust=True)


def _refuse_held(image: Image) -> None:
    lock = JobLock.objects.filter(kind="image", uid=image.pk).select_related("job").first()
    if lock is not None:
        job = {"id": str(lock.job.pk), "operation": lock.job.operation, "status": str(lock.job.status)}
        raise Busy(_("A job is at work on this image. Wait until it has ended, or cancel it."), data={"job": job})


def sweep() -> int:
    """Remove uploads that nobody goes on with, refused images of yesterday, and bytes that no row has; how many."""
    old = timezone.now() - timedelta(hours=settings.IMAGE_UPLOAD_HOURS)
    left = Image.objects.filter(changed_at__lt=old, status__in=[ImageStatus.UPLOADING, ImageStatus.REFUSED])
    swept = [uid for uid in left.values_list("pk", flat=True)[:MOST_SWEPT] if _sweep_one(uid)]
    known = set(Image.objects.exclude(status=ImageStatus.REFUSED).values_list("pk", flat=True))
    known |= set(Template.objects.exclude(status="ok").values_list("pk", flat=True))
    strays = set(spool.strays(known))
    for uid in [*swept, *strays]:
        spool.remove(uid)
    return len(swept) + len(strays)


def _sweep_one(uid: UUID) -> bool:
    old = timezone.now() - timedelta(hours=settings.IMAGE_UPLOAD_HOURS)
    with transaction.atomic():
        row = Image.objects.select_for_update().filter(pk=uid, changed_at__lt=old).first()
        if row is None or JobLock.objects.filter(kind="image", uid=uid).exists():
            return False
        quota.release(quota.Consumer("image", uid))
        row.delete()
    return True


def _subject(image: Image) -> Subject:
    return Subject("image", image.pk, image.name, image.owner_id)
