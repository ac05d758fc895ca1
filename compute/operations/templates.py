"""The operations on templates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute.models import Template
from portal.hypervisors.connect import driver_for
from portal.hypervisors.specs import DiskRef, DiskSpec
from portal.jobs.context import JobContext
from portal.jobs.operation import Operation, StepContext, StepDef, StepFailed, register

CHUNK = 1024 * 1024
GIB = 1024**3


def _template(ctx: StepContext) -> Template:
    template = Template.objects.select_related("storage_domain__provider").filter(pk=ctx.target_uid).first()
    if template is None:
        raise StepFailed(_("The template is gone."), code="template_gone")
    return template


def _ref(template: Template) -> DiskRef:
    return DiskRef(template.pk, template.storage_domain.external_id)


def _chunks(path: str) -> Iterator[bytes]:
    with Path(path).open("rb") as image:
        while chunk := image.read(CHUNK):
            yield chunk


def upload(ctx: StepContext) -> None:
    """Send the image to the storage domain."""
    template = _template(ctx)
    driver = driver_for(template.storage_domain.provider)
    if driver.find_disk(_ref(template)) is None:
        spec = DiskSpec(template.pk, template.storage_domain.external_id, template.disk_gib * GIB)
        driver.upload_disk(spec, chunks=_chunks(ctx.params["path"]))
    ctx.fault_point("made")


def remove(ctx: StepContext) -> None:
    """Remove the image; already gone is done."""
    template = _template(ctx)
    driver_for(template.storage_domain.provider).delete_disk(_ref(template))


def make_ready(ctx: StepContext) -> None:
    """Read back, and let it be used."""
    template = _template(ctx)
    if driver_for(template.storage_domain.provider).find_disk(_ref(template)) is None:
        raise StepFailed(_("The image did not arrive."), code="image_missing")
    Template.objects.filter(pk=template.pk).update(status="ok")


def forget(job: JobContext) -> None:
    """Nothing was made: the row goes."""
    Template.objects.filter(pk=job.target_uid).delete()


class ImportTemplate(Operation):
    """Make a template from an image file on the portal's own machine (by command only)."""

    name = "compute.import_template"
    title = gettext_lazy("Import template")
    audit_verb = "TEMPLATE_CREATE"
    when_failed = gettext_lazy("What had been made was undone.")
    steps = (
        StepDef("upload", gettext_lazy("Upload the image"), upload, remove),
        StepDef("make_ready", gettext_lazy("Verify"), make_ready),
    )
    on_failed = staticmethod(forget)


def register_all() -> None:
    """Make them known to the engine."""
    register(ImportTemplate)
