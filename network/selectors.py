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


def vnic_profiles(actor: Actor) -> QuerySet[VnicProfile]:
    """The vNIC profiles this actor may see: with their network, or alone. Of such a one's network the name is his to know."""
    return policy.visible(actor, Permit.NETWORK_VIEW, VnicProfile.objects.select_related("network"))


def usable_vnic_profiles(actor: Actor, data_center: DataCenter) -> QuerySet[VnicProfile]:
    """Those that this actor may put cards on, of networks that the data center owns or was assigned and that work now."""
    own = Q(network__owner=data_center) | Q(network__assignments__data_center=data_center)
    works = {"network__status": "operational", "is_gone": False}
    rows = VnicProfile.objects.filter(own, **works).select_related("network")
    return policy.visible(actor, Permit.NETWORK_USE, rows).distinct().order_by("name", "uid")
