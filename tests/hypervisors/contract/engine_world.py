"""An engine, by its double over HTTPS: a manager with clusters, templates and ids of its own, which does much in its own time."""

from __future__ import annotations

import json
from typing import Any, ClassVar
from uuid import UUID, uuid4

from portal.hypervisors.base import Driver
from portal.hypervisors.ovirt.driver import CAPABILITIES, OvirtDriver
from portal.hypervisors.specs import Capabilities, Connection, VmRef
from tests.doubles.ovirt_engine.control import EngineDouble
from tests.hypervisors.contract.worlds import Dump, Strangers, World
from tests.lab.servers import wait_until

MIB = 1024**2
# What passes by itself, whoever does nothing.
PASSING = {"vms": {"start_time", "stop_time"}, "disks": {"actual_size"}}
# Codes of the engine's AuditLogType.
TOLD = {"down": (61, "is down"), "paused": (1025, "has been paused"), "up": (32, "started")}


class EngineWorld(World):
    """The double, made anew."""

    capabilities: ClassVar[Capabilities] = CAPABILITIES
    boots_without_disk = False

    def __init__(self, engine: EngineDouble) -> None:
        super().__init__()
        self.engine = engine
        engine.reset()
        self.cluster = engine.named("clusters", "main")["id"]
        self.domains = [
            one["id"]
            for one in engine.things("storagedomains").values()
            if one["type"] == "data" and one["data_center"] == engine.named("clusters", "main")["data_center"]
        ]

    def connect(self, portal_id: UUID) -> Driver:
        return OvirtDriver(
            Connection(
                "ovirt",
                self.engine.url,
                portal_id,
                uuid4(),
                username=self.engine.username,
                ca_pem=self.engine.ca_pem,
                secrets={"password": self.engine.password},
                options={"poll_seconds": "0.1"},
            )
        )

    def close(self) -> None:
        super().close()
        assert self.engine.violations() == []

    def storage(self, driver: Driver, suffix: str = "") -> str:
        """One of the engine's own; each suffix another."""
        return str(self.domains[1 if suffix else 0])

    def storage_of_others(self, driver: Driver) -> str:
        return self.storage(driver)

    def strangers(self) -> Strangers:
        network = self.engine.named("networks", "students")
        machine = self.engine.plant_vm("mail", disk_bytes=MIB)
        running = self.engine.plant_vm("web", status="up", disk_bytes=MIB)
        golden = next(one for one in self.engine.things("disks").values() if one["alias"].startswith("stranger-down"))
        disk = golden["storage_domains"][0], golden["id"]
        return Strangers(UUID(machine), UUID(running), UUID(network["id"]), network["name"], *disk, promised=MIB)

    def copy(self, ref: VmRef) -> str:
        like = self.engine.things("vms")[ref.external_id]
        return self.engine.plant_vm(f"{like['name']}-copy", disks_of=0, comment=like["comment"])

    def set_state(self, external_id: str, state: str) -> None:
        """By an administrator of the engine, which tells of it."""
        self.engine.set_vm(external_id, status=state)
        code, text = TOLD[state]
        self.engine.event(code, f"VM {self.engine.things('vms')[external_id]['name']} {text}.", vm=external_id)

    def stop_network(self, uid: UUID) -> None:
        raise AssertionError("it makes no networks for us")

    def remove_disk(self, storage_domain: str, disk: str) -> None:
        self.engine.remove("disks", disk)

    def put_volume(self, storage_domain: str, disk: str, content: bytes) -> None:
        raise AssertionError("it takes no bytes")

    def full_storage(self, driver: Driver) -> str:
        self.engine.put("storagedomains", self.domains[1], full=True)
        return str(self.domains[1])

    def content(self, storage_domain: str, disk: str) -> str:
        raise AssertionError("it gives no bytes")

    def make_slowly(self, seconds: float) -> None:
        self.engine.configure(thin_seconds=seconds, clone_seconds=seconds)

    def fail_next_making(self) -> None:
        self.engine.configure(next_making_fails="Failed to complete VM creation: the volume could not be copied.")

    def dump(self) -> Dump:
        """Once it has nothing left to do."""
        wait_until(lambda: not self._busy(), "the engine to have done all")
        return {
            f"{kind} {key}": json.dumps(_lasting(kind, body), sort_keys=True)
            for kind in ("vms", "disks", "networks", "vnicprofiles", "storagedomains", "templates", "clusters")
            for key, body in self.engine.things(kind).items()
        }

    def descriptions(self, external_id: str) -> list[str]:
        return [self.engine.things("vms")[external_id]["description"]]

    def _busy(self) -> bool:
        locked = any(one["status"] == "locked" for one in self.engine.things("disks").values())
        moving = any(
            one["status"] not in {"up", "down", "paused", "suspended"} for one in self.engine.things("vms").values()
        )
        return locked or moving or any(one["status"] == "started" for one in self.engine.things("jobs").values())


def _lasting(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in PASSING.get(kind, set())}
