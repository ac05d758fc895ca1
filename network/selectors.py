"""Reading networks, through the policy."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from network.models import Network, VnicProfile
from portal.common.actor import Actor
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit


def networks(actor: Actor) -> QuerySet[Network]:
    """The networks this actor may see, with a token that may only read too."""
    return policy.visible(actor, Permit.NETWORK_VIEW, Network.objects.all())


def usable_networks(actor: Actor) -> QuerySet[Network]:
    """The networks this actor may attach machines to."""
    return policy.visible(actor, Permit.NETWORK_USE, Network.objects.all()).order_by("name", "uid")


def usable_vnic_profiles(actor: Actor, data_center: DataCenter) -> QuerySet[VnicProfile]:
    """The vNIC profiles of networks that the data center owns or was assigned, and that work now."""
    own = Q(network__owner=data_center) | Q(network__assignments__data_center=data_center)
    networks = usable_networks(actor).values("pk")
    works = {"network__status": "operational", "is_gone": False}
    rows = VnicProfile.objects.filter(own, network__in=networks, **works).select_related("network")
    return rows.distinct().order_by("name", "uid")
