"""Writing down the networks that are on a provider, anybody's: their ranges are taken, whosever they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Exists, Model, OuterRef, Q
from django.utils import timezone

from network.choices import FoundKind, FoundOwner, NetworkStatus
from network.models import FoundNetwork, Network, NetworkAssignment, VnicProfile
from portal.hypervisors.identity import portal_id
from portal.hypervisors.models import Provider
from portal.hypervisors.rows import BATCH, batches, bring, follow, take
from portal.hypervisors.specs import Inventory, NetworkFound
from tenants.holdings import live
from tenants.kinds import kind_of

FIELDS = ("name", "active", "forward", "bridge", "ranges", "members", "owner")
Key = tuple[str, str]


def write_networks(provider: Provider, inventory: Inventory, *, began: datetime) -> None:
    """Bring the rows to what was found; those that did not change are not written, and another compare may be at it.

    ``began``: before the inventory was read. What was seen of ours since is newer.
    """
    _write_engines(provider, inventory)
    there = {(row.kind, row.external_id): row for row in FoundNetwork.objects.filter(provider=provider)}
    seen = dict(_seen(inventory))
    fresh = [
        FoundNetwork(provider=provider, kind=key[0], external_id=key[1], **seen[key])
        for key in seen.keys() - there.keys()
    ]
    changed = [row for key, row in there.items() if key in seen and take(row, seen[key])]
    gone = [row.pk for key, row in there.items() if key not in seen]
    if fresh:
        FoundNetwork.objects.bulk_create(fresh, batch_size=BATCH, ignore_conflicts=True)
    if changed:
        FoundNetwork.objects.bulk_update(changed, FIELDS, batch_size=BATCH)
    for some in batches(gone):
        FoundNetwork.objects.filter(pk__in=some).delete()
    _observe_ours(provider, inventory, began=began)


def _write_engines(provider: Provider, inventory: Inventory) -> None:
    """The networks of an engine are the institute's, to be assigned; one without a profile is nothing to attach to."""
    rows = Network.objects.filter(provider=provider, is_found=True)
    found = [one for one in inventory.networks if one.zone]
    zones = {zone.external_id: zone.name[:255] for zone in inventory.zones}
    seen = {one.external_id: _network(one) | {"zone_name": zones.get(one.zone, "")} for one in found if one.profiles}
    gone = bring(rows, seen, of={"provider": provider, "is_found": True})
    there = dict(rows.filter(external_id__in=seen).values_list("external_id", "pk"))
    profiles = {
        profile.external_id: {"network_id": there[one.external_id], "name": profile.name[:64], "is_gone": False}
        for one in found
        for profile in one.profiles
        if one.external_id in there
    }
    kept = VnicProfile.objects.filter(network__in=rows).exclude(external_id="")
    left = [row.pk for row in bring(kept, profiles, of={})]
    for some in batches(left):
        kept.filter(pk__in=some, is_gone=False).update(is_gone=True)
        kept.filter(pk__in=some).exclude(_has_cards() | _has_roles(VnicProfile)).delete()
    for some in batches([row.pk for row in gone]):
        _forget(some)


def follow_networks(provider: Provider, inventory: Inventory) -> None:
    """Of an engine that was built anew: its networks and their profiles under other ids, by the names of zone and network."""
    zones = {zone.external_id: zone.name[:255] for zone in inventory.zones}
    named = {one.external_id: (zones.get(one.zone, ""), one.name[:64]) for one in inventory.networks if one.zone}
    rows = Network.objects.filter(provider=provider, is_found=True)
    follow({row: (row.zone_name, row.name) for row in rows}, named)
    profiles = {
        profile.external_id: (*named[one.external_id], profile.name[:64])
        for one in inventory.networks
        if one.external_id in named
        for profile in one.profiles
    }
    kept = VnicProfile.objects.filter(network__in=rows).exclude(external_id="").select_related("network")
    follow({row: (row.network.zone_name, row.network.name, row.name) for row in kept}, profiles)


def _network(one: NetworkFound) -> dict[str, Any]:
    status = NetworkStatus.OPERATIONAL if one.active else NetworkStatus.NON_OPERATIONAL
    clusters = None if one.clusters is None else sorted(one.clusters)
    facts = {"name": one.name[:64], "zone": one.zone[:100], "status": str(status), "clusters": clusters}
    return facts | {"is_management": one.is_management}


def _forget(uids: Sequence[Any]) -> None:
    """Gone from the engine: what machines or data centers have of it, or people roles on, stays, marked."""
    some = Network.objects.filter(pk__in=uids)
    some.exclude(status=NetworkStatus.GONE).update(status=NetworkStatus.GONE, status_at=timezone.now())
    profiles = VnicProfile.objects.filter(_has_cards() | _has_roles(VnicProfile), network=OuterRef("pk"))
    assigned = NetworkAssignment.objects.filter(network=OuterRef("pk"))
    some.exclude(Exists(profiles) | Exists(assigned) | _has_roles(Network)).delete()


def _has_cards() -> Q:
    """That a machine has a card on a vNIC profile."""
    return Q(nics__isnull=False)


def _has_roles(model: type[Model]) -> Q:
    """That somebody was given a role on the object that is not over: it counts again when the object comes back."""
    kind = kind_of(model)
    tables = (live(table._default_manager.all()) for table in (kind.user_grants, kind.group_grants))
    return reduce(or_, (Q(pk__in=rows.values("content_object")) for rows in tables))


def _seen(inventory: Inventory) -> Iterator[tuple[Key, dict[str, Any]]]:
    for one in inventory.networks:
        values = {
            "name": one.name[:255],
            "active": one.active,
            "forward": one.forward[:20],
            "bridge": one.bridge[:64],
            "ranges": list(one.ranges),
            "members": [],
            "owner": _owner(one),
        }
        yield (str(FoundKind.NETWORK), (one.uid or one.external_id)[:100]), values
    for host in inventory.hosts:
        for bridge in host.bridges:
            values = {"name": bridge.name[:255], "active": bridge.active, "bridge": bridge.name[:64]}
            yield (str(FoundKind.BRIDGE), bridge.name[:100]), {
                **values, "forward": "", "ranges": [], "members": list(bridge.members), "owner": "",
            }  # fmt: skip


def _owner(one: NetworkFound) -> str:
    if one.marker is None:
        return str(FoundOwner.NOBODY)
    return str(FoundOwner.OURS if one.marker.portal_id == portal_id() else FoundOwner.PORTAL)


def _observe_ours(provider: Provider, inventory: Inventory, *, began: datetime) -> None:
    """Whether the networks that were made here still work; what is being made is its job's to observe."""
    active = {one.marker.uid for one in inventory.networks if one.active and one.marker and _owner(one) == "ours"}
    older = Q(status_at__lt=began)
    made = Network.objects.filter(older, provider=provider, is_found=False).exclude(status=NetworkStatus.CREATING)
    now = timezone.now()
    for works, status in ((True, NetworkStatus.OPERATIONAL), (False, NetworkStatus.NON_OPERATIONAL)):
        rows = made.filter(pk__in=active) if works else made.exclude(pk__in=active)
        rows.exclude(status=status).update(status=status, status_at=now)
