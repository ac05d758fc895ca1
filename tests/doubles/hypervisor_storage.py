"""The double's storage."""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from portal.hypervisors.base import MOST_VOLUMES
from portal.hypervisors.errors import (
    AlreadyExists,
    Busy,
    Invalid,
    NoCapacity,
    NotFound,
)
from portal.hypervisors.images import only_fit
from portal.hypervisors.specs import (
    DiskFound,
    DiskRef,
    DiskSpec,
    InitialRun,
    StorageDomainFound,
    VolumeFound,
    VolumeRef,
)
from tests.doubles.hypervisor_calls import Body, DoubleCalls, marker_of
from tests.doubles.hypervisor_state import drop, every, get, put

KEPT = 4 * 1024 * 1024  # of larger uploads the checksum alone is kept


def empty_image(size: int) -> bytes:
    """A qcow2 image (version 3) of a disk of this size with nothing on it: its head, its counts, its first table."""
    cluster, tables = 1 << 16, max(1, -(-size >> 29))
    head = struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        b"QFI\xfb", 3, 0, 0, 16, size, 0, tables, 3 * cluster, cluster, 1, 0, 0, 0, 0, 0, 4, 104,
    )  # fmt: skip
    parts = (head, struct.pack(">Q", 2 * cluster), struct.pack(">4H", 1, 1, 1, 1), b"")
    return b"".join(part.ljust(cluster, b"\0") for part in parts)


