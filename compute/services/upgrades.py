"""The hallway of engines that were upgraded or built anew: a super-admin looks, and lets deletions go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.utils.translation import gettext as _

from compute.choices import ABSENT
from compute.models import Vm
from compute.operations.vms import DeleteVm
from compute.selectors import get_provider
from compute.services.providers import authorize_management
from portal.common.actor import Actor
from portal.common.errors import PreconditionFailed
from portal.common.versions import version_of
from portal.events.record import Subject, attempt
from portal.hypervisors.models import Provider
from portal.hypervisors.upgrades import News
from portal.jobs.control import FORWARD
from portal.jobs.models import Job


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What awaits a look: what became of a provider, from which version to which, since when, and what waits for it.

    ``missing``: how many machines of ours were not found there at the last compare that was believed. ``look`` stands for exactly what was looked at.
    """

    news: News
    was: str
    now: str
    since: datetime | None
    deletions: int
    missing: int
    look: str

    @property
    def is_rebuilt(self) -> bool:
        """Whether another installation answers, not only another version."""
        return self.news is News.REBUILT


def upgrade_of(provider: Provider) -> Upgrade | None:
    """What awaits a super-admin's look on a provider that the actor may see; None where nothing does."""
    news, told = provider.news, provider.told
    if news is None:
        return None
    machines = Vm.objects.filter(provider=provider)
    waiting = Job.objects.filter(operation=DeleteVm.name, status__in=FORWARD, target_uid__in=machines.values("pk"))
    return Upgrade(
        news,
        was=str(provider.accepted["version"]),
        now=told["version"],
        since=provider.changed_at,
        deletions=waiting.count(),
        missing=machines.filter(status="unknown", status_detail=ABSENT).count(),
        look=look_of(provider),
    )


def look_of(provider: Provider) -> str:
    """What stands for the version and instance that a provider told last."""
    told = provider.told
    return version_of(told["version"], told["instance"])


def accept_version(actor: Actor, uid: UUID, *, look: str) -> Provider:
    """What was looked at is good: what waits to be deleted goes on at its next look. Accepted already is success.

    Raises ``PreconditionFailed`` where the provider tells something else by now than what was looked at.
    """
    with attempt(actor, "PROVIDER_ACCEPT_VERSION", Subject("provider", uid)) as trial:
        row = get_provider(actor, uid)
        trial.subject = Subject("provider", uid, row.name)
        authorize_management(actor)
        row = Provider.objects.select_for_update().get(pk=uid)
        if look != look_of(row):
            raise PreconditionFailed(_("The provider has changed again meanwhile. Look at it again."))
        trial.data = {"was": row.accepted.get("version", ""), "now": row.told["version"]}
        row.accepted = row.told
        row.save(update_fields=["accepted"])
    return row
