"""Which versions of templates are the latest, of all and of those that data centers were given."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, QuerySet

from compute.models import Template, TemplateAssignment
from tenants.models import DataCenter


def latest(rows: QuerySet[Template], *, within: QuerySet[DataCenter] | None = None) -> QuerySet[Template]:
    """Of each template the latest version that is ready.

    ``within``: of an engine's the latest that one of these data centers was given. A version that comes there is nobody's
    until it is assigned, while the next one of a template made here is whose the one before is.
    """
    if within is None:
        return rows.exclude(_has_later())
    here = TemplateAssignment.objects.filter(template=OuterRef("pk"), data_center__in=within)
    kept = Exists(here.exclude(Exists(_later_given())))
    return rows.exclude(_later_made()).exclude(_later_on_engine() & ~kept)


def homes_of(rows: Sequence[Template], places: QuerySet[DataCenter]) -> dict[UUID, set[UUID]]:
    """For each of these templates those of the data centers that may use it: its owner, and whom it is assigned to."""
    mine = set(places.values_list("pk", flat=True))
    homes = {row.pk: {uid for uid in mine if uid == row.owner_id} for row in rows}
    given = TemplateAssignment.objects.filter(template__in=homes, data_center__in=mine)
    for template, data_center in given.values_list("template", "data_center"):
        homes[template].add(data_center)
    return homes


def later_than(row: Template, rows: QuerySet[Template]) -> Template | None:
    """The newest of these that is a later version of this template; None where there is none."""
    if row.is_engines:
        same = rows.filter(provider=row.provider_id, base=row.base)
    else:
        same = rows.filter(provider=None, name=row.name, owner=row.owner_id)
    return same.filter(version__gt=row.version).order_by("-version").first()


def latest_first(rows: QuerySet[Template]) -> QuerySet[Template]:
    """By name, the newest version first; those that have a later one after all others."""
    marked = rows.annotate(has_later=ExpressionWrapper(_has_later(), output_field=BooleanField()))
    return marked.order_by("has_later", "name", "-version", "uid")


def _has_later() -> Q:
    return _later_on_engine() | _later_made()


def _later_on_engine() -> Q:
    return Q(Exists(_newer().filter(provider=OuterRef("provider"), base=OuterRef("base"))))


def _later_made() -> Q:
    made = _newer().filter(name=OuterRef("name"), provider=None)
    of_owner, of_institute = made.filter(owner=OuterRef("owner")), made.filter(owner=None)
    return Q(provider=None) & (Exists(of_owner) | (Q(owner=None) & Exists(of_institute)))


def _newer() -> QuerySet[Template]:
    return Template.objects.filter(version__gt=OuterRef("version"), status="ok")


def _later_given() -> QuerySet[TemplateAssignment]:
    """Of an assignment of an engine's template: those of later versions to the same data center."""
    same = {f"template__{name}": OuterRef(f"template__{name}") for name in ("provider", "base")}
    later = TemplateAssignment.objects.filter(template__version__gt=OuterRef("template__version"), **same)
    return later.filter(template__status="ok", data_center=OuterRef("data_center"))
