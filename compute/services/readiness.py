"""The hallway of readiness: ask for a look at all providers, and read what the last one found. For super-admins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute.diagnosis import Told, told
from compute.models import ReadinessResult
from compute.operations.readiness import CheckReadiness
from portal.common.actor import Actor
from portal.common.errors import Conflict
from portal.common.phrases import kept
from portal.events.codes import Outcome
from portal.events.record import Subject, attempt
from portal.hypervisors.findings import Finding
from portal.hypervisors.models import Provider
from portal.jobs.models import Job
from portal.jobs.start import Gate, JobRequest, Lock, Target, start_job
from portal.jobs.states import RUNNABLE, JobStatus
from tenants import policy
from tenants.permits import Permit


@dataclass(frozen=True, slots=True)
class ProviderReadiness:
    """What the last look at a provider found. ``checked_at`` None: nobody has looked yet."""

    provider: UUID | None  # None: the portal itself
    name: str
    checked_at: datetime | None
    checks: tuple[Told, ...]

    @property
    def status(self) -> str:
        """The worst of it: "failed", "warning", "ok", or "unknown" before the first look."""
        found = {check.status for check in self.checks}
        return next((one for one in ("failed", "warning") if one in found), "ok" if found else "unknown")


def readiness(actor: Actor) -> list[ProviderReadiness]:
    """Every enabled provider with what was found there, in the reader's language. Raises ``NotPermitted``."""
    policy.authorize(actor, Permit.PROVIDER_VIEW, policy.system())
    found: dict[UUID | None, list[ReadinessResult]] = {}
    for row in ReadinessResult.objects.exclude(provider=None).order_by("position"):
        found.setdefault(row.provider_id, []).append(row)
    rows = Provider.objects.filter(enabled=True).order_by("name")
    return [_read(provider, found.get(provider.pk, [])) for provider in rows]


def portal_readiness(actor: Actor) -> ProviderReadiness:
    """The portal's own ports: its database, its broker and its directories, where they are reached over a network."""
    policy.authorize(actor, Permit.PROVIDER_VIEW, policy.system())
    return _read(None, list(ReadinessResult.objects.filter(provider=None).order_by("position")))


def _read(provider: Provider | None, results: list[ReadinessResult]) -> ProviderReadiness:
    findings = [Finding(row.step, row.code, row.data, row.is_warning) for row in results]
    checked_at = results[0].checked_at if results else None
    uid, name = (provider.pk, provider.name) if provider else (None, _("This portal"))
    return ProviderReadiness(uid, name, checked_at, told(findings, provider.kind if provider else ""))


def check_readiness(actor: Actor) -> Job:
    """Look at all of them, by a job. Raises ``Busy`` naming the look that is under way, ``Conflict`` without a provider."""
    with attempt(actor, "READINESS_CHECK", Subject("system", policy.system().pk)) as trial:
        policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
        providers = [
            str(uid) for uid in Provider.objects.filter(enabled=True).order_by("name").values_list("pk", flat=True)
        ]
        if not providers:
            raise Conflict(_("No provider is connected and enabled. Connect a hypervisor first."))
        system = policy.system().pk
        target = Target("system", system, kept(gettext_lazy("all providers")))
        gate = Gate(Permit.PROVIDER_MANAGE, "system", system)
        lock = Lock("readiness", system)
        job = start_job(actor, JobRequest(CheckReadiness, target, gate, (lock,), {"providers": providers}))
        trial.correlation_id, trial.outcome = job.pk, Outcome.REQUESTED
    return job


def open_check() -> Job | None:
    """The look that is under way, if one is."""
    rows = Job.objects.filter(operation=CheckReadiness.name, status__in=[*RUNNABLE, JobStatus.STUCK])
    return rows.prefetch_related("steps").order_by("-created_at").first()
