"""The double's networks and machines."""

from __future__ import annotations

import ipaddress
import secrets
import sqlite3
import time
from uuid import UUID

from portal.hypervisors.errors import (
    AlreadyExists,
    Busy,
    Invalid,
    NetworkGone,
    NotFound,
    RangeTaken,
    Unsupported,
)
from portal.hypervisors.specs import (
    Address,
    Capabilities,
    ConsoleTarget,
    NetworkFound,
    NetworkSpec,
    NicSpec,
    VmFound,
    VmRef,
    VmSpec,
    VmStatus,
)
from tests.doubles.hypervisor_calls import Body, DoubleCalls, marker_of
from tests.doubles.hypervisor_state import drop, every, get, put
from tests.doubles.hypervisor_storage import DoubleStorage

# A state with an end: what it is until then, and the state after it.
PASSING = {
    "starting": ("boot_seconds", VmStatus.POWERING_UP, "up"),
    "stopping": ("halt_seconds", VmStatus.POWERING_DOWN, "down"),
    "rebooting": ("boot_seconds", VmStatus.REBOOT_IN_PROGRESS, "up"),
}
ON_THE_WAY = {meanwhile for _setting, meanwhile, _after in PASSING.values()}
OFF = {VmStatus.DOWN, VmStatus.SUSPENDED}
LASTING = {"up": VmStatus.UP, "down": VmStatus.DOWN, "paused": VmStatus.PAUSED, "suspended": VmStatus.SUSPENDED}


class DoubleNetworks(DoubleCalls):
    """Networks, and the leases of their machines' cards."""

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
            return network_found(key, body | {"active": True})

    def find_network(self, uid: UUID) -> NetworkFound | None:
        with self.call("find_network", uid), self.store.open() as db:
            body = get(db, "network", str(uid))
            return network_found(str(uid), body) if body and self._is_ours(body) else None

    def delete_network(self, uid: UUID) -> None:
        with self.call("delete_network", uid), self.store.change() as db:
            body = get(db, "network", str(uid))
            if body is None or not self._is_ours(body):
                return
            if any(nic["network"] == body["name"] for vm in every(db, "vm").values() for nic in vm["nics"]):
                raise Busy(detail=f"network {uid} is in use")
            drop(db, "network", str(uid))


