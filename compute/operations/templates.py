"""The operations on templates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import qemu_img, spool
from compute.choices import TemplateStatus
from compute.models import Image, Template
from compute.operations.asking import in_turn
from compute.operations.images import promised_bytes
from compute.operations.left_behind import template_left
from compute.operations.permitted import ask_again
from portal.hypervisors.connect import driver_for
from portal.hypervisors.specs import DiskRef, DiskSpec
from portal.jobs.context import JobContext
from portal.jobs.operation import Done, Operation, StepContext, StepDef, StepFailed, Wait, register
from tenants import quota
from tenants.models import DataCenter
from tenants.permits import Permit

CHUNK = 1024 * 1024
GIB = 1024**3
CONVERT_SECONDS = 1800.0
UNDONE = gettext_lazy("What had been made was undone.")


def template_of(ctx: StepContext) -> Template:
    """The template that the job is about. Raises ``StepFailed`` when its row is gone."""
    template = Template.objects.select_related("storage_domain__provider").filter(pk=ctx.target_uid).first()
    if template is None:
        raise StepFailed(_("The template is gone."), code="template_gone")
    return template


def disk_of(template: Template) -> DiskRef:
    """Its disk, which bears its uid."""
    return DiskRef(template.pk, template.storage_domain.external_id)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as image:
        while chunk := image.read(CHUNK):
            yield chunk


def _source(ctx: StepContext) -> Path:
    """The file that goes to the storage domain: one of the portal's machine, or what was converted."""
    return Path(ctx.params["path"]) if "path" in ctx.params else spool.converted(ctx.target_uid)


def convert(ctx: StepContext) -> Wait | None:
    """Make a plain qcow2 image of what was uploaded: nothing of its maker's structures gets to a hypervisor."""
    image = Image.objects.filter(pk=ctx.params["image"]).first()
    if image is None:
        raise StepFailed(_("The image is gone."), code="image_gone")
    _ask_again(ctx, image)
    target = spool.converted(ctx.target_uid)
    room = max(CHUNK, spool.free_bytes() - promised_bytes() - settings.IMAGE_SPARE_BYTES)
    bounds = qemu_img.Bounds(CONVERT_SECONDS, file_bytes=min(qemu_img.most_bytes(image.virtual_bytes), room))
    try:
        with spool.slow_work() as has_place:
            if not has_place:
                return in_turn()
            if not target.exists():
                qemu_img.convert(spool.uploaded(image.pk), said=image.format, target=target, bounds=bounds)
    except qemu_img.QemuImgFailed as error:
        text = _("The image cannot be converted: it is damaged, or there is no room for it.")
        raise StepFailed(text, code="conversion_failed", detail=error.detail) from error
    ctx.fault_point("made")
    return None


def _ask_again(ctx: StepContext, image: Image) -> None:
    """Who asked for it still has the image: what it took, by the place where the template is to be."""
    permit = taken_for(image, template_of(ctx).owner)
    text = _("You may not use the image %(name)s any more. Choose another, or ask for a role on it.")
    ask_again(ctx, permit, image, code="image_not_permitted", text=text % {"name": image.name})


def taken_for(image: Image, owner: DataCenter | None) -> Permit:
    """What it takes to make a template of an image: whoever sees one does not read what is in it, so that to take that to
    another department is for those who may upload it.
    """
    is_theirs = owner is not None and image.owner_id not in {None, owner.pk}
    return Permit.IMAGE_UPLOAD if is_theirs else Permit.IMAGE_VIEW


def drop_converted(ctx: StepContext) -> None:
    """Remove it; already gone is done."""
    spool.remove(ctx.target_uid)


def upload(ctx: StepContext) -> None:
    """Send the image to the storage domain."""
    template = template_of(ctx)
    driver = driver_for(template.storage_domain.provider)
    if driver.find_disk(disk_of(template)) is None:
        spec = DiskSpec(template.pk, template.storage_domain.external_id, template.disk_gib * GIB)
        driver.upload_disk(spec, chunks=_chunks(_source(ctx)))
    ctx.fault_point("made")


def remove(ctx: StepContext) -> None:
    """Remove the image; already gone is done."""
    template = template_of(ctx)
    driver_for(template.storage_domain.provider).delete_disk(disk_of(template))


def delete_disk(ctx: StepContext) -> Done:
    """The same, for good; what comes after must know that it is gone."""
    remove(ctx)
    return Done({"gone": True})


def tell_what_is_left(job: JobContext) -> None:
    """A template whose disk is gone already makes no more machines; it can be deleted again."""
    if job.output("delete_disk").get("gone"):
        Template.objects.filter(pk=job.target_uid).update(status=TemplateStatus.ILLEGAL)


def make_ready(ctx: StepContext) -> None:
    """Read back, and let it be used."""
    template = template_of(ctx)
    if driver_for(template.storage_domain.provider).find_disk(disk_of(template)) is None:
        raise StepFailed(_("The image did not arrive."), code="image_missing")
    drop_converted(ctx)
    Template.objects.filter(pk=template.pk).update(status="ok")


def forget(job: JobContext) -> None:
    """Nothing is there: the row goes, and the quota comes back."""
    quota.release(quota.Consumer("template", job.target_uid))
    Template.objects.filter(pk=job.target_uid).delete()


UPLOAD = StepDef("upload", gettext_lazy("Upload the image"), upload, remove)
MAKE_READY = StepDef("make_ready", gettext_lazy("Verify"), make_ready)


class ImportTemplate(Operation):
    """Make a template from an image file on the portal's own machine (by command only)."""

    name = "compute.import_template"
    title = gettext_lazy("Import template")
    audit_verb = "TEMPLATE_CREATE"
    when_failed = UNDONE
    steps = (UPLOAD, MAKE_READY)
    on_failed = staticmethod(forget)
    left_behind = staticmethod(template_left)


class MakeTemplate(Operation):
    """Make a template from an uploaded image."""

    name = "compute.make_template"
    title = gettext_lazy("Make template")
    audit_verb = "TEMPLATE_CREATE"
    when_failed = UNDONE
    steps = (
        StepDef("convert", gettext_lazy("Convert the image"), convert, drop_converted),
        UPLOAD,
        MAKE_READY,
    )
    on_failed = staticmethod(forget)
    left_behind = staticmethod(template_left)


class DeleteTemplate(Operation):
    """Delete a template with its disk."""

    name = "compute.delete_template"
    title = gettext_lazy("Delete template")
    audit_verb = "TEMPLATE_DELETE"
    when_failed = gettext_lazy("The template is still there. Delete it again later.")
    point_of_no_return = "delete_disk"
    steps = (
        # It does not wait (``looked_at``): where an engine would have to be looked at, templates are its own.
        StepDef("delete_disk", gettext_lazy("Delete the disk"), delete_disk, destructive=True),
    )
    on_finished = staticmethod(forget)
    on_failed = staticmethod(tell_what_is_left)


def register_all() -> None:
    """Make them known to the engine."""
    for operation in (ImportTemplate, MakeTemplate, DeleteTemplate):
        register(operation)