class DoubleStorage(DoubleCalls):
    """Storage domains, disks and first-boot volumes."""

    def ensure_storage_domain(self, name: str, *, path: str) -> StorageDomainFound:
        with self.call("ensure_storage_domain", name, kind="storage_domain"), self.store.change() as db:
            if not f"{name}-".startswith(f"{self._prefix()}-"):
                raise Invalid(detail=f"storage domain {name}")
            body = get(db, "storage_domain", name)
            if body is None:
                body = {"path": path, "marker": self._mark(self.connection.portal_id)}
                put(db, "storage_domain", name, body)
            if not self._is_ours(body):
                raise AlreadyExists(detail=f"storage domain {name}")
            return self._storage_found(db, name)

    def delete_storage_domain(self, name: str) -> None:
        with self.call("delete_storage_domain", name), self.store.change() as db:
            body = get(db, "storage_domain", name)
            if body is None or not self._is_ours(body):
                return
            if any(disk["storage_domain"] == name for disk in every(db, "disk").values()):
                raise Busy(detail=f"storage domain {name} is not empty")
            drop(db, "storage_domain", name)

    def create_disk(self, spec: DiskSpec) -> DiskFound:
        key = self._disk_key(DiskRef(uid=spec.uid, storage_domain=spec.storage_domain))
        with self.call("create_disk", key, kind="disk"), self.store.change() as db:
            return self._make_disk(db, key, spec, allocated=196_616, sha256="")

    def upload_disk(self, spec: DiskSpec, *, chunks: Iterator[bytes]) -> DiskFound:
        key = self._disk_key(DiskRef(uid=spec.uid, storage_domain=spec.storage_domain))
        with self.call("upload_disk", key, kind="disk"):
            data = b"".join(only_fit(chunks, format=spec.format))
            digest = hashlib.sha256(data).hexdigest()
            if len(data) <= KEPT:
                self._bytes_of(digest).write_bytes(data)
            with self.store.change() as db:
                return self._make_disk(db, key, spec, allocated=len(data), sha256=digest)

    def _make_disk(self, db: sqlite3.Connection, key: str, spec: DiskSpec, *, allocated: int, sha256: str) -> DiskFound:
        _refuse_missing(db, spec.storage_domain)
        body = get(db, "disk", key)
        if body is None:
            base = self._refuse_strange(db, spec.base) if spec.base else ""
            if self._storage_found(db, spec.storage_domain).free_bytes < allocated:
                raise NoCapacity(detail=f"storage domain {spec.storage_domain}")
            body = {
                "marker": self._mark(spec.uid), "storage_domain": spec.storage_domain, "base": base,
                "size": spec.size_bytes, "allocated": allocated, "sha256": sha256,
            }  # fmt: skip
            put(db, "disk", key, body)
        return _disk_found(key, body)

    def copy_disk(self, spec: DiskSpec, *, source: VolumeRef) -> DiskFound:
        key = self._disk_key(DiskRef(uid=spec.uid, storage_domain=spec.storage_domain))
        with self.call("copy_disk", key, kind="disk"), self.store.change() as db:
            origin = self._origin(db, source.storage_domain, source.external_id)
            if origin.get("format", "qcow2") != source.format or (origin["base"] and not self._is_ours(origin)):
                raise Invalid(detail=f"volume {source.external_id}")
            whole = replace(spec, size_bytes=origin["size"])
            return self._make_disk(db, key, whole, allocated=origin["allocated"], sha256=origin["sha256"])

    def copied_bytes(self, spec: DiskSpec) -> int | None:
        key = self._disk_key(DiskRef(uid=spec.uid, storage_domain=spec.storage_domain))
        with self.call("copied_bytes", key), self.store.open() as db:
            body = get(db, "disk", key)
            return None if body is None else int(body["allocated"])

    def download_disk(self, ref: DiskRef, *, take: Callable[[bytes], None]) -> None:
        key = self._disk_key(ref)
        with self.call("download_disk", key):
            with self.store.open() as db:
                _refuse_missing(db, ref.storage_domain)
                body = get(db, "disk", key)
            if body is None or not self._is(body, ref.uid):
                raise NotFound(detail=f"disk {key}")
            kept = self._bytes_of(body["sha256"] or "none")
            take(kept.read_bytes() if kept.exists() else empty_image(body["size"]))

    def _bytes_of(self, digest: str) -> Path:
        return self.store.folder / f"{digest}.bytes"

    def volumes(self, storage_domain: str) -> tuple[VolumeFound, ...]:
        with self.call("volumes", storage_domain), self.store.open() as db:
            found = self._volumes(db, storage_domain)
            told = sorted(found, key=lambda row: (row.uid is not None, row.is_other_portals))[:MOST_VOLUMES]
            return tuple(row for row in found if row in told)

    def find_volume(self, storage_domain: str, external_id: str) -> VolumeFound | None:
        with self.call("find_volume", external_id), self.store.open() as db:
            return next((row for row in self._volumes(db, storage_domain) if row.external_id == external_id), None)

    def volume_users(self, storage_domain: str, external_id: str) -> tuple[str, ...]:
        with self.call("volume_users", external_id), self.store.open() as db:
            if get(db, "storage_domain", storage_domain) is None:
                return tuple(sorted(vm["name"] for vm in every(db, "vm").values() if external_id in vm["disks"]))
            found = [row for row in self._volumes(db, storage_domain) if row.external_id == external_id]
            return found[0].users if found else ()

    def _volumes(self, db: sqlite3.Connection, storage_domain: str) -> list[VolumeFound]:
        _refuse_missing(db, storage_domain)
        machines = every(db, "vm")
        return [
            _volume_found(
                key,
                body,
                {uid: vm for uid, vm in machines.items() if key in vm["disks"]},
                is_ours=self._is_ours(body),
            )
            for key, body in sorted(every(db, "disk").items())
            if body["storage_domain"] == storage_domain and not key.endswith(".iso")
        ]

    def volume_head(self, storage_domain: str, external_id: str, *, length: int) -> bytes:
        with self.call("volume_head", external_id), self.store.open() as db:
            return bytes.fromhex(self._origin(db, storage_domain, external_id).get("head", ""))[:length]

    @staticmethod
    def _origin(db: sqlite3.Connection, storage_domain: str, external_id: str) -> Body:
        _refuse_missing(db, storage_domain)
        body = get(db, "disk", external_id)
        if body is None or body["storage_domain"] != storage_domain:
            raise NotFound(detail=f"volume {external_id}")
        return body

    def find_disk(self, ref: DiskRef) -> DiskFound | None:
        key = self._disk_key(ref)
        with self.call("find_disk", key), self.store.open() as db:
            _refuse_missing(db, ref.storage_domain)
            body = get(db, "disk", key)
            return _disk_found(key, body) if body and self._is(body, ref.uid) else None

    def delete_disk(self, ref: DiskRef) -> None:
        key = self._disk_key(ref)
        with self.call("delete_disk", key), self.store.change() as db:
            body = get(db, "disk", key)
            if body is None or not self._is(body, ref.uid):
                return
            if any(disk["base"] == key for disk in every(db, "disk").values()):
                raise Busy(detail=f"disk {key} has linked clones")
            if any(key in vm["disks"] for vm in every(db, "vm").values()):
                raise Busy(detail=f"disk {key} is in use")
            drop(db, "disk", key)

    def our_disks(self, storage_domain: str) -> tuple[DiskFound, ...]:
        with self.call("our_disks", storage_domain), self.store.open() as db:
            _refuse_missing(db, storage_domain)
            found = every(db, "disk").items()
            return tuple(
                _disk_found(key, body)
                for key, body in found
                if body["storage_domain"] == storage_domain and self._is_ours(body) and not key.endswith(".iso")
            )

    def create_first_boot(self, vm_uid: UUID, initial_run: InitialRun, *, storage_domain: str) -> DiskRef | None:
        key = self._name(vm_uid, "iso")
        with self.call("create_first_boot", key, kind="disk"), self.store.change() as db:
            spec = DiskSpec(uid=vm_uid, storage_domain=storage_domain, size_bytes=376_832, format="raw")
            self._make_disk(db, key, spec, allocated=376_832, sha256=initial_run.hostname)
            return DiskRef(uid=vm_uid, storage_domain=storage_domain, external_id=key)

    def delete_first_boot(self, vm_uid: UUID, *, storage_domain: str) -> None:
        key = self._name(vm_uid, "iso")
        with self.call("delete_first_boot", key), self.store.change() as db:
            drop(db, "disk", key)

    def _disk_key(self, ref: DiskRef) -> str:
        return ref.external_id or self._name(ref.uid, "qcow2")

    def _refuse_strange(self, db: sqlite3.Connection, ref: DiskRef) -> str:
        """The key of a disk of ours that is there."""
        key = self._disk_key(ref)
        body = get(db, "disk", key)
        if body is None or not self._is(body, ref.uid):
            raise NotFound(detail=f"disk {key}")
        return key

    def _storage_found(self, db: sqlite3.Connection, name: str) -> StorageDomainFound:
        body = get(db, "storage_domain", name) or {}
        used = sum(disk["allocated"] for disk in every(db, "disk").values() if disk["storage_domain"] == name)
        total = int(self.store.setting("capacity_bytes"))
        marker = marker_of(body["marker"])
        source = body.get("source", "")
        kind, free = "netfs" if source else "dir", max(0, total - used)
        return StorageDomainFound(name, name, kind, "active", total, used, free, marker, source)


def _disk_found(key: str, body: Body) -> DiskFound:
    ref = DiskRef(uid=UUID(body["marker"]["uid"]), storage_domain=body["storage_domain"], external_id=key)
    return DiskFound(ref=ref, external_id=key, size_bytes=body["size"], allocated_bytes=body["allocated"])


def _volume_found(key: str, body: Body, users: dict[str, Body], *, is_ours: bool) -> VolumeFound:
    return VolumeFound(
        storage_domain=body["storage_domain"],
        external_id=key,
        format=body.get("format", "qcow2"),
        size_bytes=body["size"],
        allocated_bytes=body["allocated"],
        uid=UUID(body["marker"]["uid"]) if is_ours else None,
        has_base=bool(body["base"]),
        users=tuple(sorted(vm["name"] for vm in users.values())),
        user_ids=tuple(sorted(users)),
        in_use=any(vm["state"] != "down" for vm in users.values()),
        is_other_portals=body["marker"] is not None and not is_ours,
    )


def _refuse_missing(db: sqlite3.Connection, storage_domain: str) -> None:
    if get(db, "storage_domain", storage_domain) is None:
        raise NotFound(detail=f"storage domain {storage_domain}")
