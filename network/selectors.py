"""Reading networks, through the policy."""

from __future__ import annotations

from django.db.models import Case, Q, QuerySet, Value, When

from network.models import Network, VnicProfile
from portal.common.actor import Actor
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit


def networks(actor: Actor) -> QuerySet[Network]:
    """The networks this actor may see, with a token that may only read too."""
    return policy.visible(actor, Permit.NETWORK_VIEW, Network.objects.select_related("provider"))


def vnic_profiles(actor: Actor) -> QuerySet[VnicProfile]:
    """The vNIC profiles this actor may see: with their network, or alone. Of such a one's network the name is his to know."""
    return policy.visible(actor, Permit.NETWORK_VIEW, VnicProfile.objects.select_related("network"))


def usable_vnic_profiles(actor: Actor, data_center: DataCenter) -> QuerySet[VnicProfile]:
    """Those that this actor may put cards on, of networks that the data center owns or was assigned and that work now.

    Its own networks first, then the assigned ones, then what was given him of networks that he may not use whole: the first
    is where a card is by itself, and one more role on a vNIC profile moves nobody's.
    """
    assigned = data_center.network_assignments.values("network")
    own = Q(network__owner=data_center) | Q(network__in=assigned)
    works = {"network__status": "operational", "is_gone": False}
    rows = VnicProfile.objects.filter(own, **works).select_related("network")
    ranks = [When(network__owner=data_center, then=Value(0))]
    if not policy.holds_in(actor, Permit.NETWORK_USE, data_center):
        whole = policy.visible(actor, Permit.NETWORK_USE, Network.objects.all()).order_by().values("pk")
        ranks.insert(0, When(~Q(network__in=whole), then=Value(2)))
        rows = policy.visible(actor, Permit.NETWORK_USE, rows)
    return rows.order_by(Case(*ranks, default=Value(1)), "name", "uid")
