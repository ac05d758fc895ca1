"""Volumes as they are, ours and others', and disks made by copying one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import libvirt

from portal.hypervisors.base import MOST_VOLUMES
from portal.hypervisors.errors import Busy, Invalid, NotFound
from portal.hypervisors.libvirt import names, storage_xml
from portal.hypervisors.libvirt.connection import Session
from portal.hypervisors.libvirt.failures import calling, is_missing, named, those_there
from portal.hypervisors.libvirt.storage import LOST_AND_FOUND, Storage, abort
from portal.hypervisors.libvirt.storage_xml import VolumeFacts
from portal.hypervisors.libvirt.xml import parse
from portal.hypervisors.specs import DiskFound, DiskRef, DiskSpec, VolumeFound, VolumeRef

log = logging.getLogger(__name__)

PART = 256 * 1024
UNREAD = VolumeFacts(size_bytes=0, file_bytes=0, allocated_bytes=0, path="", format="", backing="")

_gate, _at_work = threading.Lock(), set[str]()


@dataclass(frozen=True, slots=True)
class _User:
    """A machine and what it has: paths, and volumes as (pool, name)."""

    name: str
    external_id: str
    active: bool
    has: frozenset[Any]


class Copies:
    """The copying of one connection."""

    def __init__(self, session: Session, storage: Storage) -> None:
        self._session = session
        self._storage = storage

    def copy_disk(self, spec: DiskSpec, *, source: VolumeRef) -> DiskFound:
        """By libvirt, on the host: ``qemu-img convert`` with both formats said, which reads through what lies below."""
        name = names.volume(self._session.portal_id, spec.uid, suffix=spec.format)
        with calling("copy disk"), _alone(name):
            pool = self._storage.pool_of(spec.storage_domain)
            if not self._storage.is_complete(pool, name) or self._storage.disk_found(pool, name) is None:
                self._copy(pool, name, spec, source)
            return self._storage.there(self._storage.disk_found(pool, name), name)

    def copied_bytes(self, spec: DiskSpec) -> int | None:
        """What the file has been given so far: libvirt tells that of a volume that it fills, though not its format."""
        with calling("look at a copy"):
            pool = self._storage.pool_of(spec.storage_domain)
            volume = self._storage.volume(pool, names.volume(self._session.portal_id, spec.uid, suffix=spec.format))
            try:
                return None if volume is None else int(volume.info()[2])
            except libvirt.libvirtError as error:
                if is_missing(error):  # its file is not made yet
                    return None
                raise

    def download_disk(self, ref: DiskRef, *, take: Callable[[bytes], None]) -> None:
        """By a stream, as its file is; what lies below a linked clone is not in it."""
        name = self._storage.volume_name(ref)
        with calling("download disk"):
            pool = self._storage.pool_of(ref.storage_domain)
            if not self._storage.is_complete(pool, name):
                raise NotFound("The disk is not there.", detail=f"no whole volume {name}")
            stream = self._session.libvirt().newStream(0)
            self._volume(ref.storage_domain, name).download(stream, 0, 0, 0)
            try:
                for part in iter(lambda: stream.recv(PART), b""):
                    take(part)
                stream.finish()
            except BaseException:
                abort(stream)
                raise

    def _copy(self, pool: Any, name: str, spec: DiskSpec, source: VolumeRef) -> None:
        origin = self._volume(source.storage_domain, source.external_id)
        facts = storage_xml.read_volume(origin.XMLDesc(0))
        self._refuse_unfit(source, facts)
        text = storage_xml.volume(name, size_bytes=facts.size_bytes, format=spec.format)
        with self._storage.being_made(pool, name):
            pool.createXMLFrom(text, origin, 0)

    def _refuse_unfit(self, source: VolumeRef, facts: VolumeFacts) -> None:
        """libvirt tells qemu-img the format that it found by itself: it must be the one that was said."""
        if facts.format != source.format:
            raise Invalid(
                "The volume is of another format than was said.",
                detail=f"{source.external_id} is {facts.format}, said to be {source.format}",
            )
        is_ours = names.volume_uid(self._session.portal_id, source.external_id) is not None
        if facts.backing and not is_ours:
            raise Invalid("The volume lies over another one.", detail=f"{source.external_id} has a backing file")

    # -- looking

    def volumes(self, storage_domain: str) -> tuple[VolumeFound, ...]:
        """All but what the driver itself put there, with the machines that have them.

        Libvirt lists what was there when somebody read the pool last. What a machine has there besides is told too, without
        format and size: the storage may be other hosts' as well, and the machine come from one of them.
        """
        return self._volumes(storage_domain)

    def find_volume(self, storage_domain: str, external_id: str) -> VolumeFound | None:
        """One of them; of the others nothing is read but their names."""
        return next(iter(self._volumes(storage_domain, only=external_id)), None)

    def _volumes(self, storage_domain: str, *, only: str | None = None) -> tuple[VolumeFound, ...]:
        with calling("list volumes"):
            pool = self._storage.pool_of(storage_domain)
            conn = self._session.libvirt()
            users = tuple(those_there(conn.listAllDomains(0), _user))
            there = dict(named(pool.listAllVolumes(0)))
            wanted = {name for name in there if only in {None, name} and not self._is_internal(name)}
            listed = sorted(wanted, key=self._rank)[:MOST_VOLUMES]
            rows = {name: facts for name in listed if (facts := _facts(there[name])) is not None}
            told = storage_xml.read_pool(pool.XMLDesc(0))
            if told.holds_devices:
                users = tuple(_by_volume(conn, user) for user in users)
            folder = told.path.rstrip("/")
            for name in self._had(pool.name(), folder, users) - rows.keys():
                if only in {None, name}:
                    rows[name] = replace(UNREAD, path=f"{folder}/{name}")
            return tuple(self._found(pool.name(), name, rows[name], users) for name in sorted(rows))

    def _rank(self, name: str) -> tuple[bool, bool, str]:
        """Others' first, then portals' disks, then our own, of which nobody asks here."""
        portal_id = self._session.portal_id
        return names.volume_uid(portal_id, name) is not None, names.is_other_portals(portal_id, name), name

    def volume_users(self, storage_domain: str, external_id: str) -> tuple[str, ...]:
        """Where the pool is not running they are known by the names of what they have: nobody tells its folder any more."""
        with calling("look who has a volume"):
            pool = self._storage.pool(storage_domain)
            if pool is None or not pool.isActive():
                return self._may_have(storage_domain, external_id)
            found = self.find_volume(storage_domain, external_id)
            return found.users if found is not None else ()

    def _may_have(self, storage_domain: str, name: str) -> tuple[str, ...]:
        """What lies in a running pool over a shared source is known: it is that one's, which is asked for by itself.

        A pool over a mere folder may be one over the same storage, mounted by hand.
        """
        if name.startswith(storage_xml.UNIT):  # a machine's path of it is another on each host
            raise NotFound(
                "The storage domain is not there.", detail=f"no pool {storage_domain!r} to look up {name!r} in"
            )
        conn = self._session.libvirt()
        running = conn.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
        pools = those_there(running, lambda pool: storage_xml.read_pool(pool.XMLDesc(0)))
        known = {place for pool in pools if pool.shared_source for place in (pool.name, pool.path.rstrip("/")) if place}
        users = those_there(conn.listAllDomains(0), _user)
        return tuple(sorted(user.name for user in users if any(_is_named(one, name, known) for one in user.has)))

    def _had(self, pool: str, folder: str, users: Iterable[_User]) -> set[str]:
        """The names of what machines have in a pool, by path or by name."""
        has = {each for user in users for each in user.has}
        by_path = (each.rpartition("/") for each in has if isinstance(each, str))
        found = {name for above, _slash, name in by_path if name and above == folder}
        found |= {each[1] for each in has if isinstance(each, tuple) and each[0] == pool}
        return {name for name in found if not self._is_internal(name)}

    def _is_internal(self, name: str) -> bool:
        known = names.volume_uid(self._session.portal_id, name)
        probe = f"{self._session.prefix}-{names.BOOT_PROBE}"
        if names.is_pool(self._session.portal_id, name):  # our own pool's folder, within another pool's
            return True
        return name in {LOST_AND_FOUND, probe} or (known is not None and known[1] in names.NO_DISKS)

    def _found(self, pool: str, name: str, facts: VolumeFacts, users: tuple[_User, ...]) -> VolumeFound:
        known = names.volume_uid(self._session.portal_id, name)
        having = [user for user in users if user.has & {facts.path, (pool, name)}]
        return VolumeFound(
            storage_domain=pool,
            external_id=name,
            format=facts.format,
            size_bytes=facts.size_bytes,
            allocated_bytes=facts.allocated_bytes,
            uid=known[0] if known else None,
            has_base=bool(facts.backing),
            users=tuple(sorted(user.name for user in having)),
            user_ids=tuple(sorted(user.external_id for user in having)),
            in_use=any(user.active for user in having),
            is_other_portals=names.is_other_portals(self._session.portal_id, name),
        )

    def volume_head(self, storage_domain: str, external_id: str, *, length: int) -> bytes:
        """Its first bytes, by a stream."""
        with calling("read the head of a volume"):
            stream = self._session.libvirt().newStream(0)
            self._volume(storage_domain, external_id).download(stream, 0, length, 0)
            head = b"".join(iter(lambda: stream.recv(PART), b""))
            stream.finish()
        return head

    def _volume(self, storage_domain: str, name: str) -> Any:
        volume = self._storage.volume(self._storage.pool_of(storage_domain), name)
        if volume is None:
            raise NotFound("The volume is not there.", detail=f"no volume {name!r} in {storage_domain!r}")
        return volume


def _by_volume(conn: Any, user: _User) -> _User:
    """With the volumes that its devices are: a device has several paths (``/dev/mapper/a-b``, ``/dev/a/b``, ``/dev/dm-0``)."""
    found = set[Any]()
    for path in user.has:
        if isinstance(path, str) and path.startswith("/dev/"):
            try:
                volume = conn.storageVolLookupByPath(path)
                found.add((volume.storagePoolLookupByVolume().name(), volume.name()))
            except libvirt.libvirtError as error:
                if not is_missing(error):
                    raise
    return replace(user, has=user.has | found)


def _is_named(had: Any, name: str, known: set[str]) -> bool:
    """Whether a path, or a volume as (pool, name), is of this name, and not in one of these pools or folders."""
    place, found = had if isinstance(had, tuple) else had.rpartition("/")[::2]
    return found == name and place not in known


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Raise ``Busy`` while a call of this process makes the same copy, one that was abandoned too.

    Of other processes' libvirt tells while it copies; in the moment after that, the copy would be made once more.
    """
    with _gate:
        if name in _at_work:
            raise Busy(detail=f"another call copies to {name}")
        _at_work.add(name)
    try:
        yield
    finally:
        with _gate:
            _at_work.discard(name)


def _facts(volume: Any) -> VolumeFacts | None:
    """What a volume is like; None for one that is gone, is being made, or cannot be read: it cannot be copied either."""
    try:
        return storage_xml.read_volume(volume.XMLDesc(0))
    except libvirt.libvirtError as error:
        if error.get_error_domain() in {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}:
            raise
        if not is_missing(error):
            log.info("a volume is left out: %s", error)
        return None


def _user(domain: Any) -> _User:
    """With what it has now, and what it will have when it is started anew."""
    texts = [domain.XMLDesc(0)]
    if domain.isActive() and domain.isPersistent():
        texts.append(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    # With what lies below a disk, and what it is copied to just now.
    sources = [source for text in texts for source in parse(text).iterfind("devices/disk//source")]
    paths = {path for source in sources for path in (source.get("file"), source.get("dev")) if path}
    volumes = {(source.get("pool"), source.get("volume")) for source in sources if source.get("volume")}
    return _User(domain.name(), domain.UUIDString(), bool(domain.isActive()), frozenset(paths | volumes))
