"""The driver contract: what a kind of hypervisor must do for us.

Start and observe, never wait: a verb returns once the manager has accepted it; ``find_vm`` tells what is there now.
Waiting belongs to the operations engine. "Already there with our id" is success of a create, "already gone" is
success of a delete, "already in that state" is success of a verb. What bears another portal's mark, or nobody's, is as
good as absent: it is not found, a delete leaves it, a verb raises ``NotFound``; only its uid and name are taken
(``AlreadyExists``). What is refused leaves nothing behind. Every method may raise the errors of ``errors`` and nothing
else. Methods block: they are called through ``connect.driver_for``, which runs each on a thread of the
provider's own, bounds it, and abandons it as *outcome unknown* when it does not come back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar
from uuid import UUID

from portal.hypervisors.displays import QEMU_PORTS
from portal.hypervisors.engine_found import Making
from portal.hypervisors.errors import Unsupported
from portal.hypervisors.findings import Finding, Probe
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

MOST_VOLUMES = 500


def no_progress() -> None:
    """Nobody is told how far a reading is."""


class Watch(ABC):
    """An open stream of changes. Iterate with a time-out so that the watcher can do its other work."""

    @abstractmethod
    def next(self, *, timeout: float) -> list[Change]:
        """Changes since the last call, waiting up to ``timeout`` seconds for the first; empty when there were none.

        Raises ``Unavailable`` when the stream broke: open another and read everything.
        """

    @abstractmethod
    def close(self) -> None:
        """End the stream; never raises."""


class Driver(ABC):
    """One connection to one provider."""

    kind: ClassVar[str]

    # The secrets that its log-in may take, by name; no other is kept for it.
    secrets: ClassVar[tuple[str, ...]] = ()

    # Those of them that a log-in tells to whoever answers at the address, who could use them from then on: never sent
    # elsewhere than where they were given for. What only proves that one has it (a key) is none of them.
    told_secrets: ClassVar[frozenset[str]] = frozenset()

    # The oldest version of the API that this driver has been tried with; a diagnosis warns of an older one.
    oldest: ClassVar[tuple[int, ...]] = ()

    # Whether its accelerator is told by trying it, as where a host is reached itself.
    tries_accelerator: ClassVar[bool] = True

    # How many seconds the proof of life may take: a connection with its log-in, and ``about``.
    proof_seconds: ClassVar[float] = 3.0

    # Whether it has clusters itself, as an engine does; else the portal groups its hosts.
    has_clusters: ClassVar[bool] = True

    # Whether another version of it awaits a super-admin's look before anything is removed there (``upgrades``): so for a
    # manager that decides by itself what its API does. A host gets versions with each update of its packages.
    waits_after_upgrade: ClassVar[bool] = False

    # The ports that its machines' displays may be told to listen on (``displays``).
    display_ports: ClassVar[range] = QEMU_PORTS

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @classmethod
    def whole_address(cls, address: str) -> str:
        """The address as it is kept: with what may be left out, and spelled in one way; one that cannot be as it stands."""
        return address

    @classmethod
    def refusals(cls, connection: Connection) -> tuple[Finding, ...]:  # noqa: ARG003 - of the contract
        """What is wrong with an address and its secrets as they stand, by field; nobody is asked."""
        return ()

    @classmethod
    def is_here(cls, address: str) -> bool:  # noqa: ARG003 - of the contract
        """Whether what is at the address is on the portal's own machine, so that its displays may be too."""
        return False

    @classmethod
    def no_screens(cls, address: str) -> str:  # noqa: ARG003 - of the contract
        """The code of why no machine's screen can be reached over a connection of this address, or nothing; nobody is asked."""
        return ""

    def reach(self) -> tuple[Probe, ...]:
        """The looks to take before a connection is tried, in order: what stands between here and the manager."""
        return ()

    def rights(self, storage_domain: str, *, path: str) -> Finding:
        """Whether we may do there what we must; tried, or asked for. Raises ``Denied`` as the calls themselves would.

        Where it can have storage domains of our own, this is one of that name in that folder.
        """
        self.ensure_storage_domain(storage_domain, path=path)
        return Finding("rights", data={"storage_domain": storage_domain})

    def surroundings(self, neighbours: tuple[str, ...] = ()) -> tuple[Probe, ...]:
        """Looks at what else a host needs: names, clock, ports. What cannot be seen from here is told as not known."""
        return ()

    # -- the connection

    @property
    def is_broken(self) -> bool:
        """Whether the connection is known to have ended, so that no call on it can succeed; never asks anybody."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Give the connection back; never raises."""

    @abstractmethod
    def about(self) -> About:
        """Who answers, and in which version; the cheapest proof that the provider is alive."""

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this provider can do."""

    def accelerates(self) -> bool:
        """Whether machines are not emulated there, looked at anew where that is told by trying it."""
        return self.capabilities().accelerated

    @abstractmethod
    def inventory(self, progress: Callable[[], None] = no_progress) -> Inventory:
        """Everything there is, ours and others', in a bounded number of calls.

        ``progress`` is called after each of them: a long reading that goes on is not given up, and what it raises ends one
        that nobody waits for.
        """

    @abstractmethod
    def watch(self) -> Watch:
        """Open a stream of changes to VMs."""

    # -- storage

    @abstractmethod
    def ensure_storage_domain(self, name: str, *, path: str) -> StorageDomainFound:
        """Make and start a directory storage domain of ours, or find it again.

        Raises ``Invalid`` for a name that does not begin as ours do.
        """

    @abstractmethod
    def delete_storage_domain(self, name: str) -> None:
        """Remove an *empty* storage domain of ours. Raises ``Busy`` while it holds anything."""

    @abstractmethod
    def create_disk(self, spec: DiskSpec) -> DiskFound:
        """Make a disk, empty or as a linked clone.

        Raises ``NoCapacity`` when the storage domain is full, ``NotFound`` where it or the base is not there, ``Busy`` while
        another call makes the same disk.
        """

    @abstractmethod
    def upload_disk(self, spec: DiskSpec, *, chunks: Iterator[bytes]) -> DiskFound:
        """Make a disk from these bytes (already in ``spec.format``). A broken upload leaves nothing behind.

        Raises ``Invalid`` for an image that is of another format, or refers to another file (``images``).
        """

    @abstractmethod
    def find_disk(self, ref: DiskRef) -> DiskFound | None:
        """The disk as it is now, or None.

        Raises ``NotFound`` where the storage domain is not there: that does not prove that the disk is not.
        """

    @abstractmethod
    def delete_disk(self, ref: DiskRef) -> None:
        """Remove a disk of ours. Raises ``Busy`` while a machine has it, running or not, or a linked clone lies over it."""

    @abstractmethod
    def our_disks(self, storage_domain: str) -> tuple[DiskFound, ...]:
        """All disks in a storage domain that bear this portal's marker, for the compare that finds orphans."""

    @abstractmethod
    def copy_disk(self, spec: DiskSpec, *, source: VolumeRef) -> DiskFound:
        """Make a disk with all that a volume holds, nothing below it, of the volume's size. The source stays as it is.

        Returns when it is whole, which may last; what broke is not found. Raises ``Busy`` while another call makes the same
        disk, ``NotFound``, ``NoCapacity``, and ``Invalid`` for a source that is of another format than was said, or is not
        ours and lies over another one.
        """

    @abstractmethod
    def copied_bytes(self, spec: DiskSpec) -> int | None:
        """How much of a copy that another call makes is there by now; None where there is none, or nobody can tell."""

    @abstractmethod
    def download_disk(self, ref: DiskRef, *, take: Callable[[bytes], None]) -> None:
        """Hand over all bytes of a disk of ours as its file has them, in order and in small parts, to ``take``.

        What ``take`` raises ends it and comes out unchanged. Raises ``NotFound`` for one that is not there or not whole.
        """

    @abstractmethod
    def volumes(self, storage_domain: str) -> tuple[VolumeFound, ...]:
        """The volumes in a storage domain by name, ours and others', ``MOST_VOLUMES`` at most. Raises ``NotFound``.

        Where there are more, it is our own that are left out first.
        """

    @abstractmethod
    def find_volume(self, storage_domain: str, external_id: str) -> VolumeFound | None:
        """One of them, however many there are, or None. Raises ``NotFound`` where the storage domain is not there."""

    @abstractmethod
    def volume_users(self, storage_domain: str, external_id: str) -> tuple[str, ...]:
        """The machines that have a volume, by name.

        Where the storage domain is stopped or not there, those that may have it: they have something of its name that is not
        known to be another volume. Raises ``NotFound`` where the name does not tell that.
        """

    @abstractmethod
    def volume_head(self, storage_domain: str, external_id: str, *, length: int) -> bytes:
        """The first bytes of a volume, fewer where it is shorter. Raises ``NotFound``."""

    @abstractmethod
    def create_first_boot(self, vm_uid: UUID, initial_run: InitialRun, *, storage_domain: str) -> DiskRef | None:
        """Make the volume with first-boot data; None where the provider takes it with the VM itself."""

    @abstractmethod
    def delete_first_boot(self, vm_uid: UUID, *, storage_domain: str) -> None:
        """Remove the volume with first-boot data."""

    # -- networks

    @abstractmethod
    def create_network(self, spec: NetworkSpec) -> NetworkFound:
        """Make and start a network with its filter, or find it again and start it.

        Raises ``AlreadyExists`` when its name or part of its range is taken, ``Invalid`` for a range that is too small.
        """

    @abstractmethod
    def find_network(self, uid: UUID) -> NetworkFound | None:
        """The network as it is now, or None."""

    @abstractmethod
    def delete_network(self, uid: UUID) -> None:
        """Remove a network of ours and its filter. Raises ``Busy`` while a VM has a card on it, running or not."""

    # -- machines

    @abstractmethod
    def create_vm(self, spec: VmSpec) -> VmRef:
        """Define a VM, switched off. Raises ``NotFound`` where a disk of it is not ours or a network is not there.

        What a card is on that is not ours stays as it is (``NicSpec.offered``); one that bears a portal's mark, and a bridge
        that a network made, are as good as absent.

        Its making may go on (``making``); until that is done its status is ``image_locked``.
        A call that broke off may have made it in part; the next one puts on what is missing.
        """

    def making(self, ref: VmRef) -> Making:
        """How far a VM is whose ``create_vm`` was accepted; a manager that makes it within the call has nothing to tell."""
        return Making()

    @abstractmethod
    def find_vm(self, uid: UUID, external_id: str = "") -> VmFound | None:
        """The VM that bears this portal's marker with this uid, or None.

        ``external_id``: the id that it is known to have there. Then that one alone is meant, whatever else bears the marker.
        """

    @abstractmethod
    def delete_vm(self, ref: VmRef, *, nics: tuple[NicSpec, ...] = ()) -> None:
        """Undefine a VM of ours that is switched off; its disks stay. Raises ``Busy`` when it runs.

        ``nics``: the cards it has, or was to have. What was set aside for them (addresses) is given back, also where the VM
        was never defined or is gone already.
        """

    @abstractmethod
    def disk_sizes(self, external_ids: tuple[str, ...]) -> dict[str, int | None]:
        """The bytes that the disks of each of these VMs promise in all, whoever's they are; None where it cannot be told.

        One that is not there is left out.
        """

    @abstractmethod
    def adopt_vm(self, external_id: str) -> VmRef:
        """Put this portal's mark on a VM that bears none, and change nothing else of it; that it is ours is success, and it
        keeps the uid that it has.

        Raises ``NotFound``, and ``AlreadyExists`` where it bears another portal's mark or is a copy of a VM of ours.
        """

    @abstractmethod
    def unadopt_vm(self, ref: VmRef) -> None:
        """Take this portal's mark off a VM again and leave it as it is; not ours or gone is success."""

    def renew_mark(self, ref: VmRef) -> None:  # noqa: B027 - nothing, where marks name no ids
        """Let the mark of a VM of ours name the id that it has now, where it names the one that it had: its manager was built
        anew and the VM imported. Nothing to do where marks name no ids. Raises ``NotFound`` where it does not bear our mark.
        """

    @abstractmethod
    def run_vm(self, ref: VmRef) -> None:
        """Switch on."""

    @abstractmethod
    def shut_down_vm(self, ref: VmRef) -> None:
        """Ask the guest to shut down; it may ignore it."""

    @abstractmethod
    def stop_vm(self, ref: VmRef) -> None:
        """Cut the power."""

    @abstractmethod
    def reboot_vm(self, ref: VmRef) -> None:
        """Ask the guest to reboot; it may ignore it. Raises ``Busy`` when the VM is off."""

    @abstractmethod
    def addresses(self, ref: VmRef) -> tuple[Address, ...]:
        """The addresses known for a VM: DHCP leases first, then what the guest agent says."""

    @abstractmethod
    def console(self, ref: VmRef, *, protocol: str) -> ConsoleTarget:
        """Open a console's door: sets a fresh display password that is good for connecting for a short while.

        Raises ``Busy`` when the VM is off, ``Unsupported`` for a protocol that ``Capabilities`` does not name.
        """

    def screenshot(self, ref: VmRef) -> bytes:
        """The first screen of a running VM as it is now: an image in PNG or PPM, of ``LARGEST_SCREENSHOT`` bytes at most.

        Nothing vouches for the bytes. Raises ``Busy`` when the VM is off, ``Unsupported`` where it has no screen or
        ``Capabilities.screenshots`` is not declared, ``NoCapacity`` for a larger image.
        """
        raise Unsupported(detail="screenshots")
