"""Verbs as pages show them: one that is not to be had stays in its place, greyed, with its reason and the way to what would help.

What is asked of the whole system is shown only to those who hold a rank: all others have neither use for it nor the pages.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from django.db.models import Model
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from tenants import policy
from tenants.kinds import kind_of
from tenants.permits import Permit
from tenants.selectors import where_to_ask

# Whoever holds one of them on the whole system or on a data center runs something there.
OF_A_RANK = (Permit.DATA_CENTER_EDIT, Permit.GRANT, Permit.PROVIDER_VIEW, Permit.USER_MANAGE)
THE_SYSTEM = "system"  # as pages that explain name it


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb on a page. ``reason``: why it is greyed; empty: it may be used. ``way_out``: the page that says what would help.

    ``verb`` is its name for programs, ``icon`` one of Tabler's, ``address`` where it leads or is posted.
    """

    verb: str
    title: str
    icon: str
    address: str
    reason: str = ""
    way_out: str = ""

    def asking(self, permit: Permit, target: Model, held: Container[Permit]) -> Verb:
        """The verb for whoever holds these permits on an object that it asks for one."""
        if permit in held:
            return self
        return replace(self, reason=lacking(permit), way_out=explained(permit, target))

    def unless(self, reason: str) -> Verb:
        """Greyed for this reason too, unless it is empty or one says already why not."""
        return replace(self, reason=reason) if reason and not self.reason else self

    def leading(self, way_out: str) -> Verb:
        """With this page as the one that says what would help."""
        return replace(self, way_out=way_out)

    def asking_above(self, actor: Actor, permit: Permit) -> Verb | None:
        """The verb as this actor is shown it where it asks the whole system for a permit; None: he is shown nothing."""
        if policy.holds_everywhere(actor, permit):
            return self
        return replace(self, reason=lacking_above(permit), way_out=explained(permit)) if has_rank(actor) else None


def lacking(permit: Permit) -> str:
    """The sentence for a permit that is lacking on the object at hand."""
    return _("You lack the permit %(permit)s here.") % {"permit": permit.value}


def lacking_above(permit: Permit) -> str:
    """The sentence for a permit that is lacking on the whole system."""
    return _("You lack the permit %(permit)s on the whole system.") % {"permit": permit.value}


def explained(permit: Permit | str, target: Model | None = None) -> str:
    """The address of the page that says why, and what would help: of an object, or of the whole system."""
    return f"{reverse('tenants:explain')}?{urlencode({'object': named(target), 'permit': str(permit)}, safe=':')}"


def rights_page(target: Model | None = None) -> str:
    """The address of the page that says all that one may do with an object, or with the whole system."""
    return f"{reverse('tenants:explain')}?{urlencode({'object': named(target)}, safe=':')}"


def named(target: Model | None) -> str:
    """An object as pages that explain are asked for it."""
    kind = kind_of(type(target)).name if target is not None else THE_SYSTEM
    return kind if target is None or kind == THE_SYSTEM else f"{kind}:{target.pk}"


def has_rank(actor: Actor) -> bool:
    """Whether the actor runs a data center, or something of the whole system."""
    return any(policy.holds_anywhere(actor, permit) for permit in OF_A_RANK)


def asked_somewhere(verb: Verb, actor: Actor, permit: Permit, *, held: bool) -> Verb:
    """A verb that asks for a permit in any data center, greyed unless it is held in one.

    Whoever sees no data center is told whom to ask, and nobody is named whom he may not know.
    """
    if held:
        return verb
    center = where_to_ask(actor)
    if center is not None:
        reason = _("You lack the permit %(permit)s in %(data_center)s.")
        return replace(
            verb,
            reason=reason % {"permit": permit.value, "data_center": center.name},
            way_out=explained(permit, center),
        )
    reason = _(
        "You are of no data center yet. The administrator of your department's, or a super-admin, can take you in."
    )
    return replace(verb, reason=reason, way_out=rights_page())
