"""The hallway of what a host has besides our networks: offered to departments by super-admins, and taken back.

Rows alone are written: on the hypervisor nothing changes by it. Whom an offered network is assigned to is sharing's affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from compute import selectors
from compute.models import Vm
from compute.services.providers import authorize_management
from network import rules
from network.models import FoundNetwork, Network, VnicProfile
from network.selectors import networks
from network.sync import offered_status
from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, NotFound, Reason
from portal.events.record import Subject, attempt
from portal.hypervisors.known import capabilities_of
from portal.hypervisors.models import Provider
from tenants.holdings import live
from tenants.kinds import kind_of
from tenants.models import DataCenter


@dataclass(frozen=True, slots=True)
class Offer:
    """What was found on a host, as it can be offered. ``reasons``: why not; ``network``: as what it is offered already."""

    found: FoundNetwork
    reasons: tuple[Reason, ...]
    warnings: tuple[Reason, ...]
    network: Network | None = None


@dataclass(frozen=True, slots=True)
class Offers:
    """What was found on a provider, and what was offered of it and is ``lost``: not there now."""

    rows: tuple[Offer, ...]
    lost: tuple[Network, ...]


def offers(actor: Actor, provider_uid: UUID) -> Offers:
    """All of a provider's, for whoever may see it; in a number of queries that does not grow with them."""
    found = list(selectors.found_networks(actor, provider_uid))
    here = _offered_on(provider_uid)
    rows = tuple(_offer(one, here.pop((one.kind, one.external_id), None)) for one in found)
    return Offers(rows, tuple(here.values()))


def _offered_on(provider_uid: UUID) -> dict[tuple[str, str], Network]:
    rows = Network.objects.filter(provider=provider_uid).exclude(offered="").order_by("name", "uid")
    return {(row.offered, row.external_id): row for row in rows}


def reasons_against(found: FoundNetwork) -> list[Reason]:
    """Why it cannot be offered, by its rows alone."""
    is_engines = not capabilities_of(found.provider).networks
    return rules.offer_reasons(found.kind, found.owner, found.bridge, is_engines=is_engines)


def _offer(found: FoundNetwork, network: Network | None) -> Offer:
    reasons = reasons_against(found)
    warnings = rules.offer_warnings(found.kind, found.forward, found.members, found.ranges, active=found.active)
    return Offer(found, tuple(reasons), tuple(warnings), network)


def get_offer(actor: Actor, provider_uid: UUID, found_uid: UUID) -> Offer:
    """One of them, for whoever may offer it. Raises ``NotFound`` and ``NotPermitted``."""
    found = selectors.found_networks(actor, provider_uid).filter(pk=found_uid).first()
    if found is None:
        raise NotFound(
            _("There is no such network or bridge on this provider now. It may be gone; look at the list again.")
        )
    authorize_management(actor)
    return _offer(found, _offered_on(provider_uid).get((found.kind, found.external_id)))


def offer_network(actor: Actor, provider_uid: UUID, found_uid: UUID, *, name: str = "") -> Network:
    """Let a network or bridge of a host's be assigned to data centers, with a vNIC profile of the same name. For super-admins.

    ``name`` empty: what it is called there, also when that changes. Raises ``Invalid`` for a name that cannot be, and
    ``Conflict`` for what cannot be offered, or is already.
    """
    with attempt(actor, "NETWORK_OFFER", Subject("network", None, name)) as trial:
        found = get_offer(actor, provider_uid, found_uid).found
        trial.data = {"provider": str(provider_uid), "kind": found.kind, "there": found.name}
        # Held, so that of two who offer the same the second sees the first.
        provider = Provider.objects.select_for_update(no_key=True).get(pk=provider_uid)
        _refuse_unfit(get_offer(actor, provider_uid, found_uid), name)
        row = Network.objects.create(
            name=name or found.name[:64],
            provider=provider,
            external_id=found.external_id,
            status=offered_status(found.kind, active=found.active),
            status_at=timezone.now(),
            is_found=True,
            offered=found.kind,
            is_named_here=bool(name),
        )
        VnicProfile.objects.create(name=row.name, network=row)
        trial.subject = Subject("network", row.pk, row.name)
    return row


def _refuse_unfit(offer: Offer, name: str) -> None:
    if offer.network is not None:
        text = _("It is offered already, as %(name)s.") % {"name": offer.network.name}
        raise Conflict(text, reasons=(Reason("already_offered", text, data={"network": str(offer.network.pk)}),))
    if offer.reasons:
        raise Conflict(" ".join(reason.text for reason in offer.reasons), reasons=offer.reasons)
    if name and (reasons := rules.name_reasons(name)):
        raise Invalid(" ".join(reason.text for reason in reasons), reasons=tuple(reasons))


@dataclass(frozen=True, slots=True)
class TakenBack:
    """A network that was offered, and what depends on it: why it cannot be taken back."""

    network: Network
    reasons: tuple[Reason, ...]


def taking_back(actor: Actor, uid: UUID) -> TakenBack:
    """What is asked before it is taken back; refused to whoever may not, as ``take_back_network`` is."""
    row = networks(actor).select_related("provider").filter(pk=uid).first()
    if row is None:
        raise NotFound(_("There is no such network, or you may not see it."))
    authorize_management(actor)
    if not row.offered:
        text = _("%(name)s was not offered from a host: there is nothing to take back.") % {"name": row.name}
        raise Conflict(text, reasons=(Reason("not_offered", text),))
    return TakenBack(row, tuple(_dependents(row)))


def take_back_network(actor: Actor, uid: UUID) -> Network:
    """Offer it no longer; on the host it stays as it is. ``Conflict`` lists what depends on it, kind by kind, with names."""
    with attempt(actor, "NETWORK_TAKE_BACK", Subject("network", uid)) as trial:
        row = taking_back(actor, uid).network
        trial.subject = Subject("network", uid, row.name)
        trial.data = {"provider": str(row.provider_id), "kind": row.offered}
        # Held, so that what comes on it meanwhile is seen, or finds it gone; in the order in which a compare writes them.
        Network.objects.select_for_update().filter(pk=uid).first()
        list(VnicProfile.objects.select_for_update().filter(network=uid))
        if reasons := _dependents(row):
            what = "; ".join(reason.text for reason in reasons)
            text = _("%(name)s is in use. %(what)s. Take these back first.") % {"name": row.name, "what": what}
            raise Conflict(text, reasons=tuple(reasons))
        row.delete()
    return row


def _dependents(row: Network) -> list[Reason]:
    found = selectors.depend(
        {
            "machines": Vm.objects.filter(nics__vnic_profile__network=row).distinct(),
            "data_centers": DataCenter.objects.filter(network_assignments__network=row),
        }
    )
    return found + _roles(row)


def _roles(row: Network) -> list[Reason]:
    """Roles that somebody was given on it, or on its vNIC profile, and that are not over."""
    on = {Network: Q(content_object=row), VnicProfile: Q(content_object__network=row)}
    names: set[str] = set()
    for model, these in on.items():
        kind = kind_of(model)
        names.update(live(kind.user_grants._default_manager.filter(these)).values_list("user__username", flat=True))
        names.update(live(kind.group_grants._default_manager.filter(these)).values_list("group__name", flat=True))
    if not names:
        return []
    first = sorted(names)[: selectors.MOST_NAMED]
    text = ngettext("%(count)d holds a role on it: %(names)s", "%(count)d hold roles on it: %(names)s", len(names))
    shown = ", ".join(first) + (" …" if len(names) > len(first) else "")
    data = {"count": len(names), "names": first}
    return [Reason("roles", text % {"count": len(names), "names": shown}, data=data)]
