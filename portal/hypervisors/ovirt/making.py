"""Making machines: asked for once, found again by their mark whatever became of the answer.

An engine makes a template's disks after it has answered, and lets nobody edit the machine meanwhile, but for its cards: of
these it takes none with the request, and gives it the template's own. So cards are put on after that, and when it can be
edited the mark gets to say which machine it is on: one whose mark does is complete.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ovirtsdk4 import types

from portal.hypervisors.engine_found import Making, MakingState
from portal.hypervisors.errors import HypervisorError, NotFound
from portal.hypervisors.ovirt import bodies, convert, disks, failures, statuses
from portal.hypervisors.ovirt.connection import Session
from portal.hypervisors.ovirt.disks import Disks
from portal.hypervisors.ovirt.failures import calling
from portal.hypervisors.ovirt.looking import Looking, engine_id, jobs_of, running
from portal.hypervisors.ovirt.marks import Mark, alias_uid, correlation, pin_of, with_mark
from portal.hypervisors.specs import NicSpec, VmRef, VmSpec, VmStatus

log = logging.getLogger(__name__)

EVERYTHING = "nics,disk_attachments.disk"


@dataclass(frozen=True, slots=True)
class Parts:
    """What was looked up for a machine: the vNIC profile of each card, and its disks' ids."""

    profiles: tuple[str, ...]
    disks: tuple[str, ...]


