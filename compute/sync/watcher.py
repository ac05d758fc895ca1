"""The watcher process: a thread per provider, each provider held by a database lease."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from uuid import UUID

from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connections
from django.utils import timezone

from compute.choices import UNREADABLE
from compute.models import Host, Vm
from compute.sync.inventory import sync_provider
from compute.sync.screens import ScreenTaker
from compute.sync.vms import being_made, observe, unknown_since_silence
from portal.hypervisors.base import Watch
from portal.hypervisors.connect import driver_for, forget, is_current
from portal.hypervisors.errors import Denied, HypervisorError, NotFound, Unavailable
from portal.hypervisors.known import capabilities_of
from portal.hypervisors.leases import claim_watch, release_watch, watch_held
from portal.hypervisors.models import Provider, ProviderStatus
from portal.hypervisors.specs import Change, VmRef

log = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
COMPARE_SECONDS = 60.0
STRANGERS_SECONDS = 15.0  # between compares, where machines that are not ours come, change and go
TOLD_SECONDS = 3.0  # between compares, where something happened that only a compare can show
ADDRESS_SECONDS = 5.0
PATIENT_SECONDS = 120.0  # for which a machine without an address is asked at each turn
LATE_SECONDS = 60.0  # between turns at which all are
MOST_ASKED = 50
MOST_LOOKS = 50  # machines that changed in one turn; more are looked at all at once
RETRY_SECONDS = 5.0
# Where the account was refused: knocking on would lock it. Twice as long each time.
DENIED_SECONDS = 60.0
LONGEST_DENIED_SECONDS = 600.0


class Pace:
    """When the next compare is due: once in a while, and earlier where something asks for it. Times of one clock, in seconds."""

    def __init__(self, now: float) -> None:
        self._compared_at, self._took, self._pause = now, 0.0, STRANGERS_SECONDS
        self._at = now + COMPARE_SECONDS

    def strangers_changed(self) -> None:
        """A stranger that comes and goes without end is looked at less and less often."""
        self._not_later_than(self._pause)

    def something_changed(self) -> None:
        """Whatever it was: an engine may tell of many such things in a row, and a compare of it may take long."""
        self._not_later_than(max(TOLD_SECONDS, 10 * self._took))

    def many_changed(self) -> None:
        """More machines than are looked at one by one: nothing else shows what they are now."""
        self._not_later_than(max(TOLD_SECONDS, 2 * self._took))

    def is_due(self, now: float) -> bool:
        """Whether to compare now."""
        return now >= self._at

    def compared(self, *, began: float, ended: float) -> None:
        """It was done."""
        is_early = self._at < self._compared_at + COMPARE_SECONDS
        self._pause = min(2 * self._pause, COMPARE_SECONDS) if is_early else STRANGERS_SECONDS
        self._compared_at, self._took, self._at = ended, ended - began, ended + COMPARE_SECONDS

    def _not_later_than(self, seconds: float) -> None:
        self._at = min(self._at, self._compared_at + seconds)


class ProviderWatcher(threading.Thread):
    """Follows one provider for as long as this process holds its lease."""

    def __init__(self, provider_uid: UUID, stop: threading.Event) -> None:
        super().__init__(name=f"watch-{provider_uid}", daemon=True)
        self.provider_uid = provider_uid
        self.stop_event = stop
        self.holder = f"{socket.gethostname()}:{os.getpid()}"
        self._waiting: dict[str, float] = {}  # machines without an address, and since when
        self._late_at = 0.0
        self._refused: Provider | None = None  # as it was when its account was refused
        self._refusals = 0  # in a row

    def run(self) -> None:
        """Until told to stop: claim, read everything, follow the changes; a broken provider is tried again."""
        try:
            while not self.stop_event.is_set() and self._is_wanted():
                self._once()
                self.stop_event.wait(RETRY_SECONDS)
                self._leave_alone()
        finally:
            forget(self.provider_uid)
            release_watch(self.provider_uid, holder=self.holder)
            connections.close_all()

    def _is_wanted(self) -> bool:
        """Whether the provider is still there and enabled; a database that does not answer has not said no."""
        close_old_connections()
        try:
            return Provider.objects.filter(pk=self.provider_uid, enabled=True).exists()
        except DatabaseError:
            log.exception("watching a provider failed; it is tried again")
            return True

    def _leave_alone(self) -> None:
        """After a refusal of the account, for minutes, or until it is given anew or somebody else is let in with it.

        The lease is kept, else another process would knock in our place.
        """
        refused, self._refused = self._refused, None
        until = time.monotonic() + min(DENIED_SECONDS * 2 ** (self._refusals - 1), LONGEST_DENIED_SECONDS)
        while refused is not None and time.monotonic() < until and not self.stop_event.wait(RETRY_SECONDS):
            close_old_connections()
            try:
                claim_watch(self.provider_uid, holder=self.holder, seconds=LEASE_SECONDS)
                is_denied = Provider.objects.filter(pk=refused.pk, status=ProviderStatus.DENIED, enabled=True).exists()
                if not is_denied or not is_current(refused):
                    return
            except DatabaseError:
                log.exception("watching a provider failed; it is tried again")

    def _once(self) -> None:
        close_old_connections()
        try:
            if claim_watch(self.provider_uid, holder=self.holder, seconds=LEASE_SECONDS) is None:
                return
            provider = Provider.objects.get(pk=self.provider_uid, enabled=True)
            with watch_held(self.provider_uid, holder=self.holder, seconds=LEASE_SECONDS):
                self._follow(provider)
        except Provider.DoesNotExist:
            return
        except HypervisorError as error:
            if not is_current(provider):
                log.info("watched by what was replaced meanwhile: %s", error.detail or error.public)
                return  # it says nothing of the provider; what was given instead is tried next
            self._silent(error)
            if isinstance(error, Denied):
                self._refused, self._refusals = provider, self._refusals + 1
        except Exception:
            log.exception("watching a provider failed; it is tried again")

    def _follow(self, provider: Provider) -> None:
        watch = driver_for(provider).watch()
        screens = ScreenTaker(provider)
        try:
            compare(provider)
            self._refusals = 0
            if capabilities_of(Provider.objects.get(pk=provider.pk)).screenshots:
                screens.start()
            self._read_changes(provider, watch)
        finally:
            screens.stop()
            watch.close()

    def _read_changes(self, provider: Provider, watch: Watch) -> None:
        pace, addresses_at = Pace(time.monotonic()), 0.0
        while not self.stop_event.is_set():
            if claim_watch(provider.pk, holder=self.holder, seconds=LEASE_SECONDS) is None:
                return
            if not is_current(provider):
                return  # follow it by its new address or credentials
            changes = watch.next(timeout=2.0)
            close_old_connections()
            look_at_changed(provider, changes, pace)
            if time.monotonic() >= addresses_at:
                addresses_at = time.monotonic() + ADDRESS_SECONDS
                self._addresses(provider)
            if pace.is_due(time.monotonic()):
                began = time.monotonic()
                compare(provider)
                pace.compared(began=began, ended=time.monotonic())

    def _addresses(self, provider: Provider) -> None:
        """Machines that are up and have no address yet are asked for it; later, where there is perhaps no agent to tell, less
        often.
        """
        rows = Vm.objects.filter(provider=provider, status__in=["up", "powering_up"], addresses=[])
        now = time.monotonic()
        waiting = {key: self._waiting.get(key, now) for key in rows.values_list("external_id", flat=True)}
        self._waiting = waiting
        is_late_turn = now >= self._late_at
        if is_late_turn:
            self._late_at = now + LATE_SECONDS
        due = [key for key, since in waiting.items() if is_late_turn or now < since + PATIENT_SECONDS]
        for key in sorted(due, key=lambda key: -waiting[key])[:MOST_ASKED]:
            look_at(provider, key)

    def _silent(self, error: HypervisorError) -> None:
        log.warning("provider does not answer: %s", error.detail or error.public)
        status = ProviderStatus.DENIED if isinstance(error, Denied) else ProviderStatus.UNREACHABLE
        Provider.objects.filter(pk=self.provider_uid).update(
            status=status, status_at=timezone.now(), status_detail=error.public[:255]
        )
        Host.objects.filter(provider=self.provider_uid).update(status="unknown")
        unknown_since_silence(self.provider_uid)


def compare(provider: Provider) -> None:
    """The full compare. What nobody foresaw says of a provider that it cannot be read: else it would be shown as up for ever.

    Not so where our own database does not answer.
    """
    try:
        sync_provider(provider)
    except (HypervisorError, OperationalError, InterfaceError):
        raise
    except Exception as error:
        log.exception("comparing a provider failed; it is tried again")
        raise Unavailable(UNREADABLE, detail=type(error).__name__) from error


def look_at_changed(provider: Provider, changes: list[Change], pace: Pace) -> None:
    """Look at the machines that changed, one by one or, where they are many, with everything before long."""
    keys = {change.external_id for change in changes}
    if "" in keys:
        pace.something_changed()
    machines = keys - {""}
    if len(machines) > MOST_LOOKS:
        pace.many_changed()
        return
    known = [look_at(provider, key) for key in machines]
    if not all(known):
        pace.strangers_changed()


def look_at(provider: Provider, external_id: str) -> bool:
    """Read one machine of ours and write what was found; False for one that is not ours."""
    vm = Vm.objects.filter(provider=provider, external_id=external_id).select_related("data_center").first()
    if vm is None:
        return False
    driver = driver_for(provider)
    found = driver.find_vm(vm.pk, vm.external_id)
    is_off = found is None or found.status.value in {"down", "image_locked"}
    if is_off and Vm.objects.filter(being_made(), pk=vm.pk).exists():
        return True  # not started yet: a page that follows its creation must not read "off"
    try:
        addresses = driver.addresses(VmRef(vm.pk, vm.external_id)) if found and not is_off else ()
    except NotFound:
        addresses = ()
    observe(vm, found, addresses=addresses)
    return True


def watch_all(stop: threading.Event) -> None:
    """Keep one watcher per enabled provider until told to stop; a new provider is picked up within seconds."""
    watchers: dict[UUID, ProviderWatcher] = {}
    while not stop.is_set():
        close_old_connections()
        for uid in Provider.objects.filter(enabled=True).values_list("pk", flat=True):
            if uid not in watchers or not watchers[uid].is_alive():
                watchers[uid] = ProviderWatcher(uid, stop)
                watchers[uid].start()
        stop.wait(RETRY_SECONDS)
    for watcher in watchers.values():
        watcher.join(timeout=RETRY_SECONDS)
