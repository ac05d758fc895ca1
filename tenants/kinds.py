"""The nouns that grants are on or inherit to. An app makes its own known in ``AppConfig.ready``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet

from tenants.models import DataCenter


@dataclass(frozen=True, slots=True)
class Kind:
    """A noun that grants are on or inherit to. Paths are from the model to its data center, in the ORM's terms.

    ``assignment_path`` leads to the data centers that may *use* it; only the permits of use pass along it. ``whole`` is the field
    of what it is a part of, an object of another kind: a role on that holds on its parts. ``page`` names the address of one
    object's page; ``zone`` the path to the name of the engine's zone that it is in; ``of_maker`` the roles that whoever makes one gets on it (``services.makers``);
    ``apart`` tells of some of them what tells those from each other that are called alike (and whether providers may be named).
    """

    name: str
    model: type[Model]
    data_center_path: str = ""
    assignment_path: str = ""
    whole: str = ""
    user_grants: Any = None  # guardian's tables, whose subject fields differ
    group_grants: Any = None
    title: Any = ""  # of many, in words
    page: str = ""
    zone: str = ""
    of_maker: tuple[str, ...] = ()
    apart: Callable[[Collection[UUID], bool], Mapping[UUID, str]] | None = None


_KINDS: dict[type[Model], Kind] = {}


def register_kind(kind: Kind) -> None:
    """Make a noun known (from ``AppConfig.ready``)."""
    _KINDS[kind.model] = kind


def kinds() -> tuple[Kind, ...]:
    """Every known noun."""
    return tuple(_KINDS.values())


def kind_of(model: type[Model]) -> Kind:
    """The kind of a model; ``KeyError`` for a model nobody registered."""
    return _KINDS[model]


def kind_named(name: str) -> Kind | None:
    """The kind of that name; None when there is none."""
    return next((kind for kind in kinds() if kind.name == name), None)


def whole_of(kind: Kind) -> Kind | None:
    """The kind of what objects of this kind are parts of; None for most."""
    return kind_of(kind.model._meta.get_field(kind.whole).related_model) if kind.whole else None  # type: ignore[arg-type]


def with_whole(kind: Kind) -> QuerySet[Any]:
    """Every object of a kind, each read with what it is a part of."""
    rows = kind.model._default_manager.all()
    return rows.select_related(kind.whole) if kind.whole else rows


def zone_of(target: Model) -> str:
    """The name of the engine's zone that an object is in; empty for most."""
    found: Any = target
    for step in filter(None, kind_of(type(target)).zone.split("__")):
        found = getattr(found, step)
    return found if isinstance(found, str) else ""


def around(target: Model) -> tuple[Model, ...]:
    """The object, what it is a part of, and its data center: a role on any of them holds on it, as one on the system does."""
    kind = kind_of(type(target))
    found = (target, getattr(target, kind.whole) if kind.whole else None, owner_of(target))
    return tuple(dict.fromkeys(one for one in found if one is not None))


def users_of(target: Model) -> QuerySet[DataCenter]:
    """The data centers that may merely use an object, those that are not disabled."""
    path = kind_of(type(target)).assignment_path
    if not path:
        return DataCenter.objects.none()
    ids = type(target)._default_manager.filter(pk=target.pk, **{f"{path}__isnull": False}).values(path)
    return DataCenter.objects.filter(pk__in=ids, enabled=True)


def owner_of(target: Model) -> DataCenter | None:
    """The data center that an object belongs to, itself if it is one; None for what is the institute's."""
    if isinstance(target, DataCenter):
        return target
    found: Any = target
    for step in filter(None, kind_of(type(target)).data_center_path.split("__")):
        found = getattr(found, step, None)
    return found if isinstance(found, DataCenter) else None
