"""Writing down the networks that are on a provider, anybody's: their ranges are taken, whosever they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.db.models import Exists, Model, OuterRef, Q
from django.utils import timezone

from network.choices import FoundKind, FoundOwner, NetworkStatus
from network.models import FoundNetwork, Network, NetworkAssignment, VnicProfile
from portal.hypervisors.models import Provider
from portal.hypervisors.rows import BATCH, batches, bring, follow, take
from portal.hypervisors.specs import Inventory, NetworkFound
from tenants.holdings import live
from tenants.kinds import kind_of

FIELDS = ("name", "active", "forward", "bridge", "ranges", "members", "owner")
Key = tuple[str, str]


def write_networks(provider: Provider, inventory: Inventory, *, ours: UUID, began: datetime) -> None:
    """Bring the rows to what was found; those that did not change are not written, and another compare may be at it.

    ``ours``: this portal's id. ``began``: before the inventory was read. What was seen of ours since is newer.
    """
    _write_engines(provider, inventory)
    seen = dict(_seen(inventory, ours))
    _follow_offered(provider, inventory, seen, began=began)
    there = {(row.kind, row.external_id): row for row in FoundNetwork.objects.filter(provider=provider)}
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
    _observe_ours(provider, inventory, ours=ours, began=began)


def _write_engines(provider: Provider, inventory: Inventory) -> None:
    """The networks of an engine are the institute's, to be assigned; one without a profile is nothing to attach to."""
    rows = Network.objects.filter(provider=provider, is_found=True, offered="")
    found = [one for one in inventory.networks if one.zone]
    zones = {zone.external_id: zone.name[:255] for zone in inventory.zones}
    seen = {one.external_id: _network(one) | {"zone_name": zones.get(one.zone, "")} for one in found if one.profiles}
    gone = bring(rows, seen, of={"provider": provider, "is_found": True})
    rows.filter(external_id__in=seen).update(status_at=timezone.now())
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


def _seen(inventory: Inventory, ours: UUID) -> Iterator[tuple[Key, dict[str, Any]]]:
    for one in inventory.networks:
        values = {
            "name": one.name[:255],
            "active": one.active,
            "forward": one.forward[:20],
            "bridge": one.bridge[:64],
            "ranges": list(one.ranges),
            "members": [],
            "owner": _owner(one, ours),
        }
        yield (str(FoundKind.NETWORK), (one.uid or one.external_id)[:100]), values
    for host in inventory.hosts:
        for bridge in host.bridges:
            values = {"name": bridge.name[:255], "active": bridge.active, "bridge": bridge.name[:64]}
            yield (str(FoundKind.BRIDGE), bridge.name[:100]), {
                **values, "forward": "", "ranges": [], "members": list(bridge.members), "owner": "",
            }  # fmt: skip


def offered_status(kind: str, *, active: bool) -> NetworkStatus:
    """Of what is there. A bridge is told to be down as long as nothing on it is up: then the first machine brings it up."""
    return NetworkStatus.OPERATIONAL if active or kind == FoundKind.BRIDGE else NetworkStatus.NON_OPERATIONAL


def _follow_offered(
    provider: Provider, inventory: Inventory, seen: Mapping[Key, Mapping[str, Any]], *, began: datetime
) -> None:
    """What was offered of a host's: its name there, and whether it works. Whether it is offered is not for a compare to say."""
    if inventory.zones:
        return  # an engine's networks are assigned as they are
    tells_bridges = any(host.tells_bridges for host in inventory.hosts)
    for row in Network.objects.filter(status_at__lt=began, provider=provider).exclude(offered=""):
        found = seen.get((row.offered, row.external_id))
        if found is None and row.offered == FoundKind.BRIDGE and not tells_bridges:
            continue  # not told is not gone
        if found is None or found["owner"]:
            values = {"status": NetworkStatus.GONE}
        else:
            values = {"status": offered_status(row.offered, active=found["active"])} | (
                {} if row.is_named_here else {"name": found["name"][:64]}
            )
        is_news = take(row, values)
        if found is not None or is_news:
            Network.objects.filter(pk=row.pk).update(**values, status_at=timezone.now())
        if is_news:
            VnicProfile.objects.filter(network=row.pk).update(name=row.name)


def _owner(one: NetworkFound, ours: UUID) -> str:
    if one.marker is None:
        return str(FoundOwner.NOBODY)
    return str(FoundOwner.OURS if one.marker.portal_id == ours else FoundOwner.PORTAL)


def _observe_ours(provider: Provider, inventory: Inventory, *, ours: UUID, began: datetime) -> None:
    """Whether the networks that were made here still work; what is being made is its job's to observe."""
    if inventory.zones:
        return  # on an engine none is made
    active = {
        one.marker.uid for one in inventory.networks if one.active and one.marker and one.marker.portal_id == ours
    }
    older = Q(status_at__lt=began)
    made = Network.objects.filter(older, provider=provider, is_found=False).exclude(status=NetworkStatus.CREATING)
    now = timezone.now()
    for works, status in ((True, NetworkStatus.OPERATIONAL), (False, NetworkStatus.NON_OPERATIONAL)):
        rows = made.filter(pk__in=active) if works else made.exclude(pk__in=active)
        rows.update(status=status, status_at=now)
