"""Which process watches a provider: a lease in its row, by the database's clock, so that skewed clocks do not matter."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from django.db import DatabaseError, connection
from django.db.models import F, Q
from django.db.models.functions import Now

from portal.hypervisors.models import Provider

log = logging.getLogger(__name__)


def claim_watch(provider_uid: UUID, *, holder: str, seconds: float) -> int | None:
    """Take or prolong the lease on watching a provider; its fence, or None while another holds it.

    The fence grows whenever the lease goes to somebody new: a holder that finds another fence has lost it.
    """
    row = Provider.objects.filter(pk=provider_uid, enabled=True)
    if not prolong_watch(provider_uid, holder=holder, seconds=seconds):
        free = Q(watcher_until=None) | Q(watcher_until__lte=Now())
        until = Now() + timedelta(seconds=seconds)
        taken = row.filter(free).update(
            watcher_holder=holder, watcher_until=until, watcher_fence=F("watcher_fence") + 1
        )
        if not taken:
            return None
    return row.filter(watcher_holder=holder).values_list("watcher_fence", flat=True).first()


def prolong_watch(provider_uid: UUID, *, holder: str, seconds: float) -> bool:
    """Keep the lease for longer; False where it is not held any more, and nothing is taken then."""
    row = Provider.objects.filter(pk=provider_uid, enabled=True, watcher_holder=holder, watcher_until__gt=Now())
    return bool(row.update(watcher_until=Now() + timedelta(seconds=seconds)))


@contextmanager
def watch_held(provider_uid: UUID, *, holder: str, seconds: float) -> Iterator[None]:
    """Prolong the lease from a thread of its own: what its holder does in one turn may last longer than that."""
    over = threading.Event()
    beat = threading.Thread(
        target=_beat, args=(provider_uid, holder, seconds, over), name=f"lease-{provider_uid}", daemon=True
    )
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()


def _beat(provider_uid: UUID, holder: str, seconds: float, over: threading.Event) -> None:
    while not over.wait(seconds / 3):
        try:
            prolong_watch(provider_uid, holder=holder, seconds=seconds)
        except DatabaseError:
            log.warning("the lease on watching a provider could not be prolonged", exc_info=True)
        finally:
            connection.close()


def release_watch(provider_uid: UUID, *, holder: str) -> None:
    """Give the lease back early; nothing happens when another holds it by now."""
    Provider.objects.filter(pk=provider_uid, watcher_holder=holder).update(watcher_holder="", watcher_until=None)
