"""A template of a machine that is sealed: its copy is brought here, sealed in the portal's own folder, and sent in its own place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import inspection, qemu_img, sealing, spool
from compute.guestfs import Room, Stopped
from compute.models import Template
from compute.operations.copies import (
    COPY_SECONDS,
    LOOK_SECONDS,
    QCOW2,
    copy_machine,
    look_at_machine,
    percent_of,
    verify_machine,
)
from compute.operations.images import promised_bytes
from compute.operations.left_behind import template_left
from compute.operations.templates import (
    CONVERT_SECONDS,
    GIB,
    UNDONE,
    disk_of,
    drop_converted,
    forget,
    in_turn,
    remove,
    template_of,
    upload,
)
from portal.hypervisors.connect import driver_for
from portal.hypervisors.specs import DiskFound
from portal.jobs.operation import Done, Operation, StepContext, StepDef, StepFailed, Wait, register

COPIES = 3  # in the portal's folder at once, at most: what was brought, what is changed, what is sent
# Each a sentence of its own with its remedy, as a reader's catalogue has it.
REFUSED = {
    "unknown_system": gettext_lazy(
        "virt-sysprep knows no system on this disk: it is encrypted, damaged, or of an unknown kind. Take out in the machine what "
        "makes it that machine, and make the template without sealing."
    ),
    "not_linux": gettext_lazy(
        "virt-sysprep seals Linux alone, and another system is on this disk. Take out in the machine what makes it that machine "
        "(Windows: sysprep), and make the template without sealing."
    ),
    "left_out": gettext_lazy(
        "A file system of this machine could not be mounted or cleaned, so that something would stay in the copy: /etc/fstab names "
        "one that is not there, or its kind is not known here. Mend that in the machine and try again, or take out in it what makes "
        "it that machine, and make the template without sealing."
    ),
    "failed": gettext_lazy(
        "The disk could not be sealed: its file systems are damaged, or too large for the time there is. Check them in the machine "
        "and try again, or take out in it what makes it that machine, and make the template without sealing."
    ),
    "lacking": gettext_lazy(
        "Disks cannot be sealed here now; Readiness tells super-admins why. Take out in the machine what makes it that machine, "
        "and make the template without sealing."
    ),
}


def stopped() -> Wait:
    """What a step says that saw that it is not wanted any more; the engine sees to the rest."""
    return Wait(0.05)


def _refusal(code: str, detail: str) -> StepFailed:
    return StepFailed(str(REFUSED[code]), code=f"seal_{code}", detail=detail)


def _asking(ctx: StepContext, text: str) -> Callable[[], bool]:
    """Tells that it goes on (or raises ``LeaseLost``), and answers whether it may."""

    def go_on() -> bool:
        ctx.report(text)
        return not ctx.is_cancelled()

    return go_on


def look(ctx: StepContext) -> Done | Wait:
    """The portal can seal, the machine is off, and its disk is there."""
    text = _("It is tried out whether disks can be sealed here.")
    try:
        lacking = sealing.tried(_asking(ctx, text))
    except Stopped:
        return stopped()
    if lacking:
        raise _refusal("lacking", lacking)
    return look_at_machine(ctx)


# -- bringing it here


def fetch(ctx: StepContext) -> Wait | None:
    """Bring the copy into the portal's own folder, whole or not at all."""
    template, target = template_of(ctx), spool.fetched(ctx.target_uid)
    with spool.slow_work() as has_place:
        if not has_place:
            return in_turn()
        if not target.exists():
            found = driver_for(template.storage_domain.provider).find_disk(disk_of(template))
            if found is None:
                raise StepFailed(_("The copy is gone."), code="image_missing")
            _refuse_without_room(found)
            with spool.part_of(target) as part:
                if not _brought(ctx, template, found, part):
                    return stopped()
                part.replace(target)
    ctx.fault_point("made")
    return None


def _refuse_without_room(found: DiskFound) -> None:
    room = spool.free_bytes() - promised_bytes() - settings.IMAGE_SPARE_BYTES
    if COPIES * found.allocated_bytes > room:
        text = _(
            "The portal's folder of images has no room for sealing this disk. Make room there, and make the template again."
        )
        detail = f"{COPIES} times {found.allocated_bytes} bytes, {room} are left"
        raise StepFailed(text, code="spool_full", detail=detail)


