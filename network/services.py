"""The hallway of networks."""

from __future__ import annotations

from ipaddress import IPv4Network
from uuid import UUID, uuid4

from django.utils.translation import gettext as _

from network import rules
from network.models import FoundNetwork, Network
from network.operations.networks import CreateNetwork, laid
from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, Reason
from portal.events.codes import Outcome
from portal.events.record import Subject, attempt
from portal.hypervisors.known import capabilities_of
from portal.hypervisors.models import Provider
from portal.jobs.models import Job
from portal.jobs.start import Gate, JobRequest, Lock, Target, start_job
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit
from tenants.selectors import get_data_center

DEPARTMENTS = IPv4Network("10.99.0.0/16")


def create_network(
    actor: Actor, data_center: DataCenter, *, provider: Provider, name: str, cidr: str
) -> tuple[Network, Job]:
    """Make a NAT network of a data center's own, with a vNIC profile of the same name. Super-admins only for now."""
    with attempt(actor, "NETWORK_CREATE", Subject("network", None, name, data_center.pk)) as trial:
        policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
        # Held, so that of two networks whose ranges overlap the second sees the first.
        provider = Provider.objects.select_for_update(no_key=True).get(pk=provider.pk)
        refuse_without_networks(provider)
        reasons = rules.network_reasons(name, cidr, held_ranges(provider))
        if Network.objects.filter(owner=data_center, name=name).exists():
            text = _("A network of this name is already in this data center. Choose another name.")
            reasons.append(Reason("name_taken", text, "name"))
        if reasons:
            raise Invalid(" ".join(r.text for r in reasons), reasons=tuple(reasons))
        network = laid(uuid4(), data_center, provider=provider, name=name, cidr=cidr)
        trial.subject = Subject("network", network.pk, name, data_center.pk)
        target = Target("network", network.pk, name, data_center.pk)
        gate = Gate(Permit.PROVIDER_MANAGE, "system", policy.system().pk)
        job = start_job(actor, JobRequest(CreateNetwork, target, gate, (Lock("network", network.pk),)))
        trial.correlation_id, trial.outcome = job.pk, Outcome.REQUESTED
    return network, job


def authorize_networks(actor: Actor, data_center_uid: UUID) -> DataCenter:
    """The data center, for whoever may make networks. Raises ``NotFound`` or ``NotPermitted``."""
    row = get_data_center(actor, data_center_uid)
    policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
    return row


def providers_for(actor: Actor) -> list[Provider]:
    """The providers on which a network can be made now; an engine has its own. Raises ``NotPermitted``."""
    policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
    return [row for row in Provider.objects.filter(enabled=True).order_by("name") if capabilities_of(row).networks]


def refuse_without_networks(provider: Provider) -> None:
    """Raise ``Invalid`` where none can be made: an engine's own are assigned instead."""
    if not capabilities_of(provider).networks:
        text = _("No network can be made on %(name)s. Make it there, and assign it to the data center here.")
        reason = Reason("networks_unsupported", text % {"name": provider.name}, "provider")
        raise Invalid(reason.text, reasons=(reason,))


def free_range(provider: Provider) -> str:
    """The next /24 of the range that departments' networks are made in, that no network on the provider has."""
    held = held_ranges(provider)
    for candidate in map(str, DEPARTMENTS.subnets(new_prefix=24)):
        if not any(rules.overlaps(candidate, other.range) for other in held):
            return candidate
    text = _(
        "No address range of %(whole)s is left for another network on this provider. Name a range outside of it, "
        "or remove networks that nobody needs."
    ) % {"whole": DEPARTMENTS}
    raise Conflict(text, reasons=(Reason("no_range_left", text, "cidr"),))


def held_ranges(provider: Provider) -> list[rules.Held]:
    """The ranges of all networks on a provider: ours, which may not be made yet, and those that were found there."""
    ours = Network.objects.filter(provider=provider, is_found=False).values_list("pk", "name", "cidr")
    known = {str(uid) for uid, _name, _cidr in ours}
    found = FoundNetwork.objects.filter(provider=provider).exclude(external_id__in=known)
    held = [rules.Held(name, cidr) for _uid, name, cidr in ours]
    return held + [rules.Held(row.name, cidr) for row in found for cidr in row.ranges]
