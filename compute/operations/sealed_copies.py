"""A template of a machine that is sealed: its copy is brought here, sealed in the portal's own folder, and sent in its own place."""

from __future__ import annotations

import errno
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
from compute.operations.asking import going_on, in_turn, stopped
from compute.operations.copies import (
    COPY_SECONDS,
    LOOK_SECONDS,
    QCOW2,
    copy_machine,
    look_at_machine,
    percent_of,
    verify_machine,
)
from compute.operations.images import CHECK_SECONDS, promised_bytes
from compute.operations.left_behind import template_left
from compute.operations.templates import (
    CHUNK,
    CONVERT_SECONDS,
    GIB,
    UNDONE,
    disk_of,
    drop_converted,
    forget,
    remove,
    template_of,
    upload,
)
from portal.hypervisors.connect import driver_for
from portal.hypervisors.specs import DiskFound
from portal.jobs.operation import Done, Operation, StepContext, StepDef, StepFailed, Wait, register

COPIES = 3  # in the portal's folder at once, at most: what was brought, what is changed, what is sent
CLEAR_SECONDS = 2.0  # between two tries to remove the copy that is not sealed
LEAST_BYTES = 64 * 1024**2  # with less left sealing ends: QEMU stops a machine that has no room, and waits for some
# What programs say, and the system, of a file that got no more room.
FULL, FULL_WORDS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}, ("No space left on device", "File too large")
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
    "broken": gettext_lazy(
        "The copy did not arrive whole, or is damaged. Make the template again; if that helps nothing, check the machine's disk."
    ),
    "lacking": gettext_lazy(
        "Disks cannot be sealed here now; Readiness tells super-admins why. Take out in the machine what makes it that machine, "
        "and make the template without sealing."
    ),
}


def _refusal(code: str, detail: str) -> StepFailed:
    return StepFailed(str(REFUSED[code]), code=f"seal_{code}", detail=detail)


def look(ctx: StepContext) -> Done | Wait:
    """The portal can seal, the machine is off, and its disk is there."""
    text = _("It is tried out whether disks can be sealed here.")
    try:
        lacking = sealing.tried(going_on(ctx, text))
    except Stopped:
        return stopped()
    if lacking:
        raise _refusal("lacking", lacking)
    return look_at_machine(ctx)


def seal(ctx: StepContext) -> Wait | None:
    """Bring the copy here and seal it, in one place of slow work: no more of them lie here than there are places."""
    template, target = template_of(ctx), spool.converted(ctx.target_uid)
    with spool.slow_work() as has_place:
        if not has_place:
            return in_turn()
        try:
            if not target.exists():
                _fetch(ctx, template)
                _refuse_foreign(template)
                _sealed(ctx, template, target)
            spool.fetched(template.pk).unlink(missing_ok=True)
        except Stopped:
            return stopped()
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise _spool_full(str(error)) from error
    ctx.fault_point("made")
    return None


# -- room in the portal's folder


def _room() -> int:
    """How many bytes it has for sealing."""
    return max(CHUNK, spool.free_bytes() - promised_bytes() - settings.IMAGE_SPARE_BYTES)


def _spool_full(detail: str) -> StepFailed:
    text = _(
        "The portal's folder of images has no room for sealing this disk. Make room there, and make the template again."
    )
    return StepFailed(text, code="spool_full", detail=detail)


def _failed(detail: str) -> StepFailed:
    """What a program's failure means."""
    return _spool_full(detail) if any(word in detail for word in FULL_WORDS) else _refusal("failed", detail)


def _going_on(ctx: StepContext, text: str) -> Callable[[], bool]:
    """The same as ``going_on``, while there is room."""
    go_on = going_on(ctx, text)

    def with_room() -> bool:
        if (left := spool.free_bytes()) < LEAST_BYTES:
            raise _spool_full(f"{left} bytes are left")
        return go_on()

    return with_room


# -- bringing it here


def _fetch(ctx: StepContext, template: Template) -> None:
    """Bring the copy into the portal's own folder, whole or not at all. Raises ``Stopped`` when the job was cancelled meanwhile."""
    spool.drop_parts(template.pk)
    target = spool.fetched(template.pk)
    if target.exists():
        return
    found = driver_for(template.storage_domain.provider).find_disk(disk_of(template))
    if found is None:
        raise StepFailed(_("The copy is gone."), code="image_missing")
    room = _room()
    if COPIES * found.allocated_bytes > room:
        raise _spool_full(f"{COPIES} times {found.allocated_bytes} bytes, {room} are left")
    with spool.part_of(target) as part:
        _bring(ctx, template, found, part)
        part.replace(target)
    ctx.fault_point("brought")


