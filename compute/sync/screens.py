"""Pictures of screens: a thread beside each provider's watcher takes them, of machines that somebody looks at.

A hung QEMU holds up a picture and nothing else: neither the watcher, which goes on on connections of its own, nor a page.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from django.db import close_old_connections, connections
from django.db.models import F, Q
from django.utils import timezone

from compute import rules
from compute.models import Screen
from compute.screens import NoPicture, thumbnail
from portal.hypervisors.connect import driver_for
from portal.hypervisors.errors import HypervisorError, Unavailable
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import VmRef

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
EVERY = timedelta(seconds=15)  # a picture of one machine
WANTED = timedelta(seconds=60)  # since a page last asked for it
KEPT = timedelta(minutes=10)
MOST_AT_ONCE = 20
AFTER_SILENCE = timedelta(minutes=5)  # a hung QEMU: each call that is given up leaves a thread behind until it ends
STOP_SECONDS = 2.0


class ScreenTaker(threading.Thread):
    """Takes the wanted pictures of one provider's machines until told to stop."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(name=f"screens-{provider.pk}", daemon=True)
        self._provider = provider
        self._stop_event = threading.Event()

    def stop(self) -> None:
        """Take no more; one that is being taken is waited for a moment, no longer."""
        self._stop_event.set()
        if self.is_alive():
            self.join(timeout=STOP_SECONDS)

    def run(self) -> None:
        """Look what is wanted, take it, forget what nobody wants."""
        try:
            while not self._stop_event.wait(LOOK_SECONDS):
                close_old_connections()
                self._once()
        finally:
            connections.close_all()

    def _once(self) -> None:
        try:
            take_wanted(self._provider, goes_on=lambda: not self._stop_event.is_set())
            forget_unwanted(self._provider)
        except Exception:
            log.exception("taking pictures of screens failed; it is tried again")


def take_wanted(provider: Provider, *, goes_on: Callable[[], bool] = lambda: True) -> int:
    """Take the pictures that are wanted and due, those first that were waited for longest; how many there are now."""
    driver = driver_for(provider)
    taken = 0
    for screen in _due(provider):
        if not goes_on():
            break
        Screen.objects.filter(pk=screen.pk).update(next_at=timezone.now() + EVERY)
        try:
            image = thumbnail(driver.screenshot(VmRef(screen.vm.pk, screen.vm.external_id)))
        except Unavailable as error:
            log.warning("no picture of %s for a while: %s", screen.pk, error.detail)
            Screen.objects.filter(pk=screen.pk).update(next_at=timezone.now() + AFTER_SILENCE)
            break  # if it is the provider that is silent, the watcher sees to that
        except (HypervisorError, NoPicture) as error:
            log.info("no picture of %s: %s", screen.pk, getattr(error, "detail", "") or error)
            Screen.objects.filter(pk=screen.pk).update(image=b"", taken_at=None)
            continue
        Screen.objects.filter(pk=screen.pk).update(image=image, taken_at=timezone.now())
        taken += 1
    return taken


def _due(provider: Provider) -> list[Screen]:
    now = timezone.now()
    rows = Screen.objects.filter(
        vm__provider=provider, vm__status__in=rules.LEGAL["connect"], wanted_at__gt=now - WANTED
    )
    due = rows.filter(Q(next_at=None) | Q(next_at__lte=now)).select_related("vm").defer("image")
    return list(due.order_by(F("next_at").asc(nulls_first=True), "pk")[:MOST_AT_ONCE])


def forget_unwanted(provider: Provider) -> int:
    """Remove the pictures that no page asked for in a while; how many they were."""
    old = Screen.objects.filter(vm__provider=provider, wanted_at__lt=timezone.now() - KEPT)
    return old.delete()[0]
