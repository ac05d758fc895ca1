"""``driver_for(provider)``: the one way from a provider's row to its driver.

What comes back has the shape of a driver, and each of its calls is bounded (``lanes``). Connections open at the first
call, so after a fork; a child forgets its parent's, without closing them: the socket is still the parent's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from portal.common import sealed
from portal.hypervisors.allowed import with_allowed
from portal.hypervisors.base import Driver, Watch, no_progress
from portal.hypervisors.engine_found import Making
from portal.hypervisors.errors import Denied, HypervisorError, Invalid
from portal.hypervisors.identity import portal_id
from portal.hypervisors.known_lanes import KnownLane, KnownLanes
from portal.hypervisors.lanes import BoundedWatch, Lane, Limits, Pulse
from portal.hypervisors.models import Provider
from portal.hypervisors.registry import driver_class
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

T = TypeVar("T")

# Seconds a call may take. A read answers a page or a step and is short; a change may have a hypervisor make files.
READ = 10.0
READ_ALL = 60.0  # without progress, where there is any to tell
CHANGE = 45.0
PROVE = 90.0  # ``capabilities`` may start a tiny machine to try the accelerator
COPY = 3600.0  # a disk is copied by the hypervisor itself, and nothing tells how far it is
IDLE_UPLOAD = 60.0  # an upload or a download may last, but not stand still
MOST_AT_ONCE = 64
MOST_BYTES = 2**60  # that any machine's disks promise: what is more was not measured
AT_ONCE_REFUSED = (
    "The provider's option calls_at_once is not a whole number from 1 to %(most)s. Ask an administrator to mend it."
)


def driver_for(provider: Provider) -> BoundedDriver:
    """The provider's driver, every call bounded, shared by all threads of this process.

    Raises ``Denied`` where its credentials cannot be opened, and ``Invalid`` for an option that cannot be.
    """
    mark = portal_id()
    key = _fingerprint(provider, mark=mark)
    with _lanes.lock:
        known = _lanes.known.get(provider.uid)
        if known is None or known.fingerprint != key:
            if known:
                known.lane.close()
            connection = connection_of(provider)
            known = KnownLane(key, connection, _lane(provider, connection))
            _lanes.known[provider.uid] = known
            _lanes.tidy_later()
    return BoundedDriver(known.connection, known.lane, renewed=lambda: _renewed(provider))


def forget(provider_uid: UUID) -> None:
    """Let go of a provider's connection (the row is deleted or disabled)."""
    with _lanes.lock:
        known = _lanes.known.pop(provider_uid, None)
    if known:
        known.lane.close()


def _renewed(provider: Provider) -> Lane | None:
    """The lane by the credentials of now, where others were given since ``provider`` was read; else None.

    A step of a job may hold its row for as long as it lasts, and what it knew may be void by then.
    """
    now = Provider.objects.filter(pk=provider.pk).first()
    return None if now is None or _given(now) == _given(provider) else driver_for(now)._lane


def is_current(provider: Provider) -> bool:
    """Whether the database still has the provider with this address and these credentials."""
    now = Provider.objects.filter(pk=provider.pk).first()
    return now is not None and _given(now) == _given(provider)


_lanes = KnownLanes()
_inherited: list[KnownLanes] = []


def _forget_parents() -> None:
    """In a forked child: start anew, and keep the parent's objects alive, for dropping them would talk on its sockets."""
    global _lanes
    _inherited.append(_lanes)
    _lanes = KnownLanes()


os.register_at_fork(after_in_child=_forget_parents)


def _fingerprint(provider: Provider, *, mark: UUID) -> tuple[str, ...]:
    return (*_given(provider), str(mark))


def _given(provider: Provider) -> tuple[str, ...]:
    options = json.dumps(provider.options, sort_keys=True)
    login = (provider.username, provider.sealed_secrets, provider.ca_pem)
    return (provider.kind, provider.name, provider.address, *login, options)


def connection_of(provider: Provider) -> Connection:
    """How to reach it, its secrets opened. Raises ``Denied`` when no key that we have opens them."""
    try:
        secrets = sealed.unseal_json(provider.sealed_secrets)
    except sealed.SealBroken as error:
        raise Denied(
            "The provider's credentials cannot be opened any more. Give them anew.", detail=str(error)
        ) from error
    return Connection(
        kind=provider.kind,
        address=provider.address,
        portal_id=portal_id(),
        provider_uid=provider.uid,
        username=provider.username,
        ca_pem=provider.ca_pem,
        options=with_allowed(provider.options),
        secrets={key: str(value) for key, value in secrets.items()},
    )


