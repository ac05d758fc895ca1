"""The libvirt driver: each method of the contract, handed to the part that knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from uuid import UUID

from portal.hypervisors.base import Driver, Watch, no_progress
from portal.hypervisors.findings import Finding, Probe
from portal.hypervisors.libvirt import inputs, screens, surroundings, tunnel, way
from portal.hypervisors.libvirt.accelerator import KVM, Accelerator
from portal.hypervisors.libvirt.connection import Session
from portal.hypervisors.libvirt.consoles import Consoles
from portal.hypervisors.libvirt.copies import Copies
from portal.hypervisors.libvirt.inventory import Inventories
from portal.hypervisors.libvirt.networks import Networks
from portal.hypervisors.libvirt.storage import Storage
from portal.hypervisors.libvirt.storage_xml import UNREAD
from portal.hypervisors.libvirt.uri import parsed
from portal.hypervisors.libvirt.vms import Machines
from portal.hypervisors.libvirt.watches import LibvirtWatch
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

# libvirt's built-in test driver keeps descriptions in memory: it stores no bytes, and what it runs has no console.
BARE = Capabilities(
    disk_upload=False,
    fills_up=False,
    disk_copy=False,
    linked_clone=False,
    network_filters=False,
    first_boot_volume=False,
    console_protocols=(),
    screenshots=True,  # always of the same picture
)
ABLE = Capabilities(screenshots=True, unread_storage=UNREAD)


class LibvirtDriver(Driver):
    """One libvirt URI. Connects at the first call."""

    kind = "libvirt"
    secrets = ("ssh_key", "host_key", "client_certificate", "client_key")
    oldest = (9, 0)
    has_clusters = False

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._session = Session(connection)
        self._storage = Storage(self._session)
        self._copies = Copies(self._session, self._storage)
        self._networks = Networks(self._session)
        self._accelerator = Accelerator(self._session, self._storage)
        self._machines = Machines(
            self._session, storage=self._storage, networks=self._networks, accelerator=self._accelerator
        )
        self._declared = BARE if self._session.is_test else ABLE
        self._consoles = Consoles(self._session, self._machines, protocols=self._declared.console_protocols)
        self._inventories = Inventories(
            self._session, storage=self._storage, networks=self._networks, accelerator=self._accelerator
        )

    @classmethod
    def refusals(cls, connection: Connection) -> tuple[Finding, ...]:
        return inputs.refusals(connection)

    @classmethod
    def is_here(cls, address: str) -> bool:
        uri = parsed(address)
        return not isinstance(uri, str) and not uri.host

    @classmethod
    def no_screens(cls, address: str) -> str:
        return tunnel.no_way(address)

    def reach(self) -> tuple[Probe, ...]:
        return way.probes(self.connection)

    def surroundings(self, neighbours: tuple[str, ...] = ()) -> tuple[Probe, ...]:
        return surroundings.probes(self.connection, neighbours)

    # -- the connection

    @property
    def is_broken(self) -> bool:
        return self._session.is_broken

    def close(self) -> None:
        self._session.close()

    def about(self) -> About:
        return self._inventories.about()

    def capabilities(self) -> Capabilities:
        return replace(self._declared, accelerated=self._accelerator.chosen() == KVM)

    def accelerates(self) -> bool:
        return self._accelerator.chosen(anew=True) == KVM

    def inventory(self, progress: Callable[[], None] = no_progress) -> Inventory:
        return self._inventories.inventory(progress)

    def watch(self) -> Watch:
        return LibvirtWatch(self._session)

    # -- storage

    def ensure_storage_domain(self, name: str, *, path: str) -> StorageDomainFound:
        return self._storage.ensure_storage_domain(name, path=path)

    def delete_storage_domain(self, name: str) -> None:
        self._storage.delete_storage_domain(name)

    def create_disk(self, spec: DiskSpec) -> DiskFound:
        return self._storage.create_disk(spec)

    def upload_disk(self, spec: DiskSpec, *, chunks: Iterator[bytes]) -> DiskFound:
        return self._storage.upload_disk(spec, chunks=chunks)

    def find_disk(self, ref: DiskRef) -> DiskFound | None:
        return self._storage.find_disk(ref)

    def delete_disk(self, ref: DiskRef) -> None:
        self._storage.delete_disk(ref)

    def our_disks(self, storage_domain: str) -> tuple[DiskFound, ...]:
        return self._storage.our_disks(storage_domain)

    def copy_disk(self, spec: DiskSpec, *, source: VolumeRef) -> DiskFound:
        return self._copies.copy_disk(spec, source=source)

    def copied_bytes(self, spec: DiskSpec) -> int | None:
        return self._copies.copied_bytes(spec)

    def download_disk(self, ref: DiskRef, *, take: Callable[[bytes], None]) -> None:
        self._copies.download_disk(ref, take=take)

    def volumes(self, storage_domain: str) -> tuple[VolumeFound, ...]:
        return self._copies.volumes(storage_domain)

    def find_volume(self, storage_domain: str, external_id: str) -> VolumeFound | None:
        return self._copies.find_volume(storage_domain, external_id)

    def volume_users(self, storage_domain: str, external_id: str) -> tuple[str, ...]:
        return self._copies.volume_users(storage_domain, external_id)

    def volume_head(self, storage_domain: str, external_id: str, *, length: int) -> bytes:
        return self._copies.volume_head(storage_domain, external_id, length=length)

    def create_first_boot(self, vm_uid: UUID, initial_run: InitialRun, *, storage_domain: str) -> DiskRef | None:
        if self._session.is_test:
            return None
        return self._storage.create_first_boot(vm_uid, initial_run, storage_domain=storage_domain)

    def delete_first_boot(self, vm_uid: UUID, *, storage_domain: str) -> None:
        self._storage.delete_first_boot(vm_uid, storage_domain=storage_domain)

    # -- networks

    def create_network(self, spec: NetworkSpec) -> NetworkFound:
        return self._networks.create_network(spec)

    def find_network(self, uid: UUID) -> NetworkFound | None:
        return self._networks.find_network(uid)

    def delete_network(self, uid: UUID) -> None:
        self._networks.delete_network(uid)

    # -- machines

    def create_vm(self, spec: VmSpec) -> VmRef:
        return self._machines.create_vm(spec)

    def find_vm(self, uid: UUID, external_id: str = "") -> VmFound | None:
        """By its uid, which is its id there."""
        return self._machines.find_vm(uid)

    def delete_vm(self, ref: VmRef, *, nics: tuple[NicSpec, ...] = ()) -> None:
        self._machines.delete_vm(ref, nics=nics)

    def disk_sizes(self, external_ids: tuple[str, ...]) -> dict[str, int | None]:
        return self._machines.disk_sizes(external_ids)

    def adopt_vm(self, external_id: str) -> VmRef:
        ref = self._machines.adopt_vm(external_id)
        self._inventories.forget(external_id)
        return ref

    def unadopt_vm(self, ref: VmRef) -> None:
        self._machines.unadopt_vm(ref)
        self._inventories.forget(ref.external_id)

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

    def screenshot(self, ref: VmRef) -> bytes:
        return screens.screenshot(self._session, self._machines, ref)
