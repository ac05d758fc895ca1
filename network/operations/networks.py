"""The operations on networks."""

from __future__ import annotations

from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from network.choices import NetworkStatus
from network.models import Network, VnicProfile
from portal.hypervisors.connect import driver_for
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import NetworkSpec
from portal.jobs.context import JobContext
from portal.jobs.models import Job
from portal.jobs.operation import Operation, StepContext, StepDef, StepFailed, register
from tenants.models import DataCenter


def _network(ctx: StepContext) -> Network:
    network = Network.objects.select_related("provider").filter(pk=ctx.target_uid).first()
    if network is None:
        raise StepFailed(_("The network is gone."), code="network_gone")
    return network


# Used by whatever makes networks: each is one effect, and repeatable.


def laid(uid: UUID, owner: DataCenter, *, provider: Provider, name: str, cidr: str) -> Network:
    """The rows of a data center's own NAT network and of its vNIC profile, of the same name."""
    network = Network.objects.create(uid=uid, name=name, owner=owner, provider=provider, cidr=cidr)
    VnicProfile.objects.create(name=name, network=network)
    return network


def make_on_provider(network: Network) -> None:
    """Make and start it with its filter; already there is done."""
    others = Network.objects.filter(provider=network.provider, is_found=False).exclude(pk=network.pk)
    spec = NetworkSpec(
        network.pk, _name_there(network), network.cidr, blocked=tuple(sorted(others.values_list("cidr", flat=True)))
    )
    driver_for(network.provider).create_network(spec)


def _name_there(network: Network) -> str:
    return f"{network.name[:50]}-{network.pk.hex[:8]}"


def left_of(uid: UUID) -> list[str]:
    """Where a network that was not removed is to be looked for, from its row; nothing when that is gone."""
    row = Network.objects.select_related("provider").filter(pk=uid).first()
    if row is None:
        return []
    return [_("The network %(name)s on %(provider)s.") % {"name": _name_there(row), "provider": row.provider.name}]


def remove_from_provider(network: Network) -> None:
    """Remove it; already gone is done."""
    driver_for(network.provider).delete_network(network.pk)


def verify(network: Network) -> None:
    """Success is what the hypervisor says it has: written into the row. ``StepFailed`` while it is not active there."""
    found = driver_for(network.provider).find_network(network.pk)
    if found is None or not found.active:
        raise StepFailed(_("The network did not start."), code="network_not_active", can_retry=True)
    Network.objects.filter(pk=network.pk).update(
        external_id=found.external_id,
        filter_name=found.filter,
        status=NetworkStatus.OPERATIONAL,
        status_at=timezone.now(),
    )


# The steps.


def make(ctx: StepContext) -> None:
    """Make and start it with its filter."""
    make_on_provider(_network(ctx))
    ctx.fault_point("made")


def unmake(ctx: StepContext) -> None:
    """Remove it; already gone is done."""
    remove_from_provider(_network(ctx))


def read_back(ctx: StepContext) -> None:
    """Success is what the hypervisor says it has."""
    verify(_network(ctx))


def forget(job: JobContext) -> None:
    """Nothing was made: the row goes."""
    Network.objects.filter(pk=job.target_uid).delete()


def network_left(job: Job, _step: str) -> list[str]:
    """What making a network may leave."""
    return left_of(job.target_uid)


class CreateNetwork(Operation):
    """Make a data center's own NAT network."""

    name = "network.create_network"
    title = gettext_lazy("Create network")
    audit_verb = "NETWORK_CREATE"
    when_failed = gettext_lazy("What had been made was undone.")
    steps = (
        StepDef("make", gettext_lazy("Make the network"), make, unmake),
        StepDef("read_back", gettext_lazy("Verify"), read_back),
    )
    on_failed = staticmethod(forget)
    left_behind = staticmethod(network_left)


def register_all() -> None:
    """Make them known to the engine."""
    register(CreateNetwork)