class _Bringing:
    """Takes the bytes, on the hypervisor's thread, until there are too many or nobody wants them."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._most = most
        self.bytes = 0
        self.is_over = threading.Event()

    def take(self, part: bytes) -> None:
        self.bytes += len(part)
        if self.is_over.is_set() or self.is_too_large:
            raise Stopped
        self._file.write(part)

    @property
    def is_too_large(self) -> bool:
        """Whether there is more than the image of such a disk can have."""
        return self.bytes > self._most


def _brought(ctx: StepContext, template: Template, found: DiskFound, part: Path) -> bool:
    """False when the job was cancelled meanwhile."""
    text = _("The copy is brought to the portal.")
    driver = driver_for(template.storage_domain.provider)
    with part.open("xb") as file, ThreadPoolExecutor(1, thread_name_prefix="fetch") as aside:
        part.chmod(0o600)
        bringing = _Bringing(file, qemu_img.most_bytes(template.disk_gib * GIB))
        work = aside.submit(driver.download_disk, disk_of(template), take=bringing.take)
        try:
            while not wait([work], timeout=LOOK_SECONDS).done:
                ctx.report(text, progress=percent_of(bringing.bytes, found.allocated_bytes))
                if ctx.is_cancelled():
                    return False
            work.result()
        except Stopped as error:
            raise StepFailed(_("The copy is larger than its disk can be."), code="copy_too_large") from error
        finally:
            bringing.is_over.set()
    return True


# -- sealing it


def seal(ctx: StepContext) -> Wait | None:
    """Seal what was brought, on a layer over it that each try makes anew, and make one image of both."""
    template, target = template_of(ctx), spool.converted(ctx.target_uid)
    with spool.slow_work() as has_place:
        if not has_place:
            return in_turn()
        if not target.exists():
            _refuse_foreign(template)
            try:
                _sealed(ctx, template, target)
            except Stopped:
                return stopped()
    ctx.fault_point("made")
    return None


def _refuse_foreign(template: Template) -> None:
    """By its bytes, before any program of QEMU's opens it here."""
    try:
        inspection.inspect(spool.fetched(template.pk), said=QCOW2, most_virtual_bytes=template.disk_gib * GIB)
    except inspection.Refused as error:
        raise _refusal("failed", f"{error.code}: {error.detail}") from error


def _sealed(ctx: StepContext, template: Template, target: Path) -> None:
    text = _("What makes the machine that machine is taken out of the copy.")
    most = qemu_img.most_bytes(template.disk_gib * GIB)
    bounds = qemu_img.Bounds(CONVERT_SECONDS, file_bytes=most)
    with spool.work(template.pk) as folder:
        layer = folder / "layer.qcow2"
        room = Room(folder, sealing.SEAL_SECONDS, most, go_on=_asking(ctx, text), is_emulated=sealing.is_emulated())
        try:
            qemu_img.overlay(layer, over=spool.fetched(template.pk), bounds=bounds)
            sealing.seal(layer, room=room, report=lambda percent: ctx.report(text, progress=percent))
            qemu_img.convert(layer, said=QCOW2, target=target, bounds=bounds)
        except sealing.SealRefused as error:
            raise _refusal(error.code, error.detail) from error
        except qemu_img.QemuImgFailed as error:
            raise _refusal("failed", error.detail) from error


# -- sending it back


def replace(ctx: StepContext) -> None:
    """Remove the copy that is not sealed, and send the sealed one in its place."""
    if not ctx.output("replace").get("cleared"):
        remove(ctx)
        ctx.fault_point("cleared")
        ctx.remember(cleared=True)
    upload(ctx)


def verify(ctx: StepContext) -> None:
    """The machine was off all the time, and the sealed image is there."""
    Template.objects.filter(pk=ctx.target_uid).update(is_sealed=True)
    verify_machine(ctx)


class SealedTemplateOfMachine(Operation):
    """Make a sealed template from a machine that is off; the machine stays as it is."""

    name = "compute.sealed_template_of_machine"
    title = gettext_lazy("Make sealed template from machine")
    audit_verb = "TEMPLATE_CREATE"
    when_failed = UNDONE
    steps = (
        StepDef("look", gettext_lazy("Make sure it is off"), look),
        StepDef("copy", gettext_lazy("Copy the disk"), copy_machine, remove, give_up_after=COPY_SECONDS),
        StepDef("fetch", gettext_lazy("Bring the copy to the portal"), fetch, drop_converted),
        StepDef("seal", gettext_lazy("Seal the copy"), seal, drop_converted),
        StepDef("replace", gettext_lazy("Put the sealed image in its place"), replace, remove),
        StepDef("verify", gettext_lazy("Verify"), verify),
    )
    on_failed = staticmethod(forget)
    left_behind = staticmethod(template_left)


def register_all() -> None:
    """Make it known to the engine."""
    register(SealedTemplateOfMachine)
