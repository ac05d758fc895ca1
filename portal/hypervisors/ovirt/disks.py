"""Disks of ours on an engine, known by their alias; those that a machine has, and those that none has yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ovirtsdk4 import types

from portal.hypervisors.base import MOST_VOLUMES
from portal.hypervisors.errors import AlreadyExists, Busy, HypervisorError, NotFound, Unsupported
from portal.hypervisors.ovirt import convert, statuses
from portal.hypervisors.ovirt.connection import Session
from portal.hypervisors.ovirt.failures import calling
from portal.hypervisors.ovirt.looking import SEVERAL, engine_id, jobs_of, running
from portal.hypervisors.ovirt.marks import alias, alias_prefix, correlation, image_id
from portal.hypervisors.specs import DiskFound, DiskRef, DiskSpec, VolumeFound

PAGE = 500
MOST_PAGES = 200
NO_DOMAIN = "The storage domain is not there."


class Disks:
    """The disks of one engine."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def create_disk(self, spec: DiskSpec) -> DiskFound:
        """An empty disk under our uid as its id. It is locked for a while, and there from the first moment."""
        if spec.base is not None:
            raise Unsupported(detail="a disk alone cannot lie over another on an engine")
        ref = DiskRef(spec.uid, spec.storage_domain)
        with calling("make disk", mutates=True):
            there = self._look(ref)
            if there is None:
                self._require_domain(spec.storage_domain)
                there = self._made(spec, ref)
        return self._found(there)

    def _made(self, spec: DiskSpec, ref: DiskRef) -> Any:
        disks, headers = self._session.system().disks_service(), correlation("create_disk", spec.uid)
        try:
            with calling("make disk", mutates=True):
                made = disks.add(self._body(spec), headers=headers)
        except HypervisorError:
            # Another call was faster, or the answer was lost: it is there all the same.
            there = self._look(ref)
            if there is None:
                raise
            return there
        return made if made.alias or made.name else self._look(ref) or made

    def _body(self, spec: DiskSpec) -> Any:
        is_raw = spec.format == "raw"
        name = alias(self._session.portal_id, spec.uid)
        return types.Disk(
            id=str(spec.uid),
            image_id=str(image_id(spec.uid)),
            name=name,
            alias=name,
            format=types.DiskFormat.RAW if is_raw else types.DiskFormat.COW,
            sparse=not is_raw,
            provisioned_size=spec.size_bytes,
            storage_domains=[types.StorageDomain(id=engine_id(spec.storage_domain))],
        )

    def find_disk(self, ref: DiskRef) -> DiskFound | None:
        """The disk as it is now."""
        with calling("look up disk"):
            there = self._look(ref)
            if there is None:
                self._require_domain(ref.storage_domain)
                return None
            return self._found(there)

    def delete_disk(self, ref: DiskRef) -> None:
        """The engine would remove a disk from under a machine that is off; we do not."""
        with calling("delete disk", mutates=True):
            there = self._look(ref)
            if there is None:
                return
            service = self._session.system().disks_service().disk_service(convert.key(there))
            try:
                with calling("delete disk", mutates=True):
                    disk = service.get(all_content=True)
                    if disk.vms:
                        raise Busy(
                            "A machine has the disk.", detail=f"disk {disk.id} is of {list(map(convert.key, disk.vms))}"
                        )
                    if not self._is_going(disk, ref):
                        service.remove(headers=correlation("delete_disk", ref.uid))
            except NotFound:
                return

    def _is_going(self, disk: Any, ref: DiskRef) -> bool:
        """Whether it is being removed for an earlier call. Raises ``Busy`` where something else is done to it."""
        if not statuses.is_locked(disk):
            return False
        if running(jobs_of(self._session.system(), "delete_disk", ref.uid)):
            return True
        raise Busy(detail=f"disk {disk.id} is locked")

    def our_disks(self, storage_domain: str) -> tuple[DiskFound, ...]:
        """All that bear our alias there."""
        with calling("list disks"):
            self._require_domain(storage_domain)
            found = (convert.disk(one, portal_id=self._session.portal_id) for one in self._all_ours(storage_domain))
            return tuple(disk for disk in found if disk is not None)

    def volumes(self, storage_domain: str) -> tuple[VolumeFound, ...]:
        """The disks in a storage domain by name, whoever's they are."""
        found = self._volumes(storage_domain)
        told = set(sorted(found, key=lambda key: found[key].uid is not None)[:MOST_VOLUMES])  # ours last, else by name
        return tuple(volume for key, volume in found.items() if key in told)

    def find_volume(self, storage_domain: str, external_id: str) -> VolumeFound | None:
        """One of them."""
        return self._volumes(storage_domain).get(external_id)

    def _volumes(self, storage_domain: str) -> dict[str, VolumeFound]:
        """All of them, by their ids, in the order of their names."""
        with calling("list disks"):
            domain = self._session.system().storage_domains_service().storage_domain_service(engine_id(storage_domain))
            listed = sorted(domain.disks_service().list(), key=lambda one: one.alias or one.name or "")
            portal_id = self._session.portal_id
            found = (convert.volume(one, storage_domain=storage_domain, portal_id=portal_id) for one in listed)
            return {volume.external_id: volume for volume in found if volume is not None}

    def require_ours(self, ref: DiskRef) -> str:
        """The engine's id of a disk of ours that a machine may get, within ``calling``. Raises ``NotFound`` and ``Busy``."""
        there = self._look(ref)
        if there is None:
            raise NotFound("A disk of the machine is not there.", detail=f"no disk {ref.uid} of ours")
        if statuses.is_locked(there):
            raise Busy(detail=f"disk {ref.uid} is locked")
        return convert.key(there)

    def _look(self, ref: DiskRef) -> Any | None:
        """The disk with our alias, in whatever storage domain: by its id where that is known, and no other then.

        Else by the alias, which a copy made by hand may share; one that was made alone has our uid for its id. Raises
        ``AlreadyExists`` where several might be it.
        """
        name = alias(self._session.portal_id, ref.uid)
        listed = self._of_id(ref.external_id) if ref.external_id else self._aliased(name)
        found = [one for one in listed if (one.alias or one.name) == name]
        alone = [one for one in found if convert.key(one) == str(ref.uid)]
        if alone or len(found) < 2:
            return next(iter(alone or found), None)
        raise AlreadyExists(SEVERAL, detail=f"disks {name}: {', '.join(map(convert.key, found))}")

    def _of_id(self, external_id: str) -> list[Any]:
        with suppress(NotFound), calling("look up disk"):
            return [self._session.system().disks_service().disk_service(engine_id(external_id)).get()]
        return []

    def _aliased(self, name: str) -> list[Any]:
        found: list[Any] = self._session.system().disks_service().list(search=f"alias={name}", max=10)
        return found

    def _all_ours(self, storage_domain: str) -> Iterator[Any]:
        disks, seen = self._session.system().disks_service(), set[str]()
        search = f"alias={alias_prefix(self._session.portal_id)}* sortby alias asc"
        for number in range(1, MOST_PAGES):
            found = disks.list(search=f"{search} page {number}", max=PAGE)
            for one in found:
                if convert.key(one) not in seen and storage_domain in convert.disk_domains(one):
                    yield one
            seen |= {convert.key(one) for one in found}
            if len(found) < PAGE:
                return

    def _require_domain(self, storage_domain: str) -> None:
        """A storage domain that is not there does not prove that a disk is not."""
        service = self._session.system().storage_domains_service()
        try:
            with calling("look up storage domain"):
                service.storage_domain_service(engine_id(storage_domain)).get()
        except NotFound as error:
            raise NotFound(NO_DOMAIN, detail=error.detail) from error

    def _found(self, disk: Any) -> DiskFound:
        found = convert.disk(disk, portal_id=self._session.portal_id)
        if found is None:
            raise NotFound(detail=f"disk {disk.id} lost its alias")
        return found


def attached(vm: Any) -> tuple[str, ...]:
    """The ids of a machine's disks."""
    return tuple(convert.key(each.disk) or convert.key(each) for each in convert.known(vm.disk_attachments))


def size_of(vm: Any) -> int | None:
    """The bytes that a machine's disks promise in all; None where one does not tell, as a LUN of its own may not."""
    total = 0
    for attachment in vm.disk_attachments or ():
        size = attachment.disk.provisioned_size if attachment.disk is not None else None
        if size is None:
            return None
        total += int(size)
    return total
