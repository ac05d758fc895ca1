"""The operation that looks whether providers and their hosts are ready for machines; it changes nothing anywhere."""

from __future__ import annotations

import logging
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import own_ports, sealing
from compute.guestfs import Stopped
from compute.models import Host, ReadinessResult, StorageDomain
from compute.operations.asking import going_on, stopped
from compute.readiness_rules import DomainState, HostState, graded, known_findings
from portal.hypervisors.connect import connection_of
from portal.hypervisors.diagnosis import UNFORESEEN, look_around
from portal.hypervisors.errors import HypervisorError
from portal.hypervisors.findings import Finding
from portal.hypervisors.models import Provider
from portal.jobs.operation import Done, Operation, StepContext, StepDef, Wait, register

log = logging.getLogger(__name__)


def look(ctx: StepContext) -> Done | Wait:
    """One provider each time: what hangs there delays the next look, and no more."""
    wanted = [UUID(uid) for uid in ctx.params["providers"]]
    done = int(ctx.output("look").get("done", 0))
    if done >= len(wanted):
        return Done({"done": done})
    provider = Provider.objects.filter(pk=wanted[done]).first()
    if provider is not None:
        ctx.report(provider.name, progress=100 * done // len(wanted))
        _look_at(provider)
    ctx.fault_point("looked")
    ctx.remember(done=done + 1)
    return Wait(0.05, provider.name if provider else "", progress=100 * (done + 1) // len(wanted), give_up_after=3600)


def _look_at(provider: Provider) -> None:
    """What nobody foresaw of one provider keeps the look from no other; where our own database is silent all wait."""
    try:
        _write(_found(provider), provider)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("the look at a provider failed")
        _write([Finding("authentication", UNFORESEEN)], provider)


def _found(provider: Provider) -> list[Finding]:
    try:
        seen = look_around(connection_of(provider), _neighbours(provider))
    except HypervisorError:
        seen = (Finding("authentication", "denied"),)
    return [graded(finding) for finding in seen] + known_findings(_hosts(provider), _domains(provider))


def _neighbours(provider: Provider) -> tuple[str, ...]:
    """The other hosts of its hosts' clusters, among which machines may move."""
    others = Host.objects.filter(cluster__hosts__provider=provider).exclude(provider=provider)
    return tuple(others.order_by("name").values_list("name", flat=True).distinct())


def look_at_portal(ctx: StepContext) -> Wait | None:
    """What the portal itself is used by and uses: its ports, each by its purpose, and whether it can seal disks."""
    try:
        found = [*own_ports.look(own_ports.wanted()), *_sealing(ctx)]
    except Stopped:
        return stopped()
    _write(found, None)
    ctx.fault_point("looked")
    return None


def _sealing(ctx: StepContext) -> list[Finding]:
    """Tried anew; nothing is told where it is switched off. Raises ``Stopped``."""
    lacking = sealing.tried(going_on(ctx, _("It is tried out whether disks can be sealed here.")), anew=True)
    return [] if lacking == sealing.OFF else [Finding("sealing", lacking, is_warning=bool(lacking))]


def _hosts(provider: Provider) -> list[HostState]:
    rows = Host.objects.filter(provider=provider).select_related("cluster").order_by("name")
    return [
        HostState(
            host.name,
            accelerator=host.accelerator,
            features=frozenset(host.cpu_features),
            version=host.version,
            cluster=host.cluster.name,
            others=dict(host.cluster.hosts.exclude(pk=host.pk).values_list("name", "version")),
        )
        for host in rows
    ]


def _domains(provider: Provider) -> list[DomainState]:
    rows = StorageDomain.objects.filter(provider=provider).order_by("name")
    return [
        DomainState(row.name, row.status == "active", row.percent, holds_disks=row.holds_disks, tells_use=row.tells_use)
        for row in rows
    ]


def _write(found: list[Finding], provider: Provider | None) -> None:
    """In the place of what was found before; without a provider: of the portal itself."""
    now = timezone.now()
    with transaction.atomic():
        if provider is not None and not Provider.objects.filter(pk=provider.pk).exists():
            return  # removed meanwhile
        ReadinessResult.objects.filter(provider=provider).delete()
        ReadinessResult.objects.bulk_create(
            ReadinessResult(
                provider=provider,
                position=position,
                step=one.step,
                code=one.code,
                is_warning=one.is_warning,
                data=one.data,
                checked_at=now,
            )
            for position, one in enumerate(found)
        )


class CheckReadiness(Operation):
    """Look at every provider and its hosts."""

    name = "compute.check_readiness"
    title = gettext_lazy("Check readiness")
    audit_verb = "READINESS_CHECK"
    when_failed = gettext_lazy("What was found until then is kept. Check again.")
    steps = (
        StepDef("portal", gettext_lazy("Look at the portal itself"), look_at_portal),
        StepDef("look", gettext_lazy("Look at each provider and its hosts"), look),
    )


def register_all() -> None:
    """Make it known to the engine."""
    register(CheckReadiness)
