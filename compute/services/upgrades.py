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
from compute.sync.rebuilt import PLACES_FOLLOWED
from compute.sync.upgrades import both_told
from portal.common.actor import Actor
from portal.common.errors import Conflict, PreconditionFailed, Reason
from portal.common.versions import version_of
from portal.events.models import Event
from portal.events.record import Subject, attempt
from portal.hypervisors.models import Provider
from portal.hypervisors.upgrades import News
from portal.jobs.control import FORWARD
from portal.jobs.models import Job


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What awaits a look: what became of a provider, from which version to which, since when, and what waits for it.

    ``missing``: how many machines of ours were not found there at the last compare, ``held`` those among them whose absence was
    not believed. ``followed``: how many places and templates were taken for those of before, by their names. ``look`` stands for
    exactly what was looked at. ``is_accepted``: it was accepted already, and only deletions of what is missing wait still.
    """

    news: News
    was: str
    now: str
    since: datetime | None
    deletions: int
    missing: int
    held: int
    followed: int
    look: str
    is_accepted: bool

    @property
    def is_rebuilt(self) -> bool:
        """Whether another installation answers, not only another version."""
        return self.news is News.REBUILT

    @property
    def can_ask_despite(self) -> bool:
        """Whether it matters to let go on what is missing, too."""
        return bool(self.held or (self.missing and self.is_rebuilt))


def upgrade_of(provider: Provider) -> Upgrade | None:
    """What awaits a super-admin's look on a provider that the actor may see; None where nothing does."""
    news, told = provider.news, provider.told
    if news is None and not provider.unseen:
        return None
    machines = Vm.objects.filter(provider=provider)
    waiting = Job.objects.filter(operation=DeleteVm.name, status__in=FORWARD, target_uid__in=machines.values("pk"))
    absent = machines.filter(status="unknown", status_detail=ABSENT).count()
    return Upgrade(
        news or News.REBUILT,
        was=str(provider.accepted["version"]),
        now=told["version"],
        since=provider.changed_at,
        deletions=waiting.count(),
        missing=max(absent + provider.held, provider.unseen),
        held=provider.held,
        followed=_followed(provider),
        look=look_of(provider),
        is_accepted=news is None,
    )


def _followed(provider: Provider) -> int:
    if provider.instance_since is None:
        return 0
    events = Event.objects.filter(code=PLACES_FOLLOWED, object_uid=provider.pk, at__gte=provider.instance_since)
    return sum(data["count"] for data in events.values_list("data", flat=True))


def look_of(provider: Provider) -> str:
    """What stands for the version and instance that a provider told last, and for when it began to tell them."""
    told = provider.told
    return version_of(told["version"], told["instance"], provider.changed_at)


def accept_version(actor: Actor, uid: UUID, *, look: str, despite_missing: bool = False) -> Provider:
    """What was looked at is good: what waits to be deleted goes on at its next look. Accepted already is success.

    ``despite_missing``: also what is not found there. Raises ``PreconditionFailed`` where the provider tells something else by now
    than what was looked at, ``Conflict`` where that was not read yet, or so much is missing that it is not believed.
    """
    with attempt(actor, "PROVIDER_ACCEPT_VERSION", Subject("provider", uid)) as trial:
        row = get_provider(actor, uid)
        trial.subject = Subject("provider", uid, row.name)
        authorize_management(actor)
        row = Provider.objects.select_for_update().get(pk=uid)
        if look != look_of(row):
            raise PreconditionFailed(_("The provider has changed again meanwhile. Look at it again."))
        _refuse_unread(row)
        if row.news is not None and row.held and not despite_missing:
            raise _held(row)
        trial.data = both_told(row.accepted, row.told) | {"despite_missing": despite_missing}
        row.accepted = row.told
        if despite_missing:
            Vm.objects.filter(provider=row).exclude(seen_on=row.told["instance"]).update(seen_on="")
            row.unseen = 0
        row.save(update_fields=["accepted", "unseen"])
    return row


def _refuse_unread(row: Provider) -> None:
    """What has other ids now is known again at a compare only: nobody can have seen before that it is."""
    if row.news is News.REBUILT and not row.is_read:
        text = _(
            "What the engine has was not read yet since another one answers. Wait for the next reading, within a minute."
        )
        raise Conflict(text, reasons=(Reason("not_read", text),))


def _held(row: Provider) -> Conflict:
    text = _(
        "%(missing)d of %(all)d machines of this portal are not found there. Import them first; or let deletions go on "
        "despite that: whoever deletes a machine that is missing then is told that it is gone, and what comes back of it is nobody's."
    )
    figures = {"missing": row.held, "all": Vm.objects.filter(provider=row).count()}
    reason = Reason("machines_missing", text % figures, "despite_missing", figures)
    return Conflict(reason.text, reasons=(reason,))