class Makings:
    """The machines that are being made on one engine."""

    def __init__(self, session: Session, *, looking: Looking, storage: Disks) -> None:
        self._session = session
        self._looking = looking
        self._disks = storage

    def create_vm(self, spec: VmSpec) -> VmRef:
        """Ask for it, or go on with the one that an earlier call asked for."""
        with calling("make machine", mutates=True):
            there = self._looking.find(spec.uid, follow=EVERYTHING)
            if there is not None and self._looking.is_pinned(there, spec.uid):
                return VmRef(spec.uid, convert.key(there))
            parts = self._parts(spec)
            if there is None:
                return VmRef(spec.uid, self._asked_for(spec, parts))
            self._complete(there, spec, parts)
            return VmRef(spec.uid, convert.key(there))

    def _parts(self, spec: VmSpec) -> Parts:
        """What it is to be made of. Raises ``NotFound``."""
        try:
            profiles = tuple(self._profile(nic) for nic in spec.nics)
        except NotFound as error:
            raise NotFound("A network of the machine is not there.", detail=error.detail) from error
        return Parts(profiles, tuple(self._disks.require_ours(disk) for disk in spec.disks))

    def _asked_for(self, spec: VmSpec, parts: Parts) -> str:
        service = self._session.system().vms_service()
        body = bodies.vm(spec, portal_id=self._session.portal_id)
        headers = correlation("create_vm", spec.uid)
        try:
            with calling("make machine", mutates=True):
                made = service.add(body, clone=spec.clone if spec.template else None, headers=headers)
        except HypervisorError:
            # Its name is taken, perhaps by itself; or the answer was lost: it is there all the same.
            there = self._looking.find(spec.uid, follow=EVERYTHING)
            if there is None:
                raise
            self._complete(there, spec, parts)
            return convert.key(there)
        self._complete_or_remove(made, spec, parts)
        return convert.key(made)

    def _complete_or_remove(self, made: Any, spec: VmSpec, parts: Parts) -> None:
        """What is refused leaves nothing behind; what may succeed later is gone on with by the next call.

        One that is gone by now was accepted all the same: why it could not be made, ``making`` tells.
        """
        try:
            self._complete(made, spec, parts)
        except HypervisorError as error:
            if error.can_retry:
                raise
            if isinstance(error, NotFound) and self._looking.find(spec.uid, convert.key(made)) is None:
                return
            headers = correlation("undo_create_vm", spec.uid)
            try:
                with calling("remove machine", mutates=True):
                    self._looking.remove(made, headers)
            except HypervisorError as second:
                log.warning("a machine that was refused in part could not be removed: %s", second.detail)
            raise

    # -- what it gets after it was accepted

    def _complete(self, vm: Any, spec: VmSpec, parts: Parts) -> None:
        with calling("complete machine", mutates=True):
            service = self._looking.of_id(convert.key(vm))
            self._attach(service, vm, spec, parts)
            if spec.nics or spec.template:
                self._put_cards(service, spec, parts)
            if statuses.of_vm(vm)[0] is VmStatus.DOWN and spec.initial_run is None:
                self.pin(service, vm, spec.uid)

    def _attach(self, service: Any, vm: Any, spec: VmSpec, parts: Parts) -> None:
        has = set(disks.attached(vm))
        attachments, headers = service.disk_attachments_service(), correlation("attach_disk", spec.uid)
        for number, disk_id in enumerate(parts.disks):
            if disk_id in has:
                continue
            body = bodies.attachment(disk_id, is_first=number == 0)
            try:
                with calling("attach disk", mutates=True):
                    attachments.add(body, headers=headers)
            except HypervisorError:
                if disk_id not in {convert.key(each) for each in attachments.list()}:
                    raise

    def _put_cards(self, service: Any, spec: VmSpec, parts: Parts) -> None:
        """Ours in the place of those that it has from its template; what is ours already stays."""
        nics, headers = service.nics_service(), correlation("put_cards", spec.uid)
        has = nics.list()
        there = {convert.mac_of(each) for each in has}
        wanted = {nic.mac.lower() for nic in spec.nics}
        for each in has:
            if convert.mac_of(each) not in wanted:
                self._remove_card(nics.nic_service(convert.key(each)), headers)
        for number, (nic, profile) in enumerate(zip(spec.nics, parts.profiles, strict=True), start=1):
            if nic.mac.lower() not in there:
                self._add_card(nics, bodies.nic(nic, name=f"nic{number}", profile=profile), headers)

    @staticmethod
    def _remove_card(nic: Any, headers: dict[str, str]) -> None:
        with suppress(NotFound), calling("remove card", mutates=True):
            nic.remove(headers=headers)

    @staticmethod
    def _add_card(nics: Any, body: Any, headers: dict[str, str]) -> None:
        try:
            with calling("add card", mutates=True):
                nics.add(body, headers=headers)
        except HypervisorError:
            if body.mac.address not in {convert.mac_of(each) for each in nics.list()}:
                raise

    def pin(self, service: Any, vm: Any, uid: UUID) -> None:
        """Write into the mark which machine it is on, within ``calling``; what stands beside it stays as it is."""
        mark = Mark(self._session.marker(uid), pin_of(convert.key(vm)))
        comment = with_mark(vm.comment, mark)
        if comment != (vm.comment or ""):
            service.update(types.Vm(comment=comment), headers=correlation("pin_vm", uid))

    def _profile(self, nic: NicSpec) -> str:
        """The one that was said, else the first of the network's."""
        system = self._session.system()
        with calling("look up network"):
            if nic.profile:
                return convert.key(system.vnic_profiles_service().profile_service(engine_id(nic.profile)).get())
            network = system.networks_service().network_service(engine_id(nic.network))
            profiles = network.vnic_profiles_service().list()
        if not profiles:
            raise NotFound(detail=f"network {nic.network} has no vNIC profile")
        return convert.key(min(profiles, key=lambda one: (one.name or "", convert.key(one))))

    # -- how far it is

    def making(self, ref: VmRef) -> Making:
        """By the machine, its disks and the engine's jobs. What these do not know is looked at, and never a failure."""
        with calling("look at the making"):
            vm = self._looking.find(ref.uid, ref.external_id, follow=EVERYTHING)
            going_on = running(jobs_of(self._session.system(), "create_vm", ref.uid))
            is_locked = vm is not None and statuses.of_vm(vm)[0] is VmStatus.IMAGE_LOCKED
            if going_on or is_locked:
                return Making(MakingState.WORKING, percent=_percent(going_on))
            if vm is None or any(map(_is_illegal, vm.disk_attachments or ())):
                return Making(MakingState.FAILED, why=self._why(ref.uid))
            return Making(disks=dict(self._disks_of(vm)))

    def _disks_of(self, vm: Any) -> Iterator[tuple[UUID, str]]:
        """Its disks of ours, by the uids that their aliases tell."""
        for each in vm.disk_attachments or ():
            if each.disk is not None:
                uid = alias_uid(self._session.portal_id, each.disk.alias or each.disk.name)
                if uid is not None:
                    yield uid, convert.key(each.disk)

    def _why(self, uid: UUID) -> str:
        """What the engine's events say of a failure, as far as users may read it."""
        search = f"correlation_id={correlation('create_vm', uid)['Correlation-Id']} sortby time desc"
        for event in self._session.system().events_service().list(search=search, max=20):
            if event.severity in {types.LogSeverity.ERROR, types.LogSeverity.ALERT}:
                said = failures.words(event.description or "")
                if said:
                    return said
        return ""


def _is_illegal(attachment: Any) -> bool:
    return attachment.disk is not None and attachment.disk.status is types.DiskStatus.ILLEGAL


def _percent(jobs: list[Any]) -> int | None:
    """How far the steps of these jobs are, where one of them tells; most do not."""
    told = [int(step.progress) for job in jobs for step in job.steps or () if step.progress is not None]
    return min(told, default=None)