class _Bringing:
    """Takes the bytes, on the hypervisor's thread, until there are too many or nobody wants them.

    ``most``: what the image of such a disk can have; ``room``: what there is room for.
    """

    def __init__(self, file: BinaryIO, *, most: int, room: int) -> None:
        self._file = file
        self._most = most
        self._room = room
        self.bytes = 0
        self.is_over = threading.Event()

    def take(self, part: bytes) -> None:
        self.bytes += len(part)
        if self.is_over.is_set() or self.bytes > min(self._most, self._room):
            raise Stopped
        self._file.write(part)

    def refusal(self) -> StepFailed:
        """Why it took no more."""
        if self.bytes > self._most:
            return StepFailed(_("The copy is larger than its disk can be."), code="copy_too_large")
        return _spool_full(f"more than {self._room} bytes")


def _bring(ctx: StepContext, template: Template, found: DiskFound, part: Path) -> None:
    text = _("The copy is brought to the portal.")
    driver, most = driver_for(template.storage_domain.provider), qemu_img.most_bytes(template.disk_gib * GIB)
    with part.open("xb") as file, ThreadPoolExecutor(1, thread_name_prefix="fetch") as aside:
        part.chmod(0o600)
        bringing = _Bringing(file, most=most, room=_room())
        work = aside.submit(driver.download_disk, disk_of(template), take=bringing.take)
        try:
            while not wait([work], timeout=LOOK_SECONDS).done:
                ctx.report(text, progress=percent_of(bringing.bytes, found.allocated_bytes))
                if ctx.is_cancelled():
                    raise Stopped
        finally:
            bringing.is_over.set()
        try:
            work.result()
        except Stopped as error:
            raise bringing.refusal() from error


# -- sealing it


def _refuse_foreign(template: Template) -> None:
    """By its bytes, before any program of QEMU's opens it here; then by ``qemu-img check``: one that was cut off is full of zeros."""
    fetched = spool.fetched(template.pk)
    try:
        inspection.inspect(fetched, said=QCOW2, most_virtual_bytes=template.disk_gib * GIB)
        qemu_img.check(fetched, bounds=qemu_img.Bounds(CHECK_SECONDS, file_bytes=0))
    except inspection.Refused as error:
        raise _refusal("broken", f"{error.code}: {error.detail}") from error
    except qemu_img.QemuImgFailed as error:
        raise _refusal("broken", error.detail) from error


def _sealed(ctx: StepContext, template: Template, target: Path) -> None:
    """On a layer over what was brought, that each try makes anew; then one image of both."""
    text = _("What makes the machine that machine is taken out of the copy.")
    most = min(qemu_img.most_bytes(template.disk_gib * GIB), _room())
    bounds = qemu_img.Bounds(CONVERT_SECONDS, file_bytes=most)
    with spool.work(template.pk) as folder:
        layer = folder / "layer.qcow2"
        room = Room(folder, sealing.SEAL_SECONDS, most, go_on=_going_on(ctx, text), is_emulated=sealing.is_emulated())
        try:
            qemu_img.overlay(layer, over=spool.fetched(template.pk), bounds=bounds)
            sealing.seal(layer, room=room, report=lambda percent: ctx.report(text, progress=percent))
            qemu_img.convert(layer, said=QCOW2, target=target, bounds=bounds)
        except sealing.SealRefused as error:
            raise (_failed(error.detail) if error.code == "failed" else _refusal(error.code, error.detail)) from error
        except qemu_img.QemuImgFailed as error:
            raise _failed(error.detail) from error


# -- sending it back


def replace(ctx: StepContext) -> Wait | None:
    """Remove the copy that is not sealed, and send the sealed one in its place: what stands there is never sent over."""
    if not ctx.output("replace").get("cleared"):
        remove(ctx)
        template = template_of(ctx)
        if driver_for(template.storage_domain.provider).find_disk(disk_of(template)) is not None:
            return Wait(CLEAR_SECONDS, _("The copy that is not sealed is still there; it is removed again."))
        ctx.fault_point("cleared")
        ctx.remember(cleared=True)
    upload(ctx)
    return None


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
        StepDef("seal", gettext_lazy("Bring the copy to the portal and seal it"), seal, drop_converted),
        StepDef("replace", gettext_lazy("Put the sealed image in its place"), replace, remove),
        StepDef("verify", gettext_lazy("Verify"), verify),
    )
    on_failed = staticmethod(forget)
    left_behind = staticmethod(template_left)


def register_all() -> None:
    """Make it known to the engine."""
    register(SealedTemplateOfMachine)
