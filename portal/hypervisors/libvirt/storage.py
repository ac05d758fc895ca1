"""Storage pools and volumes of ours. A name that is not ours is never touched."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import libvirt

from portal.hypervisors.errors import Busy, Invalid, NoCapacity, NotFound, Unsupported
from portal.hypervisors.images import only_fit
from portal.hypervisors.libvirt import first_boot, names, storage_xml
from portal.hypervisors.libvirt.connection import Session
from portal.hypervisors.libvirt.failures import calling, is_missing, is_taken, named, those_there
from portal.hypervisors.libvirt.storage_xml import VolumeFacts
from portal.hypervisors.libvirt.xml import Element, parse
from portal.hypervisors.specs import DiskFound, DiskRef, DiskSpec, InitialRun, Marker, StorageDomainFound

log = logging.getLogger(__name__)

LOST_AND_FOUND = "lost+found"  # a folder of the file system's own, which libvirt lists among the volumes
IMAGE_FOLDER = "/var/lib/libvirt/images"

_POOL_STATUS = {libvirt.VIR_STORAGE_POOL_RUNNING: "active", libvirt.VIR_STORAGE_POOL_DEGRADED: "active"}


class Storage:
    """The storage of one connection."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # -- storage domains

    def ensure_storage_domain(self, name: str, *, path: str) -> StorageDomainFound:
        """Make, start and set to start by itself; found again by its name, which must begin with our prefix."""
        if not names.is_pool(self._session.portal_id, name):
            raise Invalid(detail=f"storage domain {name!r} must begin with {self._session.prefix}")
        with calling("ensure storage domain"):
            pool = self.pool(name)
            if pool is None:
                uuid = storage_xml.pool_uuid(self._session.portal_id, name)
                pool = self._session.libvirt().storagePoolDefineXML(
                    storage_xml.directory_pool(name, uuid=uuid, path=path or f"{IMAGE_FOLDER}/{name}")
                )
            self._start(pool)
            return self.found(pool)

    def delete_storage_domain(self, name: str) -> None:
        """Remove one of ours that holds nothing but what the driver itself put there."""
        with calling("delete storage domain"):
            pool = self.pool(name)
            if pool is None or not names.is_pool(self._session.portal_id, name):
                return
            if not pool.isActive():
                self._start(pool)
            pool.refresh(0)
            held = dict(named(volumes := pool.listAllVolumes(0)))
            nameless = len(volumes) - len(held)
            held.pop(LOST_AND_FOUND, None)
            probe = held.pop(f"{self._session.prefix}-{names.BOOT_PROBE}", None)
            if held or nameless:
                raise Busy("The storage domain is not empty.", detail=f"pool {name} has {len(held) + nameless} volumes")
            if probe:
                probe.delete(0)
            pool.destroy()
            _remove_folder(pool)
            pool.undefine()

    def pool(self, name: str) -> Any | None:
        """A pool by name, or None."""
        try:
            return self._session.libvirt().storagePoolLookupByName(name)
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise

    def found(self, pool: Any) -> StorageDomainFound:
        """A pool as it is now. ``total`` and ``free`` are those of the file system below it; of units ``total`` alone is told."""
        state, capacity, allocation, available = pool.info()
        name = pool.name()
        ours = names.is_pool(self._session.portal_id, name)
        facts = storage_xml.read_pool(pool.XMLDesc(0))
        return StorageDomainFound(
            external_id=name,
            name=name,
            type=facts.type,
            status=_POOL_STATUS.get(state, "inactive"),
            total_bytes=capacity,
            used_bytes=allocation if facts.tells_use else 0,
            free_bytes=available if facts.tells_use else 0,
            marker=Marker(self._session.portal_id, UUID(pool.UUIDString())) if ours else None,
            shared_source=facts.shared_source,
            holds_disks=not facts.why_no_disks(self._session.portal_id),
        )

    def found_now(self, pool: Any) -> StorageDomainFound:
        """The same, of one of ours after a look at the file system: libvirt counts what it makes, not what disks grow by."""
        if names.is_pool(self._session.portal_id, pool.name()) and pool.isActive():
            try:
                pool.refresh(0)
            except libvirt.libvirtError as error:
                log.info("the figures of pool %s are older: %s", pool.name(), error)  # an upload is at work on it, say
        return self.found(pool)

    @staticmethod
    def _start(pool: Any) -> None:
        if pool.isActive():
            return
        pool.build(0)
        try:
            pool.create(0)
        except libvirt.libvirtError:
            # Another process was faster.
            if not pool.isActive():
                raise
        pool.setAutostart(True)

    # -- disks

    def create_disk(self, spec: DiskSpec) -> DiskFound:
        """An empty volume, or a linked clone."""
        name = names.volume(self._session.portal_id, spec.uid, suffix=spec.format)
        with calling("create disk"):
            pool = self.pool_of(spec.storage_domain)
            found = self.disk_found(pool, name)
            if found is None:
                backing = self._backing(spec.base, format=spec.base_format) if spec.base else None
                text = storage_xml.volume(name, size_bytes=spec.size_bytes, format=spec.format, backing=backing)
                self._create(pool, name, text)
                found = self.disk_found(pool, name)
            return self.there(found, name)

    def upload_disk(self, spec: DiskSpec, *, chunks: Iterator[bytes]) -> DiskFound:
        """A volume from these bytes. A second volume says, while it is there, that the first is not complete."""
        name = names.volume(self._session.portal_id, spec.uid, suffix=spec.format)
        with calling("upload disk"):
            pool = self.pool_of(spec.storage_domain)
            if not self.is_complete(pool, name) or self.disk_found(pool, name) is None:
                self._upload(pool, name, only_fit(chunks, format=spec.format))
            return self.there(self.disk_found(pool, name), name)

    def find_disk(self, ref: DiskRef) -> DiskFound | None:
        """The disk, unless it is not there or an upload of it was not finished."""
        with calling("find disk"):
            pool = self.pool_of(ref.storage_domain)
            if not self._is_ours(ref) or not self.is_complete(pool, self.volume_name(ref)):
                return None
            return self.disk_found(pool, self.volume_name(ref))

    def delete_disk(self, ref: DiskRef) -> None:
        """Remove a volume of ours, unless it is below a linked clone or a machine has it."""
        if not self._is_ours(ref):
            return
        name = self.volume_name(ref)
        with calling("delete disk"):
            pool = self.pool(ref.storage_domain)
            if pool is None:
                return
            facts = self._facts(pool, name)
            if facts is not None:
                self._refuse_used(pool.name(), name, facts.path)
            self._delete(pool, name)

    def our_disks(self, storage_domain: str) -> tuple[DiskFound, ...]:
        """Volumes whose names say that they are ours, first-boot volumes and unfinished uploads left out."""
        with calling("list disks"):
            pool = self.pool_of(storage_domain)
            found = (
                self.disk_found(pool, name) for name, suffix in self._ours_in(pool) if suffix not in names.NO_DISKS
            )
            return tuple(disk for disk in found if disk)

    def volume_name(self, ref: DiskRef) -> str:
        """The name of a disk's volume. Raises ``NotFound`` for one that is not ours."""
        if not self._is_ours(ref):
            raise NotFound("The disk is not there.", detail=f"volume {ref.external_id!r} is not {ref.uid} of ours")
        return ref.external_id or names.volume(self._session.portal_id, ref.uid, suffix="qcow2")

    def _is_ours(self, ref: DiskRef) -> bool:
        """Whether a disk's name says that it is ours, and is this one: another's is as good as absent."""
        known = names.volume_uid(self._session.portal_id, ref.external_id)
        return not ref.external_id or (known is not None and known[0] == ref.uid)

    # -- first-boot data

    def create_first_boot(self, vm_uid: UUID, initial_run: InitialRun, *, storage_domain: str) -> DiskRef:
        """The NoCloud volume of a machine."""
        name = names.volume(self._session.portal_id, vm_uid, suffix=names.FIRST_BOOT)
        with calling("create first-boot volume"):
            pool = self.pool_of(storage_domain)
            if not self.is_complete(pool, name):
                self._upload(pool, name, iter([first_boot.iso_image(vm_uid, initial_run)]))
        return DiskRef(uid=vm_uid, storage_domain=storage_domain, external_id=name)

    def delete_first_boot(self, vm_uid: UUID, *, storage_domain: str) -> None:
        """Remove it; already gone is done."""
        with calling("delete first-boot volume"):
            pool = self.pool(storage_domain)
            if pool is not None:
                self._delete(pool, names.volume(self._session.portal_id, vm_uid, suffix=names.FIRST_BOOT))

    def ensure_volume(self, storage_domain: str, name: str, content: bytes) -> str:
        """A small volume of the driver's own, with this content; its name."""
        with calling("make a volume of the driver's own"):
            pool = self.pool_of(storage_domain)
            if not self.is_complete(pool, name):
                self._upload(pool, name, iter([content]))
        return name

    # -- volumes

    def pool_of(self, storage_domain: str) -> Any:
        """A pool by name. Raises ``NotFound``; within ``calling``."""
        pool = self.pool(storage_domain)
        if pool is None:
            raise NotFound("The storage domain is not there.", detail=f"no pool {storage_domain!r}")
        return pool

    @staticmethod
    def volume(pool: Any, name: str) -> Any | None:
        """A volume by name, or None."""
        try:
            return pool.storageVolLookupByName(name)
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise

    def is_complete(self, pool: Any, name: str) -> bool:
        """Whether a volume is there and not a torso of an upload that broke."""
        return self.volume(pool, name) is not None and self.volume(pool, _sentinel(name)) is None

    def _create(self, pool: Any, name: str, text: str) -> None:
        facts = storage_xml.read_pool(pool.XMLDesc(0))
        if why := facts.why_no_disks(self._session.portal_id):
            raise Unsupported(why, detail=f"pool {pool.name()!r}")
        try:
            pool.createXML(text, 0)
        except libvirt.libvirtError:
            if self.volume(pool, name) is None:  # else another call with the same uid was faster
                raise

    def _backing(self, ref: DiskRef, *, format: str) -> Element:  # noqa: A002
        pool, name = self.pool_of(ref.storage_domain), self.volume_name(ref)
        facts = self._facts(pool, name) if self.is_complete(pool, name) else None
        if facts is None:
            raise NotFound("The image to clone from is not there.", detail=f"no volume {name}")
        return storage_xml.backing(facts.path, format=format)

    def _upload(self, pool: Any, name: str, chunks: Iterable[bytes]) -> None:
        with self.being_made(pool, name):
            volume = pool.createXML(storage_xml.volume(name, size_bytes=0, format="raw"), 0)
            sent = self._send(volume, chunks)
            self._refuse_unfit(self._facts(pool, name), name, sent=sent)

    @contextmanager
    def being_made(self, pool: Any, name: str) -> Iterator[None]:
        """While a volume is filled a second one says that it is not whole; what breaks leaves neither."""
        self._delete_volume(pool, name)  # the torso of an earlier try
        self._create(pool, _sentinel(name), storage_xml.volume(_sentinel(name), size_bytes=0, format="raw"))
        try:
            yield
        except BaseException as error:
            if not is_taken(error):
                self._delete_quietly(pool, name)
            raise
        self._delete_volume(pool, _sentinel(name))

    def _send(self, volume: Any, chunks: Iterable[bytes]) -> int:
        """The number of bytes that libvirt took."""
        stream, sent = self._session.libvirt().newStream(0), 0
        volume.upload(stream, 0, 0, 0)
        try:
            for chunk in chunks:
                rest = memoryview(chunk)
                while rest:
                    rest = rest[stream.send(bytes(rest)) :]
                sent += len(chunk)
            stream.finish()
        except BaseException:
            abort(stream)
            raise
        return sent

    @staticmethod
    def _refuse_unfit(facts: VolumeFacts | None, name: str, *, sent: int) -> None:
        """libvirt 9.0 writes behind our back and says nothing when that fails near the end: count what arrived.

        And an uploaded image must not name another file of the host as the one below it.
        """
        arrived = facts.file_bytes if facts else 0
        if facts is None or arrived < sent:
            raise NoCapacity(detail=f"{arrived} of {sent} bytes of {name} arrived")
        if facts.backing:
            raise Invalid("The image refers to another image.", detail=f"{name} has a backing file")

    def _ours_in(self, pool: Any) -> Iterator[tuple[str, str]]:
        """Names and suffixes of our volumes."""
        for name, _volume in named(pool.listAllVolumes(0)):
            known = names.volume_uid(self._session.portal_id, name)
            if known:
                yield name, known[1]

    def _refuse_used(self, storage_domain: str, name: str, path: str) -> None:
        conn = self._session.libvirt()
        # In others' volumes is not looked: that opens files, and storage of others may hang.
        pools = conn.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
        if any(those_there(pools, lambda pool: path in self._bases(pool))):
            raise Busy("Other disks are linked clones of this one.", detail=f"a volume lies over {path}")
        if any(those_there(conn.listAllDomains(0), lambda domain: _uses(domain, storage_domain, name, path))):
            raise Busy("A machine uses this disk.", detail=f"a domain uses {path}")

    def _bases(self, pool: Any) -> set[str]:
        """The paths of what our volumes in a pool lie over."""
        found = (self._facts(pool, name) for name, _suffix in self._ours_in(pool))
        return {facts.backing for facts in found if facts}

    def _facts(self, pool: Any, name: str) -> VolumeFacts | None:
        """What a volume is like; None when it is gone. Raises as ``Busy`` while it is being made."""
        volume = self.volume(pool, name)
        try:
            return storage_xml.read_volume(volume.XMLDesc(0)) if volume else None
        except libvirt.libvirtError as error:
            if not is_missing(error):
                raise
        # Its file is not there: removed by hand, which libvirt then sees, or not made yet, and then libvirt refuses.
        pool.refresh(0)
        volume = self.volume(pool, name)
        return storage_xml.read_volume(volume.XMLDesc(0)) if volume else None

    def _delete(self, pool: Any, name: str) -> None:
        self._delete_volume(pool, name)
        self._delete_volume(pool, _sentinel(name))

    def _delete_volume(self, pool: Any, name: str) -> None:
        volume = self.volume(pool, name)
        if volume is None:
            return
        try:
            volume.delete(0)
        except libvirt.libvirtError as error:
            if not is_missing(error):
                raise

    def _delete_quietly(self, pool: Any, name: str) -> None:
        """Clean up after a failure, which is the error that the caller must see."""
        try:
            self._delete(pool, name)
        except libvirt.libvirtError as error:
            log.warning("the rest of a broken upload stays, marked as incomplete: %s", error)

    def disk_found(self, pool: Any, name: str) -> DiskFound | None:
        """A volume of ours as a disk, or None when it is gone or not ours. Raises as ``Busy`` while it is being made."""
        known, facts = names.volume_uid(self._session.portal_id, name), self._facts(pool, name)
        if known is None or facts is None:
            return None
        ref = DiskRef(uid=known[0], storage_domain=pool.name(), external_id=name)
        return DiskFound(ref=ref, external_id=name, size_bytes=facts.size_bytes, allocated_bytes=facts.allocated_bytes)

    @staticmethod
    def there(found: DiskFound | None, name: str) -> DiskFound:
        """The disk. Raises ``NotFound`` for None."""
        if found is None:
            raise NotFound("The disk is gone.", detail=f"{name} was removed as soon as it was made")
        return found


def _remove_folder(pool: Any) -> None:
    """It is empty; where it is a file system of its own it cannot go, and need not."""
    try:
        pool.delete(0)
    except libvirt.libvirtError as error:
        log.info("the folder of a storage domain stays: %s", error)


def _sentinel(name: str) -> str:
    return f"{name.rsplit('.', 1)[0]}.{names.UPLOADING}"


def _uses(domain: Any, pool: str, volume: str, path: str) -> bool:
    root = parse(domain.XMLDesc(0))
    sources = [*root.iterfind("devices/disk/source"), *root.iterfind("devices/disk//backingStore/source")]
    return any(
        (source.get("pool"), source.get("volume")) == (pool, volume) or source.get("file") == path for source in sources
    )


def abort(stream: Any) -> None:
    """End a stream early; never raises."""
    try:
        stream.abort()
    except libvirt.libvirtError as error:
        log.debug("aborting a stream: %s", error)
