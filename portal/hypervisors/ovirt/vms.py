"""Machines of ours: found, run and stopped, deleted, taken into our care and given back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

from ovirtsdk4 import types

from portal.hypervisors.errors import AlreadyExists, Busy, HypervisorError, NotFound, OutcomeUnknown
from portal.hypervisors.ovirt import convert, disks, statuses
from portal.hypervisors.ovirt.connection import Session
from portal.hypervisors.ovirt.failures import calling
from portal.hypervisors.ovirt.looking import GONE, Looking, engine_id
from portal.hypervisors.ovirt.making import EVERYTHING, Makings
from portal.hypervisors.ovirt.marks import Mark, correlation, is_put_on, pin_of, with_mark, without_mark
from portal.hypervisors.specs import VmFound, VmRef, VmStatus

log = logging.getLogger(__name__)

NOT_RUNNING = "The machine is not running."
OFF = frozenset({VmStatus.DOWN})
REBOOTING = frozenset({VmStatus.REBOOT_IN_PROGRESS})


class Machines:
    """The machines of one engine."""

    def __init__(self, session: Session, *, looking: Looking, makings: Makings) -> None:
        self._session = session
        self._looking = looking
        self._makings = makings

    def find_vm(self, uid: UUID, external_id: str = "") -> VmFound | None:
        """The machine as it is now."""
        with calling("look up machine"):
            there = self._looking.find(uid, external_id, follow=EVERYTHING)
            return convert.vm(there, portal_id=self._session.portal_id) if there is not None else None

    def delete_vm(self, ref: VmRef) -> None:
        """Its disks stay, detached."""
        with calling("delete machine", mutates=True):
            there = self._looking.find(ref.uid, ref.external_id, follow=EVERYTHING)
            if there is None:
                return
            status, _detail = statuses.of_vm(there)
            if status is VmStatus.IMAGE_LOCKED:
                raise Busy(detail=f"machine {ref.uid} is locked")
            if status is not VmStatus.DOWN:
                raise Busy("The machine is running.", detail=f"machine {ref.uid} is {status}")
            try:
                with calling("delete machine", mutates=True):
                    self._looking.remove(there, correlation("delete_vm", ref.uid))
            except NotFound:
                return
            except HypervisorError:
                if self._looking.find(ref.uid, ref.external_id) is not None:
                    raise

    def disk_sizes(self, external_ids: tuple[str, ...]) -> dict[str, int | None]:
        """What the disks of machines promise, whoever's they are; one request for each."""
        sizes: dict[str, int | None] = {}
        for external_id in external_ids:
            try:
                with calling("measure disks"):
                    sizes[external_id] = disks.size_of(
                        self._looking.of_id(external_id).get(follow="disk_attachments.disk")
                    )
            except NotFound:
                continue
        return sizes

    # -- other people's, taken into our care and given back

    def adopt_vm(self, external_id: str) -> VmRef:
        """Put our mark into the comment. The engine's id of it is its uid here too.

        One that we made, and whose row was lost, has our mark with a uid of ours: that stays, and is told which machine it is on.
        """
        with calling("mark machine", mutates=True):
            vm = self._there(external_id)
            own_id = convert.key(vm)
            there = convert.mark_of(vm, portal_id=self._session.portal_id)
            if there is not None and not self._is_ours(there, vm):
                raise AlreadyExists(
                    "The machine bears another portal's mark, or is a copy of one of ours.", detail=f"machine {own_id}"
                )
            marker = there.marker if there is not None else self._session.marker(UUID(own_id))
            comment = with_mark(vm.comment, Mark(marker, pin_of(own_id)))
            if comment != (vm.comment or ""):
                self._write_comment(vm, comment, correlation("adopt_vm", marker.uid))
        return VmRef(marker.uid, external_id)

    def _is_ours(self, mark: Mark, vm: Any) -> bool:
        is_here = is_put_on(mark, external_id=convert.key(vm), name=vm.name or "")
        return is_here and mark.marker.portal_id == self._session.portal_id

    def unadopt_vm(self, ref: VmRef) -> None:
        """Take our mark off."""
        with calling("unmark machine", mutates=True):
            vm = self._looking.find(ref.uid, ref.external_id)
            mark = self._looking.mark(vm, ref.uid) if vm is not None else None
            if vm is not None and mark is not None:
                self._write_comment(vm, without_mark(vm.comment, mark), correlation("unadopt_vm", ref.uid))

    def renew_mark(self, ref: VmRef) -> None:
        """Of a machine that was imported as a new one. A mark that names no machine yet stays so: its first start is to come."""
        with calling("mark machine", mutates=True):
            vm = self._there(ref.external_id)
            mark = self._looking.mark(vm, ref.uid)
            if mark is None:
                raise NotFound(GONE, detail=f"machine {ref.external_id} has no mark of {ref.uid}")
            pin = pin_of(convert.key(vm))
            if mark.pin not in {"", pin}:
                comment = with_mark(vm.comment, Mark(mark.marker, pin))
                self._write_comment(vm, comment, correlation("renew_mark", ref.uid))

    def _there(self, external_id: str) -> Any:
        try:
            with calling("look up machine"):
                return self._looking.of_id(engine_id(external_id)).get()
        except NotFound as error:
            raise NotFound(GONE, detail=error.detail) from error

    def _write_comment(self, vm: Any, comment: str, headers: dict[str, str]) -> None:
        """The comment and nothing else."""
        self._looking.of_id(convert.key(vm)).update(types.Vm(comment=comment), headers=headers)

    # -- power

    def run_vm(self, ref: VmRef) -> None:
        """Switch on, or go on where it is paused; at its first start with what cloud-init needs.

        An engine does not tell whether a machine ever ran. Its mark does: it says which machine it is on since the first
        start, or since before where there is nothing to hand over.
        """
        with calling("start machine", mutates=True):
            vm = self._looking.ours(ref)
            status, _detail = statuses.of_vm(vm)
            service = self._looking.of_id(convert.key(vm))
            first = {} if self._looking.is_pinned(vm, ref.uid) else _handed_over(vm)
            if status is VmStatus.DOWN and not first:
                self._makings.pin(service, vm, ref.uid)
            if status not in statuses.ON:
                headers = correlation("run_vm", ref.uid)
                self._unless_already(ref, statuses.ON, lambda: service.start(**first, headers=headers))
            if first:
                self._pin_later(service, vm, ref)

    def _pin_later(self, service: Any, vm: Any, ref: VmRef) -> None:
        """Of a machine that starts; where the engine is too busy with it, the next call does it."""
        try:
            with calling("mark machine", mutates=True):
                self._makings.pin(service, vm, ref.uid)
        except HypervisorError as error:
            log.info("the mark of %s does not tell its machine yet: %s", ref.uid, error.detail)

    def stop_vm(self, ref: VmRef) -> None:
        """Cut the power."""
        with calling("stop machine", mutates=True):
            vm = self._looking.ours(ref)
            if statuses.of_vm(vm)[0] is VmStatus.DOWN:
                return
            service, headers = self._looking.of_id(convert.key(vm)), correlation("stop_vm", ref.uid)
            self._unless_already(ref, OFF, lambda: service.stop(headers=headers))

    def shut_down_vm(self, ref: VmRef) -> None:
        """Ask the guest."""
        with calling("shut machine down", mutates=True):
            vm = self._looking.ours(ref)
            if statuses.of_vm(vm)[0] in {VmStatus.DOWN, VmStatus.POWERING_DOWN}:
                return
            service, headers = self._looking.of_id(convert.key(vm)), correlation("shut_down_vm", ref.uid)
            done = OFF | {VmStatus.POWERING_DOWN}
            self._unless_already(ref, done, lambda: service.shutdown(headers=headers))

    def reboot_vm(self, ref: VmRef) -> None:
        """Ask the guest."""
        with calling("reboot machine", mutates=True):
            vm = self._looking.ours(ref)
            status, _detail = statuses.of_vm(vm)
            if status in {VmStatus.DOWN, VmStatus.SUSPENDED}:
                raise Busy(NOT_RUNNING, detail=f"machine {ref.uid} is {status}")
            if status in REBOOTING:
                return
            service, headers = self._looking.of_id(convert.key(vm)), correlation("reboot_vm", ref.uid)
            self._unless_already(ref, REBOOTING, lambda: service.reboot(headers=headers))

    def _unless_already(self, ref: VmRef, wanted: frozenset[VmStatus], act: Callable[[], object]) -> None:
        """Do it; that another call was faster is success. An answer that was lost is the caller's to look after."""
        try:
            with calling("change power", mutates=True):
                act()
        except OutcomeUnknown:
            raise
        except HypervisorError:
            if statuses.of_vm(self._looking.ours(ref))[0] not in wanted:
                raise


def _handed_over(vm: Any) -> dict[str, bool]:
    """The engine's word for a start that hands over what was given for the first one; empty where nothing was."""
    given = vm.initialization
    if given is None or not (given.host_name or given.user_name):
        return {}
    is_windows = vm.os is not None and (vm.os.type or "").startswith("windows")
    return {"use_sysprep": True} if is_windows else {"use_cloud_init": True}
