"""``manage.py purge_marked --yes``: remove from every provider what bears this portal's mark, and nothing else.

Machines that were adopted are given back as they are: the mark goes, they stay. So are those of which nothing is known any
more and whose name is none that the portal gives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from pathlib import PurePath
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from compute.models import Vm
from portal.hypervisors.base import Driver
from portal.hypervisors.connect import driver_for
from portal.hypervisors.errors import Busy, HypervisorError
from portal.hypervisors.identity import portal_id
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import DiskRef, Inventory, Marker, StorageDomainFound, VmFound, VmRef, VmStatus

WAIT_SECONDS = 60.0


class Command(BaseCommand):
    requires_system_checks = ()  # a worker makes them at each start; here they would cost more than the start itself
    help = "Remove from every provider the machines, disks and networks that bear this portal's mark."

    def add_arguments(self, parser: Any) -> None:
        """The word without which nothing happens, and what nobody needs to be asked about."""
        parser.add_argument("--yes", action="store_true", help="really remove them")
        parser.add_argument(
            "--leave-out", action="append", default=[], help="the address of a provider that goes as a whole"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Purge each provider; one that fails is named, and the others go on."""
        if not options["yes"]:
            raise CommandError("Say --yes to remove every machine, disk and network of this portal.")
        failed = []
        for provider in Provider.objects.exclude(address__in=options["leave_out"]):
            try:
                self._purge(provider)
            except HypervisorError as error:
                failed.append(f"{provider.name}: {error.public}")
        if failed:
            raise CommandError("Not everything could be removed: " + "; ".join(failed))

    def _purge(self, provider: Provider) -> None:
        driver, ours = driver_for(provider), portal_id()
        inventory = driver.inventory()
        adopted = dict(Vm.objects.filter(provider=provider).values_list("uid", "adopted"))
        removed, given_back = _remove_vms(driver, inventory, ours, adopted)
        gone = removed | {uid for uid, was_there in adopted.items() if not was_there}
        kept = {name for vm in given_back for name in vm.disks}
        for domain in inventory.storage_domains:
            _purge_storage(driver, domain, gone, kept, is_ours=_is_ours(domain.marker, ours))
        for network in inventory.networks:
            if _is_ours(network.marker, ours):
                _remove_network(driver, network.marker.uid, others_stay=bool(given_back))  # type: ignore[union-attr]
        self.stdout.write(f"{provider.name}: removed what bore this portal's mark")


def _is_ours(marker: Marker | None, ours: UUID) -> bool:
    return marker is not None and marker.portal_id == ours


def _remove_vms(
    driver: Driver, inventory: Inventory, ours: UUID, adopted: dict[UUID, bool]
) -> tuple[set[UUID], list[VmFound]]:
    """Cuts the power of each that was made here and undefines it, and takes the mark off those that were somebody's before: the
    uids of the ones, and the others. ``adopted``: whether each machine that has a row was. What somebody copied of ours is his.
    """
    removed, given_back = set(), []
    for vm in inventory.vms:
        if vm.marker is None or not _is_ours(vm.marker, ours) or vm.is_copy:
            continue
        ref = VmRef(vm.marker.uid, vm.external_id)
        if adopted.get(ref.uid, not vm.name.endswith(ref.uid.hex[:8])):
            driver.unadopt_vm(ref)
            given_back.append(vm)
        else:
            _remove_vm(driver, ref, is_off=vm.status is VmStatus.DOWN)
            removed.add(ref.uid)
    return removed, given_back


def _remove_vm(driver: Driver, ref: VmRef, *, is_off: bool) -> None:
    if not is_off:
        driver.stop_vm(ref)
        _soon(lambda: _is_off(driver, ref))
    driver.delete_vm(ref)
    _soon(lambda: driver.find_vm(ref.uid, ref.external_id) is None)


def _is_off(driver: Driver, ref: VmRef) -> bool:
    found = driver.find_vm(ref.uid, ref.external_id)
    return found is None or found.status is VmStatus.DOWN


def _soon(true: Callable[[], bool]) -> None:
    """Wait until it is so: an engine does things in its own time. Whoever comes next says why where it never is."""
    until = time.monotonic() + WAIT_SECONDS
    while not true() and time.monotonic() < until:
        time.sleep(0.2)


def _purge_storage(
    driver: Driver, domain: StorageDomainFound, machines: Set[UUID], kept: Set[str], *, is_ours: bool
) -> None:
    """Removes our disks from a storage domain, anybody's, and the storage domain where it is ours and empty then.

    ``kept``: what machines that were given back have for disks, as their hypervisor names these.
    """
    name = domain.external_id
    if is_ours:
        driver.ensure_storage_domain(name, path="")  # started, or nothing could be removed from it
    elif domain.status != "active":
        return
    found = [disk.ref for disk in driver.our_disks(name)]
    stay = [ref for ref in found if ref.external_id in {PurePath(disk).name for disk in kept}]
    if found or is_ours:
        for uid in machines:
            driver.delete_first_boot(uid, storage_domain=name)
    _remove_disks(driver, [ref for ref in found if ref not in stay], others_stay=bool(stay))
    if is_ours and not stay:
        driver.delete_storage_domain(name)


def _remove_disks(driver: Driver, refs: list[DiskRef], *, others_stay: bool) -> None:
    """All of them, linked clones before what they are clones of: a disk that is in use waits for the next round.

    ``others_stay``: what those need that stay is in use for good, and stays with them.
    """
    while refs:
        left = [ref for ref in refs if not _removed(driver, ref)]
        if len(left) == len(refs):
            if others_stay:
                return
            driver.delete_disk(left[0])  # nothing moves any more: let it say why
        refs = left


def _remove_network(driver: Driver, uid: UUID, *, others_stay: bool) -> None:
    """One that a machine which stays has a card on stays with it."""
    try:
        driver.delete_network(uid)
    except Busy:
        if not others_stay:
            raise


def _removed(driver: Driver, ref: DiskRef) -> bool:
    try:
        driver.delete_disk(ref)
    except Busy:
        return False
    return True
