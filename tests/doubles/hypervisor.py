"""A double of a hypervisor: behaves like libvirt's driver towards the portal, and suffers faults on demand.

Its state outlives processes and is shared by them: web, worker and watcher are several, and workers get killed. Registered
by ``HYPERVISOR_DRIVERS = {"double": "tests.doubles.hypervisor.DoubleDriver"}``; its address is ``double:///a/folder``.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from portal.hypervisors.base import Driver, Watch
from portal.hypervisors.errors import (
    AlreadyExists,
    Busy,
    Denied,
    HypervisorError,
    Invalid,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    Unavailable,
    Unsupported,
)
from portal.hypervisors.specs import (
    About,
    Address,
    Capabilities,
    Change,
    Connection,
    ConsoleTarget,
    DiskFound,
    DiskRef,
    DiskSpec,
    HostFound,
    InitialRun,
    Inventory,
    Marker,
    NetworkFound,
    NetworkSpec,
    NicSpec,
    StorageDomainFound,
    VmFound,
    VmRef,
    VmSpec,
    VmStatus,
)
from tests.doubles.hypervisor_state import Fault, Store, drop, every, get, put

Body = dict[str, Any]

ERRORS: dict[Fault, type[HypervisorError]] = {
    Fault.FULL: NoCapacity,
    Fault.BUSY: Busy,
    Fault.GONE: Unavailable,
    Fault.REFUSED: Denied,
    Fault.INVALID: Invalid,
    Fault.LOST_BEFORE: OutcomeUnknown,
}

# A state with an end: what it is until then, and the state after it.
PASSING = {
    "starting": ("boot_seconds", VmStatus.POWERING_UP, "up"),
    "stopping": ("halt_seconds", VmStatus.POWERING_DOWN, "down"),
    "rebooting": ("boot_seconds", VmStatus.REBOOT_IN_PROGRESS, "up"),
}
OFF = {VmStatus.DOWN, VmStatus.SUSPENDED}
LASTING = {"up": VmStatus.UP, "down": VmStatus.DOWN, "paused": VmStatus.PAUSED, "suspended": VmStatus.SUSPENDED}


class DoubleWatch(Watch):
    """Sees changes by looking often: also those that time makes."""

    def __init__(self, driver: DoubleDriver) -> None:
        self._driver = driver
        self._seen = driver.statuses()

    def next(self, *, timeout: float) -> list[Change]:
        until = time.monotonic() + timeout
        while True:
            with self._driver.call("watch_next"):
                now = self._driver.statuses()
            changed = [uid for uid in self._seen.keys() | now.keys() if self._seen.get(uid) != now.get(uid)]
            self._seen = now
            if changed or time.monotonic() >= until:
                return [Change(external_id=uid, what=str(now.get(uid, "gone"))) for uid in changed]
            time.sleep(0.02)

    def close(self) -> None:
        """Nothing to give back."""


class DoubleDriver(Driver):
    """See the module."""

    kind = "double"

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.store = Store(Path(connection.address.removeprefix("double://")))

    # -- faults and marks

    @contextmanager
    def call(self, method: str, key: object = "", *, kind: str = "") -> Iterator[None]:
        """One call: logged, and made to suffer the next fault armed for it."""
        call_id = self.store.log(method, str(key))
        outcome = "ok"
        try:
            after = self._suffer(method)
            yield
            if after is Fault.VANISH:
                self._lose(kind, str(key))
            if after is Fault.LOST:
                raise OutcomeUnknown(detail=f"double: the answer of {method} is lost")
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            self.store.end(call_id, outcome)

    def _suffer(self, method: str) -> Fault | None:
        armed = self.store.take_fault(method)
        if armed is None:
            return None
        fault_id, fault, seconds = armed
        if fault in ERRORS:
            raise ERRORS[fault](detail=f"double: {fault}")
        if fault is Fault.SLOW:
            time.sleep(seconds)
        while fault is Fault.HANG and self.store.fault_exists(fault_id):
            time.sleep(0.02)
        return fault

    def _lose(self, kind: str, key: str) -> None:
        with self.store.change() as db:
            drop(db, kind, key)

    def _mark(self, uid: UUID) -> Body:
        return {"portal_id": str(self.connection.portal_id), "uid": str(uid)}

    def _is_ours(self, body: Body) -> bool:
        return bool(body["marker"]) and body["marker"]["portal_id"] == str(self.connection.portal_id)

    # -- the connection

    def close(self) -> None:
        """Nothing to give back."""

    def about(self) -> About:
        with self.call("about"):
            return About(product="Double", version="1", api_version="1", host_name="double")

    def capabilities(self) -> Capabilities:
        with self.call("capabilities"):
            return Capabilities(accelerated=bool(self.store.setting("accelerated")))

    def inventory(self) -> Inventory:
        about = self.about()
        with self.call("inventory"), self.store.open() as db:
            host = HostFound("double", "double", "up", 8, 32768, 16384, "1", "kvm")
            return Inventory(
                about=about,
                hosts=(host,),
                storage_domains=tuple(self._storage_found(db, name) for name in every(db, "storage_domain")),
                networks=tuple(_network_found(uid, body) for uid, body in every(db, "network").items()),
                vms=tuple(self._vm_found(uid, body) for uid, body in every(db, "vm").items()),
            )

    def watch(self) -> Watch:
        with self.call("watch"):
            return DoubleWatch(self)

    def statuses(self) -> dict[str, VmStatus]:
        """Every machine's status now."""
        with self.store.open() as db:
            return {uid: self._status(body) for uid, body in every(db, "vm").items()}

    # -- storage

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
            digest, length = hashlib.sha256(), 0
            for chunk in chunks:
                digest.update(chunk)
                length += len(chunk)
            with self.store.change() as db:
                return self._make_disk(db, key, spec, allocated=length, sha256=digest.hexdigest())

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

    def _prefix(self) -> str:
        return f"stegi-{self.connection.portal_id.hex[:8]}"

    def _name(self, uid: UUID, suffix: str) -> str:
        return f"{self._prefix()}-{uid}.{suffix}"

    def _disk_key(self, ref: DiskRef) -> str:
        return ref.external_id or self._name(ref.uid, "qcow2")

    def _is(self, body: Body, uid: UUID) -> bool:
        return bool(body["marker"] == self._mark(uid))

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
        marker = _marker(body["marker"])
        return StorageDomainFound(name, name, "dir", "active", total, used, max(0, total - used), marker)

    # -- networks

    def create_network(self, spec: NetworkSpec) -> NetworkFound:
        key = str(spec.uid)
        with self.call("create_network", key, kind="network"), self.store.change() as db:
            body = get(db, "network", key)
            if body is None:
                _refuse_network(db, spec)
                body = {"name": spec.name, "cidr": spec.cidr, "marker": self._mark(spec.uid), "leases": {}}
            if not self._is_ours(body):
                raise AlreadyExists(detail=f"network {key}")
            put(db, "network", key, body | {"active": True})
            return _network_found(key, body | {"active": True})

    def find_network(self, uid: UUID) -> NetworkFound | None:
        with self.call("find_network", uid), self.store.open() as db:
            body = get(db, "network", str(uid))
            return _network_found(str(uid), body) if body and self._is_ours(body) else None

    def delete_network(self, uid: UUID) -> None:
        with self.call("delete_network", uid), self.store.change() as db:
            body = get(db, "network", str(uid))
            if body is None or not self._is_ours(body):
                return
            if any(nic["network"] == body["name"] for vm in every(db, "vm").values() for nic in vm["nics"]):
                raise Busy(detail=f"network {uid} is in use")
            drop(db, "network", str(uid))

    # -- machines

    def create_vm(self, spec: VmSpec) -> VmRef:
        key = str(spec.uid)
        with self.call("create_vm", key, kind="vm"), self.store.change() as db:
            body = get(db, "vm", key)
            if body is not None and not self._is(body, spec.uid):
                raise AlreadyExists(detail=f"vm {key}")
            if body is None:
                if any(vm["name"] == spec.name for vm in every(db, "vm").values()):
                    raise AlreadyExists(detail=f"vm named {spec.name}")
                body = self._vm_body(db, spec)
            put(db, "vm", key, body)
            return VmRef(uid=spec.uid, external_id=key)

    def _vm_body(self, db: sqlite3.Connection, spec: VmSpec) -> Body:
        refs = [*spec.disks, *([spec.first_boot] if spec.first_boot else [])]
        names = {network["name"] for network in every(db, "network").values()}
        if not all(nic.network in names for nic in spec.nics):
            raise NotFound(detail=f"a network of {spec.name}")
        return {
            "name": spec.name, "description": spec.description, "marker": self._mark(spec.uid),
            "memory_mib": spec.memory_mib, "vcpus": spec.vcpus, "state": "down", "since": time.time(),
            "nics": [{"mac": nic.mac, "network": nic.network, "filter": nic.filter} for nic in spec.nics],
            "disks": [self._refuse_strange(db, ref) for ref in refs],
        }  # fmt: skip

    def find_vm(self, uid: UUID) -> VmFound | None:
        with self.call("find_vm", uid), self.store.open() as db:
            body = get(db, "vm", str(uid))
            return self._vm_found(str(uid), body) if body and self._is(body, uid) else None

    def delete_vm(self, ref: VmRef, *, nics: tuple[NicSpec, ...] = ()) -> None:
        with self.call("delete_vm", ref.external_id), self.store.change() as db:
            macs = {nic.mac for nic in nics}
            body = get(db, "vm", ref.external_id)
            if body is not None and self._is(body, ref.uid):
                if self._status(body) not in OFF:
                    raise Busy(detail=f"vm {ref.external_id} runs")
                drop(db, "vm", ref.external_id)
                macs |= {nic["mac"] for nic in body["nics"]}
            self._give_back(db, macs)

    def run_vm(self, ref: VmRef) -> None:
        with self.call("run_vm", ref.external_id, kind="vm"):
            self._refuse_without_disks(ref)
            self._move(ref, when={VmStatus.DOWN}, to="starting")
            self._lease(ref)

    def _refuse_without_disks(self, ref: VmRef) -> None:
        with self.store.open() as db:
            body = get(db, "vm", ref.external_id) or {"disks": []}
            missing = [key for key in body["disks"] if get(db, "disk", key) is None]
        if missing:
            raise NotFound(detail=f"vm {ref.external_id} misses {missing}")

    def shut_down_vm(self, ref: VmRef) -> None:
        with self.call("shut_down_vm", ref.external_id):
            ignored = self.store.setting("guest_ignores_shutdown")
            self._move(ref, when=set() if ignored else {VmStatus.POWERING_UP, VmStatus.UP}, to="stopping")

    def stop_vm(self, ref: VmRef) -> None:
        with self.call("stop_vm", ref.external_id):
            self._move(ref, when=set(VmStatus), to="down")

    def reboot_vm(self, ref: VmRef) -> None:
        with self.call("reboot_vm", ref.external_id):
            self._running(ref)
            self._move(ref, when={VmStatus.UP}, to="rebooting")

    def addresses(self, ref: VmRef) -> tuple[Address, ...]:
        with self.call("addresses", ref.external_id), self.store.open() as db:
            body = get(db, "vm", ref.external_id)
            if body is None or not self._is(body, ref.uid):
                raise NotFound(detail=f"vm {ref.external_id}")
            if self._status(body) is not VmStatus.UP:
                return ()
            leases = {mac: ip for network in every(db, "network").values() for mac, ip in network["leases"].items()}
            macs = [nic["mac"] for nic in body["nics"] if nic["mac"] in leases]
            return tuple(Address(mac=mac, ip=leases[mac], source="lease") for mac in macs)

    def console(self, ref: VmRef, *, protocol: str) -> ConsoleTarget:
        if protocol not in Capabilities().console_protocols:
            raise Unsupported(detail=f"console {protocol}")
        with self.call("console", ref.external_id):
            self._running(ref)
            port = int(self.store.setting("console_port"))
            password = self.store.setting("console_password") or secrets.token_hex(4)
            return ConsoleTarget(protocol, "127.0.0.1", port, password=password, allow_plain=True)

    def _running(self, ref: VmRef) -> None:
        """Raise ``NotFound`` or ``Busy`` unless it is ours and on."""
        with self.store.open() as db:
            body = get(db, "vm", ref.external_id)
        if body is None or not self._is(body, ref.uid):
            raise NotFound(detail=f"vm {ref.external_id}")
        if self._status(body) in OFF:
            raise Busy(detail=f"vm {ref.external_id} is off")

    def _move(self, ref: VmRef, *, when: set[VmStatus], to: str) -> None:
        with self.store.change() as db:
            body = get(db, "vm", ref.external_id)
            if body is None or not self._is(body, ref.uid):
                raise NotFound(detail=f"vm {ref.external_id}")
            if self._status(body) in when:
                put(db, "vm", ref.external_id, body | {"state": to, "since": time.time()})

    def _lease(self, ref: VmRef) -> None:
        with self.store.change() as db:
            nics = (get(db, "vm", ref.external_id) or {"nics": []})["nics"]
            for uid, network in every(db, "network").items():
                for nic in nics:
                    if nic["network"] == network["name"]:
                        hosts = ipaddress.ip_network(network["cidr"]).hosts()
                        next(hosts)  # the gateway
                        taken = set(network["leases"].values())
                        network["leases"].setdefault(nic["mac"], next(str(ip) for ip in hosts if str(ip) not in taken))
                        put(db, "network", uid, network)

    @staticmethod
    def _give_back(db: sqlite3.Connection, macs: set[str]) -> None:
        for uid, network in every(db, "network").items():
            left = {mac: ip for mac, ip in network["leases"].items() if mac not in macs}
            put(db, "network", uid, network | {"leases": left})

    def _status(self, body: Body) -> VmStatus:
        state, since = str(body["state"]), float(body["since"])
        if state not in PASSING:
            return LASTING[state]
        setting, meanwhile, after = PASSING[state]
        return meanwhile if time.time() < since + float(self.store.setting(setting)) else LASTING[after]

    def _vm_found(self, uid: str, body: Body) -> VmFound:
        return VmFound(
            external_id=uid,
            name=body["name"],
            marker=_marker(body["marker"]),
            status=self._status(body),
            memory_mib=body["memory_mib"],
            vcpus=body["vcpus"],
            macs=tuple(nic["mac"] for nic in body["nics"]),
            disks=tuple(body["disks"]),
            host="double",
            accelerated=bool(self.store.setting("accelerated")),
        )


