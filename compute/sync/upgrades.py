"""Writing down who answers for a provider, and noticing that it was upgraded or built anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal.common.actor import system_actor
from portal.events.codes import Outcome, Severity
from portal.events.record import Subject, record
from portal.hypervisors.models import Provider
from portal.hypervisors.registry import driver_class
from portal.hypervisors.specs import About
from portal.hypervisors.upgrades import News, accepted_after, identity, news_of

EVENTS = {
    News.UPGRADED: ("PROVIDER_VERSION_CHANGED", Severity.WARNING),
    News.REBUILT: ("PROVIDER_REBUILT", Severity.ALERT),
}


def note_about(provider: Provider, about: About) -> News | None:
    """Write down what was told; another version or instance than last time is recorded, once. What it awaits a look for."""
    told = asdict(about)
    row = Provider.objects.filter(pk=provider.pk).first()
    if row is not None and (row.about != told or row.accepted != _accepted(row, told)):
        with transaction.atomic():
            row = Provider.objects.select_for_update().filter(pk=provider.pk).first()
            if row is not None:
                _write(row, told)
    return row.news if row is not None else None


def _write(row: Provider, told: dict[str, str]) -> None:
    was, now = row.told, identity(told)
    row.about, row.accepted = told, _accepted(row, told)
    if was != now:
        row.changed_at = timezone.now()
    if was["instance"] != now["instance"]:
        row.instance_since = row.changed_at
    row.save(update_fields=["about", "accepted", "changed_at", "instance_since"])
    if (change := news_of(was, now)) is not None:
        code, severity = EVENTS[change]
        record(
            system_actor(),
            code,
            outcome=Outcome.NOTED,
            severity=severity,
            subject=Subject("provider", row.pk, row.name),
            data=both_told(was, now),
        )


def both_told(was: Mapping[str, Any], now: Mapping[str, str]) -> dict[str, str]:
    """Which version and instance it was, and is, for an event."""
    instances = {"was_instance": str(was.get("instance") or ""), "now_instance": now["instance"]}
    return {"was": str(was.get("version") or ""), "now": now["version"]} | instances


def is_to_be_followed(provider: Provider, news: News | None) -> bool:
    """Whether rows may have ids of another instance: while a new one awaits its look, and until one that is back was read."""
    if not driver_class(provider.kind).waits_after_upgrade:
        return False
    row = Provider.objects.filter(pk=provider.pk).first()
    return row is not None and (news is News.REBUILT or not row.is_read)


def _accepted(row: Provider, told: Mapping[str, str]) -> dict[str, str]:
    return accepted_after(row.accepted, identity(told), waits=driver_class(row.kind).waits_after_upgrade)
