"""Which data centers may use a template of the institute's, as far as a reader may know."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Prefetch, QuerySet

from compute.models import Template, TemplateAssignment
from compute.resources import first_of
from portal.common.actor import Actor
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit


@dataclass(frozen=True, slots=True)
class Places:
    """Data centers that may use it, of those that the reader sees (``sees_all``: there are no others).

    For whoever may assign it (``gives``) also those that it could be assigned to, and how many more than are named.
    """

    assigned: tuple[DataCenter, ...]
    sees_all: bool
    gives: bool = False
    others: tuple[DataCenter, ...] = ()
    more: int = 0


def users_seen(actor: Actor, template: Template) -> QuerySet[DataCenter]:
    """The data centers that it is assigned to, of those that this actor sees, by name."""
    return _seen(actor).filter(template_assignments__template=template).order_by("name")


def with_users(actor: Actor, rows: QuerySet[Template]) -> QuerySet[Template]:
    """Templates, each with its assignments to data centers that this actor sees (``seen``)."""
    seen = TemplateAssignment.objects.filter(data_center__in=_seen(actor)).select_related("data_center")
    return rows.prefetch_related(Prefetch("assignments", seen.order_by("data_center__name"), to_attr="seen"))


def sees_all(actor: Actor) -> bool:
    """Whether there are no data centers but those that this actor sees."""
    return policy.holds_everywhere(actor, Permit.DATA_CENTER_VIEW)


def places_of(actor: Actor, template: Template) -> Places:
    """The same as its page shows it."""
    gives = template.owner_id is None and policy.holds_everywhere(actor, Permit.PROVIDER_MANAGE)
    free = _seen(actor).exclude(template_assignments__template=template).order_by("name")
    # What its engine has no more is for nobody new.
    others = first_of(free) if gives and template.status != "gone" else ()
    return Places(tuple(users_seen(actor, template)), sees_all(actor), gives, *others)


def _seen(actor: Actor) -> QuerySet[DataCenter]:
    return policy.visible(actor, Permit.DATA_CENTER_VIEW, DataCenter.objects.all())