def _lane(provider: Provider, connection: Connection) -> Lane:
    kind = driver_class(provider.kind)
    limits = Limits(probe_seconds=kind.proof_seconds)
    if wanted := connection.options.get("calls_at_once"):
        limits = replace(limits, at_once=_at_once(wanted))
    return Lane(provider.name, lambda: kind(connection), limits=limits)


def _at_once(wanted: str) -> int:
    """How many calls this process may have under way. Raises ``Invalid`` for what is no such number."""
    if not (wanted.isdecimal() and len(wanted) <= len(str(MOST_AT_ONCE)) and 1 <= int(wanted) <= MOST_AT_ONCE):
        raise Invalid(
            AT_ONCE_REFUSED, figures={"most": str(MOST_AT_ONCE)}, detail=f"option calls_at_once is {wanted!r}"
        )
    return int(wanted)


class BoundedDriver(Driver):
    """A driver whose calls run on the provider's lane. Holds nothing of its own: make one whenever it is needed."""

    kind = "bounded"

    def __init__(
        self, connection: Connection, lane: Lane, *, renewed: Callable[[], Lane | None] = lambda: None
    ) -> None:
        super().__init__(connection)
        self._lane = lane
        self._renewed = renewed

    def _read(self, what: str, work: Callable[[Driver], T], *, seconds: float = READ) -> T:
        return self._call(what, work, seconds=seconds, mutates=False)

    def _change(self, what: str, work: Callable[[Driver], T]) -> T:
        return self._call(what, work, seconds=CHANGE, mutates=True)

    def _call(self, what: str, work: Callable[[Driver], T], *, seconds: float, mutates: bool) -> T:
        """What is refused has had no effect, so it is tried once more where the credentials were replaced meanwhile."""
        try:
            return self._lane.call(what, work, seconds=seconds, mutates=mutates)
        except Denied:
            lane = self._renewed()
            if lane is None:
                raise
        return lane.call(what, work, seconds=seconds, mutates=mutates)

    # -- the connection

    def close(self) -> None:
        """Nothing: the connection is shared by the process (``forget`` ends it)."""

    def about(self) -> About:
        return self._read("about", lambda driver: driver.about())

    def capabilities(self) -> Capabilities:
        return self._read("capabilities", lambda driver: driver.capabilities(), seconds=PROVE)

    def accelerates(self) -> bool:
        return self._read("accelerates", lambda driver: driver.accelerates(), seconds=PROVE)

    def inventory(self, progress: Callable[[], None] = no_progress) -> Inventory:
        """``READ_ALL`` seconds without progress end it; ``progress`` is the lane's own, and a caller's beside it."""
        pulse = Pulse()

        def beat() -> None:
            pulse.beat()
            progress()

        return self._lane.call(
            "inventory", lambda driver: driver.inventory(beat), seconds=READ_ALL, mutates=False, pulse=pulse
        )

    def watch(self) -> Watch:
        pulse = Pulse()

        def opened(_driver: Driver) -> BoundedWatch:
            own = self._lane.open_driver()
            try:
                watch = BoundedWatch(own)
                pulse.beat()  # nobody would close it if nobody waits for it any more
            except HypervisorError:
                own.close()
                raise
            return watch

        return self._lane.call("watch", opened, seconds=READ, mutates=False, pulse=pulse)

    # -- storage

    def ensure_storage_domain(self, name: str, *, path: str) -> StorageDomainFound:
        return self._change("ensure_storage_domain", lambda driver: driver.ensure_storage_domain(name, path=path))

    def delete_storage_domain(self, name: str) -> None:
        self._change("delete_storage_domain", lambda driver: driver.delete_storage_domain(name))

    def create_disk(self, spec: DiskSpec) -> DiskFound:
        return self._change("create_disk", lambda driver: driver.create_disk(spec))

    def upload_disk(self, spec: DiskSpec, *, chunks: Iterator[bytes]) -> DiskFound:
        pulse = Pulse()

        def beating() -> Iterator[bytes]:
            for chunk in chunks:
                pulse.beat()
                yield chunk
            pulse.beat()

        return self._lane.call(
            "upload_disk",
            lambda driver: driver.upload_disk(spec, chunks=beating()),
            seconds=IDLE_UPLOAD,
            mutates=True,
            pulse=pulse,
        )

    def find_disk(self, ref: DiskRef) -> DiskFound | None:
        return self._read("find_disk", lambda driver: driver.find_disk(ref))

    def delete_disk(self, ref: DiskRef) -> None:
        self._change("delete_disk", lambda driver: driver.delete_disk(ref))

    def our_disks(self, storage_domain: str) -> tuple[DiskFound, ...]:
        return self._read("our_disks", lambda driver: driver.our_disks(storage_domain), seconds=READ_ALL)

    def copy_disk(self, spec: DiskSpec, *, source: VolumeRef) -> DiskFound:
        return self._lane.call(
            "copy_disk", lambda driver: driver.copy_disk(spec, source=source), seconds=COPY, mutates=True
        )

    def copied_bytes(self, spec: DiskSpec) -> int | None:
        return self._read("copied_bytes", lambda driver: driver.copied_bytes(spec))

    def download_disk(self, ref: DiskRef, *, take: Callable[[bytes], None]) -> None:
        pulse = Pulse()

        def beating(part: bytes) -> None:
            pulse.beat()
            take(part)
            pulse.beat()

        self._lane.call(
            "download_disk",
            lambda driver: driver.download_disk(ref, take=beating),
            seconds=IDLE_UPLOAD,
            mutates=False,
            pulse=pulse,
        )

    def volumes(self, storage_domain: str) -> tuple[VolumeFound, ...]:
        return self._read("volumes", lambda driver: driver.volumes(storage_domain), seconds=READ_ALL)

    def find_volume(self, storage_domain: str, external_id: str) -> VolumeFound | None:
        return self._read(
            "find_volume", lambda driver: driver.find_volume(storage_domain, external_id), seconds=READ_ALL
        )

    def volume_users(self, storage_domain: str, external_id: str) -> tuple[str, ...]:
        return self._read(
            "volume_users", lambda driver: driver.volume_users(storage_domain, external_id), seconds=READ_ALL
        )

    def volume_head(self, storage_domain: str, external_id: str, *, length: int) -> bytes:
        return self._read("volume_head", lambda driver: driver.volume_head(storage_domain, external_id, length=length))

    def create_first_boot(self, vm_uid: UUID, initial_run: InitialRun, *, storage_domain: str) -> DiskRef | None:
        return self._change(
            "create_first_boot",
            lambda driver: driver.create_first_boot(vm_uid, initial_run, storage_domain=storage_domain),
        )

    def delete_first_boot(self, vm_uid: UUID, *, storage_domain: str) -> None:
        self._change(
            "delete_first_boot", lambda driver: driver.delete_first_boot(vm_uid, storage_domain=storage_domain)
        )

    # -- networks

    def create_network(self, spec: NetworkSpec) -> NetworkFound:
        return self._change("create_network", lambda driver: driver.create_network(spec))

    def find_network(self, uid: UUID) -> NetworkFound | None:
        return self._read("find_network", lambda driver: driver.find_network(uid))

    def delete_network(self, uid: UUID) -> None:
        self._change("delete_network", lambda driver: driver.delete_network(uid))

    # -- machines

    def create_vm(self, spec: VmSpec) -> VmRef:
        return self._change("create_vm", lambda driver: driver.create_vm(spec))

    def making(self, ref: VmRef) -> Making:
        return self._read("making", lambda driver: driver.making(ref))

    def find_vm(self, uid: UUID, external_id: str = "") -> VmFound | None:
        return self._read("find_vm", lambda driver: driver.find_vm(uid, external_id))

    def delete_vm(self, ref: VmRef, *, nics: tuple[NicSpec, ...] = ()) -> None:
        self._change("delete_vm", lambda driver: driver.delete_vm(ref, nics=nics))

    def disk_sizes(self, external_ids: tuple[str, ...]) -> dict[str, int | None]:
        found = self._read("disk_sizes", lambda driver: driver.disk_sizes(external_ids))
        return {key: size if 0 <= (size or 0) <= MOST_BYTES else None for key, size in found.items()}

    def adopt_vm(self, external_id: str) -> VmRef:
        return self._change("adopt_vm", lambda driver: driver.adopt_vm(external_id))

    def unadopt_vm(self, ref: VmRef) -> None:
        self._change("unadopt_vm", lambda driver: driver.unadopt_vm(ref))

    def renew_mark(self, ref: VmRef) -> None:
        self._change("renew_mark", lambda driver: driver.renew_mark(ref))

    def run_vm(self, ref: VmRef) -> None:
        self._change("run_vm", lambda driver: driver.run_vm(ref))

    def shut_down_vm(self, ref: VmRef) -> None:
        self._change("shut_down_vm", lambda driver: driver.shut_down_vm(ref))

    def stop_vm(self, ref: VmRef) -> None:
        self._change("stop_vm", lambda driver: driver.stop_vm(ref))

    def reboot_vm(self, ref: VmRef) -> None:
        self._change("reboot_vm", lambda driver: driver.reboot_vm(ref))

    def addresses(self, ref: VmRef) -> tuple[Address, ...]:
        return self._read("addresses", lambda driver: driver.addresses(ref))

    def console(self, ref: VmRef, *, protocol: str) -> ConsoleTarget:
        return self._change("console", lambda driver: driver.console(ref, protocol=protocol))

    def screenshot(self, ref: VmRef) -> bytes:
        return self._read("screenshot", lambda driver: driver.screenshot(ref))
