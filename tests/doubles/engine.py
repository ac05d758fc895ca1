"""A double of an engine: clusters, zones, templates and networks of its own, machines whose making goes on, ids of its own.

What is above the drivers is tried with it. ``furnish`` puts into it what an engine has before a portal comes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from portal.hypervisors.base import no_progress
from portal.hypervisors.engine_found import (
    ClusterFound,
    InstanceTypeFound,
    Making,
    MakingState,
    TemplateDiskFound,
    TemplateFound,
    VnicProfileFound,
    ZoneFound,
)
from portal.hypervisors.errors import AlreadyExists, Busy, Invalid, NotFound, Unsupported
from portal.hypervisors.findings import Finding
from portal.hypervisors.specs import (
    Address,
    Capabilities,
    DiskFound,
    DiskRef,
    DiskSpec,
    HostFound,
    InitialRun,
    Inventory,
    NetworkFound,
    NetworkSpec,
    NicSpec,
    StorageDomainFound,
    VmFound,
    VmRef,
    VmSpec,
    VmStatus,
)
from tests.doubles.hypervisor import DoubleDriver
from tests.doubles.hypervisor_calls import Body
from tests.doubles.hypervisor_machines import OFF
from tests.doubles.hypervisor_state import HypervisorDouble, drop, every, get, put

GIB = 1024**3
ABLE = Capabilities(
    disk_upload=False,
    disk_copy=False,
    linked_clone=False,
    networks=False,
    network_filters=False,
    first_boot_volume=False,
    own_storage=False,
    keeps_uids=False,
    templates=True,
    full_clone=True,
)


class EngineDriver(DoubleDriver):
    """See the module."""

    kind = "engine"
    has_clusters = True
    waits_after_upgrade = True

    def capabilities(self) -> Capabilities:
        with self.call("capabilities"):
            return ABLE

    def rights(self, storage_domain: str, *, path: str) -> Finding:
        return Finding("rights")

    def inventory(self, progress: Callable[[], None] = no_progress) -> Inventory:
        about = self.about()
        with self.call("inventory"), self.store.open() as db:
            return Inventory(
                about=about,
                hosts=tuple(HostFound(key, **body) for key, body in every(db, "host").items()),
                storage_domains=tuple(_domain(key, body) for key, body in every(db, "storage_domain").items()),
                networks=tuple(_network(key, body) for key, body in every(db, "network").items()),
                vms=tuple(self._found(key, body) for key, body in self._machines(db)),
                zones=tuple(ZoneFound(key, **body) for key, body in every(db, "zone").items()),
                clusters=tuple(ClusterFound(key, **body) for key, body in every(db, "cluster").items()),
                templates=tuple(_template(key, body) for key, body in every(db, "template").items()),
                instance_types=tuple(InstanceTypeFound(key, **body) for key, body in every(db, "instance").items()),
            )

    def statuses(self) -> dict[str, VmStatus]:
        with self.store.open() as db:
            return {key: self._status(body) for key, body in self._machines(db)}

    # -- machines

    def create_vm(self, spec: VmSpec) -> VmRef:
        with self.call("create_vm", spec.uid), self.store.change() as db:
            for key, body in self._machines(db):
                if self._is(body, spec.uid):
                    return VmRef(spec.uid, key)
                if body["name"] == spec.name:
                    raise AlreadyExists(detail=f"vm named {spec.name}")
            key = str(uuid4())
            self._refuse_unknown(db, spec)
            put(db, "vm", key, self._body(db, spec))
            return VmRef(spec.uid, key)

    @staticmethod
    def _refuse_unknown(db: sqlite3.Connection, spec: VmSpec) -> None:
        template = get(db, "template", spec.template)
        if template is None or get(db, "cluster", spec.cluster) is None:
            raise NotFound(detail=f"template or cluster of {spec.name}")
        if {one.source for one in spec.template_disks} != {disk["external_id"] for disk in template["disks"]}:
            raise Invalid(detail="not the template's disks")
        known = {profile for body in every(db, "network").values() for profile in body["profiles"]}
        if any(nic.profile not in known for nic in spec.nics):
            raise NotFound(detail=f"a profile of {spec.name}")

    def _body(self, db: sqlite3.Connection, spec: VmSpec) -> Body:
        sizes = {
            disk["external_id"]: disk["size_bytes"] for disk in (get(db, "template", spec.template) or {})["disks"]
        }
        keys = []
        for one in spec.template_disks:
            keys.append(self._disk_key(one.ref))
            put(db, "disk", keys[-1], {
                "marker": self._mark(one.ref.uid), "storage_domain": one.ref.storage_domain, "base": "",
                "size": sizes[one.source], "allocated": 1 << 20, "sha256": "",
            })  # fmt: skip
        return {
            "name": spec.name, "description": spec.description, "marker": self._mark(spec.uid), "cluster": spec.cluster,
            "memory_mib": spec.memory_mib, "vcpus": spec.vcpus, "state": "making", "since": time.time(), "disks": keys,
            "nics": [{"mac": nic.mac, "network": nic.network, "profile": nic.profile} for nic in spec.nics],
            "clone": spec.clone, "hostname": spec.initial_run.hostname if spec.initial_run else "",
        }  # fmt: skip

    def making(self, ref: VmRef) -> Making:
        with self.call("making", ref.external_id), self.store.open() as db:
            body = dict(self._machines(db)).get(ref.external_id)
            if body is None:
                return Making(MakingState.FAILED, why=str(self.store.setting("making_fails")))
            is_done = self._status(body) is not VmStatus.IMAGE_LOCKED
            return Making() if is_done else Making(MakingState.WORKING, 50)

    def _machines(self, db: sqlite3.Connection) -> list[tuple[str, Body]]:
        """Those that are there: one that could not be made is gone when its time is over, and its disks with it."""
        found = []
        for key, body in every(db, "vm").items():
            if body["state"] == "making" and self.store.setting("making_fails") and self._status(body) in OFF:
                for disk in body["disks"]:
                    drop(db, "disk", disk)
                drop(db, "vm", key)
            else:
                found.append((key, body))
        return found

    def _status(self, body: Body) -> VmStatus:
        if body["state"] != "making":
            return super()._status(body)
        is_over = time.time() >= float(body["since"]) + float(self.store.setting("making_seconds"))
        return VmStatus.DOWN if is_over else VmStatus.IMAGE_LOCKED

    def find_vm(self, uid: UUID, external_id: str = "") -> VmFound | None:
        with self.call("find_vm", uid), self.store.open() as db:
            meant = (key for key, body in self._machines(db) if self._is(body, uid) and external_id in {"", key})
            key = next(meant, None)
            return self._found(key, get(db, "vm", key) or {}) if key is not None else None

    def _found(self, key: str, body: Body) -> VmFound:
        is_off = self._status(body) in OFF | {VmStatus.IMAGE_LOCKED}
        host = "" if is_off else body.get("host", f"host-of-{body['cluster']}")
        # Its ids are its own, so another one than the mark's makes no copy.
        return replace(self._vm_found(key, body), cluster=body["cluster"], host=host, is_copy=False)

    def delete_vm(self, ref: VmRef, *, nics: tuple[NicSpec, ...] = ()) -> None:
        with self.call("delete_vm", ref.external_id), self.store.change() as db:
            body = get(db, "vm", ref.external_id)
            if body is not None and self._is(body, ref.uid):
                if self._status(body) not in OFF:
                    raise Busy(detail=f"vm {ref.external_id} runs or is locked")
                drop(db, "vm", ref.external_id)

    def adopt_vm(self, external_id: str) -> VmRef:
        """One of ours keeps the uid in its mark, for its id there is another."""
        with self.store.open() as db:
            body = get(db, "vm", external_id)
        if body is None or not self._is_ours(body):
            return super().adopt_vm(external_id)
        with self.call("adopt_vm", external_id):
            return VmRef(UUID(body["marker"]["uid"]), external_id)

    def run_vm(self, ref: VmRef) -> None:
        with self.call("run_vm", ref.external_id):
            self._refuse_without_disks(ref)
            self._move(ref, when={VmStatus.DOWN}, to="starting")

    def stop_vm(self, ref: VmRef) -> None:
        """It takes its time."""
        with self.call("stop_vm", ref.external_id):
            self._move(ref, when=set(VmStatus) - OFF - {VmStatus.IMAGE_LOCKED, VmStatus.POWERING_DOWN}, to="stopping")

    def addresses(self, ref: VmRef) -> tuple[Address, ...]:
        with self.call("addresses", ref.external_id), self.store.open() as db:
            body = get(db, "vm", ref.external_id)
            if body is None or not self._is(body, ref.uid):
                raise NotFound(detail=f"vm {ref.external_id}")
            return tuple(Address(nic["mac"], "192.0.2.9", "agent") for nic in body["nics"])

    # -- disks

    def find_disk(self, ref: DiskRef) -> DiskFound | None:
        self._forget_removed()
        return super().find_disk(ref)

    def delete_disk(self, ref: DiskRef) -> None:
        """It takes its time, too."""
        key = self._disk_key(ref)
        with self.call("delete_disk", key), self.store.change() as db:
            body = get(db, "disk", key)
            if body is None or not self._is(body, ref.uid) or "removed_at" in body:
                return
            if any(key in vm["disks"] for vm in every(db, "vm").values()):
                raise Busy(detail=f"disk {key} is in use")
            put(db, "disk", key, body | {"removed_at": time.time() + float(self.store.setting("removing_seconds"))})

    def _forget_removed(self) -> None:
        with self.store.change() as db:
            forget_removed(db)

    # -- what it cannot do

    def ensure_storage_domain(self, name: str, *, path: str) -> StorageDomainFound:
        raise Unsupported(detail=f"storage domain {name} in {path}")

    def upload_disk(self, spec: DiskSpec, *, chunks: Iterator[bytes]) -> DiskFound:
        raise Unsupported(detail=f"upload {spec.uid} {chunks}")

    def create_network(self, spec: NetworkSpec) -> NetworkFound:
        raise Unsupported(detail=f"network {spec.name}")

    def create_first_boot(self, vm_uid: UUID, initial_run: InitialRun, *, storage_domain: str) -> DiskRef | None:
        raise Unsupported(detail=f"first boot {vm_uid} {initial_run} {storage_domain}")

    def delete_first_boot(self, vm_uid: UUID, *, storage_domain: str) -> None:
        raise Unsupported(detail=f"first boot {vm_uid} {storage_domain}")


def forget_removed(db: sqlite3.Connection) -> None:
    """Disks whose removal has taken its time."""
    for key, body in every(db, "disk").items():
        if body.get("removed_at", time.time() + 1) <= time.time():
            drop(db, "disk", key)


def _domain(key: str, body: Body) -> StorageDomainFound:
    more = body | {"zones": tuple(body["zones"])}
    return StorageDomainFound(key, type="nfs", total_bytes=1 << 40, used_bytes=0, free_bytes=1 << 40, **more)


def _network(key: str, body: Body) -> NetworkFound:
    profiles = tuple(VnicProfileFound(uid, name) for uid, name in body["profiles"].items())
    clusters = tuple(body["clusters"]) if "clusters" in body else None
    more = {
        "zone": body["zone"],
        "profiles": profiles,
        "clusters": clusters,
        "is_management": body.get("management", False),
    }
    return NetworkFound(key, body["name"], None, True, "", "", uid=key, **more)


def _template(key: str, body: Body) -> TemplateFound:
    disks = tuple(
        TemplateDiskFound(**disk | {"storage_domains": tuple(disk["storage_domains"])}) for disk in body["disks"]
    )
    return TemplateFound(external_id=key, **body | {"disks": disks})


class EngineDouble(HypervisorDouble):
    """The tests' hands on it."""

    def put(self, kind: str, key: str, **body: Any) -> None:
        """Make or change a thing out of band."""
        with self._tampering() as db:
            put(db, kind, key, (get(db, kind, key) or {}) | body)

    def forget_removed(self) -> None:
        """What is gone by now is seen as gone."""
        with self.store.change() as db:
            forget_removed(db)

    def furnish(self) -> None:
        """Two zones: one with two clusters, a storage domain, a network, and a template of two versions; one with little."""
        for zone in ("east", "west"):
            self.put("zone", zone, name=zone.title(), status="up")
            self.put("storage_domain", f"data-{zone}", name=f"data-{zone}", status="active", zones=[zone])
            self.put("network", f"net-{zone}", name="lan", zone=zone, profiles={f"profile-{zone}": "lan"})
        for cluster, zone, memory in (("big", "east", 65536), ("small", "east", 4096), ("far", "west", 131072)):
            self.put("cluster", cluster, name=cluster, zone=zone, version="4.7", memory_overcommit_percent=100)
            self.put(
                "host", f"host-of-{cluster}", name=f"{cluster}.example", status="up", cpus=16, memory_mib=memory,
                memory_free_mib=memory, version="4.5", accelerator="kvm", cluster=cluster,
            )  # fmt: skip
        self.plant_template("debian", "Tiny Linux", base="debian", version=1)
        self.plant_template("debian-2", "Tiny Linux", base="debian", version=2, version_name="spring")
        self.put("instance", "medium", name="Medium", memory_mib=4096, vcpus=2)

    def plant_template(self, key: str, name: str, *, base: str, version: int, **more: Any) -> None:
        """A template with a disk to boot from and one for data, in the eastern storage domain."""
        disks = [
            {"external_id": f"{key}-data", "name": "data", "size_bytes": 2 * GIB, "storage_domains": ["data-east"]},
            {
                "external_id": f"{key}-root", "name": "root", "size_bytes": GIB + 1, "storage_domains": ["data-east"],
                "bootable": True,
            },
        ]  # fmt: skip
        told = {"version_name": "", "description": "", "status": "ok", "memory_mib": 1024, "vcpus": 1}
        self.put("template", key, name=name, base=base, version=version, disks=disks, **told | {
            "memory_min_mib": 512, "has_cloud_init": True} | more)  # fmt: skip

    def plant_machine(self, name: str, cluster: str, **more: Any) -> str:
        """Somebody else's machine in a cluster; its id there."""
        key = self.plant_vm(name)
        self.put("vm", key, cluster=cluster, **more)
        return key
