"""The oVirt driver: each method of the contract, handed to the part that knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

from portal.hypervisors.base import Driver, Watch, no_progress
from portal.hypervisors.displays import ENGINE_PORTS, is_here
from portal.hypervisors.engine_found import Making
from portal.hypervisors.errors import Unsupported
from portal.hypervisors.findings import Finding, Probe
from portal.hypervisors.ovirt import inputs, rights, surroundings, way
from portal.hypervisors.ovirt.address import parsed, whole
from portal.hypervisors.ovirt.connection import OLDEST, Session
from portal.hypervisors.ovirt.consoles import PROTOCOLS, Consoles
from portal.hypervisors.ovirt.disks import Disks
from portal.hypervisors.ovirt.failures import calling
from portal.hypervisors.ovirt.inventory import PAGE, Inventories
from portal.hypervisors.ovirt.looking import Looking
from portal.hypervisors.ovirt.making import Makings
from portal.hypervisors.ovirt.vms import Machines
from portal.hypervisors.ovirt.watches import EVERY_SECONDS, OvirtWatch
from portal.hypervisors.specs import (
    About,
    Address,
    Capabilities,
    Connection,
    ConsoleTarget,
    DiskFound,
    DiskRef,
    DiskSpec,
    InitialRun,
    Inventory,
    NetworkFound,
    NetworkSpec,
    NicSpec,
    StorageDomainFound,
    VmFound,
    VmRef,
    VmSpec,
    VolumeFound,
    VolumeRef,
)

CAPABILITIES = Capabilities(
    disk_upload=False,
    disk_copy=False,
    linked_clone=False,
    networks=False,
    network_filters=False,
    first_boot_volume=False,
    console_protocols=PROTOCOLS,
    screenshots=False,
    own_storage=False,
    keeps_uids=False,
    templates=True,
    full_clone=True,
)


class OvirtDriver(Driver):
    """One engine. Logs in at the first call."""

    kind = "ovirt"
    secrets = ("password",)
    told_secrets = frozenset({"password"})
    oldest = OLDEST
    tries_accelerator = False
    waits_after_upgrade = True
    proof_seconds = 15.0  # a log-in may take ten of them
    display_ports = ENGINE_PORTS

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._session = Session(connection)
        looking = Looking(self._session)
        self._disks = Disks(self._session)
        self._makings = Makings(self._session, looking=looking, storage=self._disks)
        self._machines = Machines(self._session, looking=looking, makings=self._makings)
        self._consoles = Consoles(self._session, looking=looking)
        self._inventories = Inventories(self._session, page=int(self._session.number("page", PAGE)))

    # -- before it is connected

    @classmethod
    def whole_address(cls, address: str) -> str:
        return whole(address)

    @classmethod
    def is_here(cls, address: str) -> bool:
        engine = parsed(address)
        return not isinstance(engine, str) and is_here(engine.host)

    @classmethod
    def refusals(cls, connection: Connection) -> tuple[Finding, ...]:
        return inputs.refusals(connection)

    def reach(self) -> tuple[Probe, ...]:
        return way.probes(self.connection)

    def rights(self, storage_domain: str, *, path: str) -> Finding:
        with calling("rights"):
            return rights.found(self.connection, self._session.engine())

    def surroundings(self, neighbours: tuple[str, ...] = ()) -> tuple[Probe, ...]:
        return surroundings.probes(self.connection)

    # -- the connection

    @property
    def is_broken(self) -> bool:
        return self._session.is_broken

    def close(self) -> None:
        self._session.close()

    def about(self) -> About:
        return self._inventories.about()

    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def inventory(self, progress: Callable[[], None] = no_progress) -> Inventory:
        return self._inventories.inventory(progress)

    def watch(self) -> Watch:
        return OvirtWatch(self._session, every=self._session.number("watch_seconds", EVERY_SECONDS))

    # -- storage

    def ensure_storage_domain(self, name: str, *, path: str) -> StorageDomainFound:
        raise Unsupported(detail="storage domains of our own")

    def delete_storage_domain(self, name: str) -> None:
        """None is ours, so none is there."""

    def create_disk(self, spec: DiskSpec) -> DiskFound:
        return self._disks.create_disk(spec)

    def upload_disk(self, spec: DiskSpec, *, chunks: Iterator[bytes]) -> DiskFound:
        raise Unsupported(detail="uploads")

    def find_disk(self, ref: DiskRef) -> DiskFound | None:
        return self._disks.find_disk(ref)

    def delete_disk(self, ref: DiskRef) -> None:
        self._disks.delete_disk(ref)

    def our_disks(self, storage_domain: str) -> tuple[DiskFound, ...]:
        return self._disks.our_disks(storage_domain)

    def copy_disk(self, spec: DiskSpec, *, source: VolumeRef) -> DiskFound:
        raise Unsupported(detail="copies of disks")

    def copied_bytes(self, spec: DiskSpec) -> int | None:
        return None

    def download_disk(self, ref: DiskRef, *, take: Callable[[bytes], None]) -> None:
        raise Unsupported(detail="the bytes of a disk")

    def volumes(self, storage_domain: str) -> tuple[VolumeFound, ...]:
        return self._disks.volumes(storage_domain)

    def find_volume(self, storage_domain: str, external_id: str) -> VolumeFound | None:
        return self._disks.find_volume(storage_domain, external_id)

    def volume_users(self, storage_domain: str, external_id: str) -> tuple[str, ...]:
        found = self.find_volume(storage_domain, external_id)
        return found.users if found is not None else ()

    def volume_head(self, storage_domain: str, external_id: str, *, length: int) -> bytes:
        raise Unsupported(detail="the bytes of a disk")

    def create_first_boot(self, vm_uid: UUID, initial_run: InitialRun, *, storage_domain: str) -> DiskRef | None:
        return None

    def delete_first_boot(self, vm_uid: UUID, *, storage_domain: str) -> None:
        """There is none: the engine keeps first-boot data with the machine."""

    # -- networks

    def create_network(self, spec: NetworkSpec) -> NetworkFound:
        raise Unsupported(detail="networks of our own")

    def find_network(self, uid: UUID) -> NetworkFound | None:
        return None

    def delete_network(self, uid: UUID) -> None:
        """None is ours, so none is there."""

    # -- machines

    def create_vm(self, spec: VmSpec) -> VmRef:
        return self._makings.create_vm(spec)

    def making(self, ref: VmRef) -> Making:
        return self._makings.making(ref)

    def find_vm(self, uid: UUID, external_id: str = "") -> VmFound | None:
        return self._machines.find_vm(uid, external_id)

    def delete_vm(self, ref: VmRef, *, nics: tuple[NicSpec, ...] = ()) -> None:
        self._machines.delete_vm(ref)

    def disk_sizes(self, external_ids: tuple[str, ...]) -> dict[str, int | None]:
        return self._machines.disk_sizes(external_ids)

    def adopt_vm(self, external_id: str) -> VmRef:
        return self._machines.adopt_vm(external_id)

    def unadopt_vm(self, ref: VmRef) -> None:
        self._machines.unadopt_vm(ref)

    def renew_mark(self, ref: VmRef) -> None:
        self._machines.renew_mark(ref)

    def run_vm(self, ref: VmRef) -> None:
        self._machines.run_vm(ref)

    def shut_down_vm(self, ref: VmRef) -> None:
        self._machines.shut_down_vm(ref)

    def stop_vm(self, ref: VmRef) -> None:
        self._machines.stop_vm(ref)

    def reboot_vm(self, ref: VmRef) -> None:
        self._machines.reboot_vm(ref)

    def addresses(self, ref: VmRef) -> tuple[Address, ...]:
        return self._consoles.addresses(ref)

    def console(self, ref: VmRef, *, protocol: str) -> ConsoleTarget:
        return self._consoles.console(ref, protocol=protocol)