class DoubleMachines(DoubleStorage):
    """Machines and what only a running one has."""

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
        return {
            "name": spec.name, "description": spec.description, "marker": self._mark(spec.uid),
            "memory_mib": spec.memory_mib, "vcpus": spec.vcpus, "state": "down", "since": time.time(),
            "nics": [_nic_body(db, nic) for nic in spec.nics],
            "disks": [self._refuse_strange(db, ref) for ref in refs],
        }  # fmt: skip

    def find_vm(self, uid: UUID, external_id: str = "") -> VmFound | None:
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

    def disk_sizes(self, external_ids: tuple[str, ...]) -> dict[str, int | None]:
        with self.call("disk_sizes", external_ids), self.store.open() as db:
            found = {key: get(db, "vm", key) for key in external_ids}
            disks = every(db, "disk")
            return {
                key: body.get("disk_bytes", sum(disks[disk]["size"] for disk in body["disks"] if disk in disks))
                for key, body in found.items()
                if body is not None
            }

    def adopt_vm(self, external_id: str) -> VmRef:
        with self.call("adopt_vm", external_id), self.store.change() as db:
            body = get(db, "vm", external_id)
            if body is None:
                raise NotFound(detail=f"vm {external_id}")
            uid = UUID(external_id)
            if body["marker"] and not self._is(body, uid):
                raise AlreadyExists(detail=f"vm {external_id}")
            put(db, "vm", external_id, body | {"marker": self._mark(uid)})
            return VmRef(uid, external_id)

    def unadopt_vm(self, ref: VmRef) -> None:
        with self.call("unadopt_vm", ref.external_id), self.store.change() as db:
            body = get(db, "vm", ref.external_id)
            if body is not None and self._is(body, ref.uid):
                put(db, "vm", ref.external_id, body | {"marker": None})

    def run_vm(self, ref: VmRef) -> None:
        with self.call("run_vm", ref.external_id, kind="vm"):
            self._refuse_without_disks(ref)
            self._refuse_without_networks(ref)
            self._move(ref, when={VmStatus.PAUSED}, to="up")
            self._move(ref, when=OFF, to="starting")
            self._lease(ref)

    def _refuse_without_disks(self, ref: VmRef) -> None:
        with self.store.open() as db:
            body = get(db, "vm", ref.external_id) or {"disks": []}
            missing = [key for key in body["disks"] if get(db, "disk", key) is None]
        if missing:
            raise NotFound(detail=f"vm {ref.external_id} misses {missing}")

    def _refuse_without_networks(self, ref: VmRef) -> None:
        """Unless it runs already: then it has them."""
        with self.store.open() as db:
            body = get(db, "vm", ref.external_id)
            there = {one["name"] for one in every(db, "network").values() if one.get("active", True)}
            bridges = every(db, "bridge").keys()
        if body is None or self._status(body) not in OFF:
            return
        for nic in body["nics"]:
            if nic["bridge"] not in bridges if "bridge" in nic else nic["network"] not in there:
                raise NetworkGone(detail=f"vm {ref.external_id} misses a network")

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

    def screenshot(self, ref: VmRef) -> bytes:
        """A screen of one colour, the machine's own; ``screenshot`` among the settings is shown instead."""
        with self.call("screenshot", ref.external_id):
            self._running(ref)
            planted = self.store.setting("screenshot")
            if planted:
                return bytes.fromhex(str(planted))
            return b"P6\n64 40\n255\n" + bytes(ref.uid.bytes[:3]) * (64 * 40)

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
        marker = marker_of(body["marker"])
        return VmFound(
            external_id=uid,
            name=body["name"],
            marker=marker,
            is_copy=marker is not None and str(marker.uid) != uid,
            status=self._status(body),
            memory_mib=body["memory_mib"],
            vcpus=body["vcpus"],
            macs=tuple(nic["mac"] for nic in body["nics"]),
            disks=tuple(body["disks"]),
            host="double",
            accelerated=bool(self.store.setting("accelerated")),
        )


def _nic_body(db: sqlite3.Connection, nic: NicSpec) -> Body:
    """A card as it is kept: on a network by name, or on a bridge."""
    networks = every(db, "network")
    body = {"mac": nic.mac, "network": nic.network, "filter": nic.filter}
    if nic.offered == "bridge":
        found = nic.network in every(db, "bridge")
        body |= {"network": "", "bridge": nic.network, "filter": "double-offered"}
    elif nic.offered:
        theirs = networks.get(nic.network, {"marker": True})
        found = theirs["marker"] is None
        body |= {"network": theirs.get("name", ""), "filter": "double-offered"}
    else:
        found = nic.network in {network["name"] for network in networks.values()}
    if not found:
        raise NotFound(detail=f"network {nic.network}")
    return body


def _refuse_network(db: sqlite3.Connection, spec: NetworkSpec) -> None:
    wanted = ipaddress.ip_network(spec.cidr)
    if wanted.prefixlen > 29:
        raise Invalid(detail=f"network {spec.cidr}")
    for other in every(db, "network").values():
        if other["name"] == spec.name:
            raise AlreadyExists(detail=f"network {spec.name}")
        if ipaddress.ip_network(other["cidr"]).overlaps(wanted):
            raise RangeTaken(detail=spec.cidr, figures={"range": other["cidr"], "network": other["name"]})


def network_found(uid: str, body: Body) -> NetworkFound:
    bridge = f"st{uid.replace('-', '')[:12]}"
    return NetworkFound(
        body["name"],
        body["name"],
        marker_of(body["marker"]),
        body.get("active", True),
        bridge,
        body["cidr"],
        f"double-{uid}",
        uid,
        body.get("forward", "nat"),
        (body["cidr"],),
    )
