"""What is known here of where a provider's displays may be, for ``displays`` to compare with what it says."""

from __future__ import annotations

from compute import own_ports
from compute.models import Host
from portal.hypervisors.displays import Home, Reach
from portal.hypervisors.models import Provider
from portal.hypervisors.registry import driver_class
from portal.hypervisors.specs import ConsoleTarget


def reach_of(provider: Provider, target: ConsoleTarget) -> Reach:
    """By the hosts as they were last read, and the services that the portal uses itself."""
    kind = driver_class(provider.kind)
    hosts = Host.objects.filter(provider=provider).values_list("external_id", "addresses")
    return Reach(
        ports=kind.display_ports,
        is_here=kind.is_here(provider.address),
        homes=tuple(Home(tuple(addresses), key == target.on_host) for key, addresses in hosts),
        own=tuple(one.host for one in own_ports.wanted() if one.port == target.port),
    )