def _marker(body: Body | None) -> Marker | None:
    return Marker(portal_id=UUID(body["portal_id"]), uid=UUID(body["uid"])) if body else None


def _disk_found(key: str, body: Body) -> DiskFound:
    ref = DiskRef(uid=UUID(body["marker"]["uid"]), storage_domain=body["storage_domain"], external_id=key)
    return DiskFound(ref=ref, external_id=key, size_bytes=body["size"], allocated_bytes=body["allocated"])


def _refuse_missing(db: sqlite3.Connection, storage_domain: str) -> None:
    if get(db, "storage_domain", storage_domain) is None:
        raise NotFound(detail=f"storage domain {storage_domain}")


def _refuse_network(db: sqlite3.Connection, spec: NetworkSpec) -> None:
    wanted = ipaddress.ip_network(spec.cidr)
    if wanted.prefixlen > 29:
        raise Invalid(detail=f"network {spec.cidr}")
    for other in every(db, "network").values():
        if other["name"] == spec.name or ipaddress.ip_network(other["cidr"]).overlaps(wanted):
            raise AlreadyExists(detail=f"network {spec.name} {spec.cidr}")


def _network_found(uid: str, body: Body) -> NetworkFound:
    bridge = f"st{uid.replace('-', '')[:12]}"
    return NetworkFound(
        body["name"],
        body["name"],
        _marker(body["marker"]),
        body.get("active", True),
        bridge,
        body["cidr"],
        f"double-{uid}",
    )
