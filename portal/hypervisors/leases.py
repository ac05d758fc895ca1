"""Which process watches a provider: a lease in its row, by the database's clock, so that skewed clocks do not matter."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db.models import F, Q
from django.db.models.functions import Now

from portal.hypervisors.models import Provider


def claim_watch(provider_uid: UUID, *, holder: str, seconds: float) -> int | None:
    """Take or prolong the lease on watching a provider; its fence, or None while another holds it.

    The fence grows whenever the lease goes to somebody new: a holder that finds another fence has lost it.
    """
    until = Now() + timedelta(seconds=seconds)
    row = Provider.objects.filter(pk=provider_uid, enabled=True)
    kept = row.filter(watcher_holder=holder, watcher_until__gt=Now()).update(watcher_until=until)
    if not kept:
        free = Q(watcher_until=None) | Q(watcher_until__lte=Now())
        taken = row.filter(free).update(
            watcher_holder=holder, watcher_until=until, watcher_fence=F("watcher_fence") + 1
        )
        if not taken:
            return None
    return row.filter(watcher_holder=holder).values_list("watcher_fence", flat=True).first()


def release_watch(provider_uid: UUID, *, holder: str) -> None:
    """Give the lease back early; nothing happens when another holds it by now."""
    Provider.objects.filter(pk=provider_uid, watcher_holder=holder).update(watcher_holder="", watcher_until=None)
