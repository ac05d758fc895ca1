"""What the log has of an act beside what was tried and on which object: facts for its readers, in their language."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.common.units import amount_text
from portal.events.models import Event
from tenants.models import Role, User
from tenants.models.quota import Dimension
from tenants.permit_words import permit_title
from tenants.permits import Permit

KINDS = {
    "cluster": gettext_lazy("Cluster"),
    "storage_domain": gettext_lazy("Storage domain"),
    "network": gettext_lazy("Network"),
    "template": gettext_lazy("Template"),
}
SIZES = {"memory_mib": gettext_lazy("Memory"), "vcpus": gettext_lazy("vCPUs")}


@dataclass(frozen=True, slots=True)
class Names:
    """What roles and people of these events are called; who or what is gone keeps the id that the log has."""

    roles: Mapping[str, str]
    people: Mapping[str, str]

    @classmethod
    def of(cls, events: Iterable[Event]) -> Names:
        """One query for each, and none where nothing is named."""
        data = [event.data for event in events]
        codenames = {name for each in data for name in (each.get("role"), *_list(each, "roles")) if name}
        people = {uid for each in data if is_uid(uid := _person(each))}
        roles = Role.objects.filter(codename__in=codenames).values_list("codename", "name") if codenames else ()
        users = User.objects.filter(pk__in=people).values_list("pk", "username") if people else ()
        return cls({codename: _(name) for codename, name in roles}, {str(pk): name for pk, name in users})

    def role(self, codename: str) -> str:
        """As people know it."""
        return self.roles.get(codename, codename)

    def subject(self, data: Mapping[str, Any]) -> str:
        """The person or the group that the act was about."""
        uid = _person(data)
        return self.people.get(uid, uid) or str(data.get("group") or "")


def is_uid(text: str) -> bool:
    """Whether it can be the id of a row: details of an act are whatever was told of it."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _person(data: Mapping[str, Any]) -> str:
    uid = data.get("subject_uid") if data.get("subject") == "user" else data.get("user")
    return str(uid or "")


def told_of(events: Iterable[Event]) -> dict[UUID, str]:
    """By event the facts of those that have any."""
    rows = [event for event in events if event.data]
    names = Names.of(rows)
    facts = {event.pk: _facts(event, names) for event in rows}
    return {uid: " · ".join(each) for uid, each in facts.items() if each}


def called(events: Iterable[Event]) -> dict[UUID, str]:
    """By event how its object is called, where the log has a code for it."""
    titles = {str(each): str(each.label) for each in Dimension}
    return {event.pk: titles.get(event.object_name, "") for event in events if event.object_kind == "quota"}


def _facts(event: Event, names: Names) -> list[str]:
    verb = event.code.removesuffix("_DONE").removesuffix("_REQUESTED")
    found = FACTS[verb](event.data, names) if verb in FACTS else []
    return [fact for fact in found if fact]


def _list(data: Mapping[str, Any], key: str) -> list[str]:
    return [str(each) for each in data.get(key) or ()]


def _assigned(data: Mapping[str, Any], _names: Names) -> list[str]:
    kind, name = str(data.get("kind", "")), str(data.get("name", ""))
    return [f"{KINDS.get(kind, kind)}: {name}"] if name else []


def _granted(data: Mapping[str, Any], names: Names) -> list[str]:
    return [names.role(str(data.get("role", ""))), names.subject(data), _until(data), str(data.get("on", ""))]


def _until(data: Mapping[str, Any]) -> str:
    if not data.get("expires_at"):
        return ""
    last = timezone.localtime(datetime.fromisoformat(data["expires_at"]))
    return _("until %(date)s") % {"date": date_format(last, "SHORT_DATE_FORMAT")}


def _limits(data: Mapping[str, Any], names: Names) -> list[str]:
    titles = {str(each): str(each.label) for each in Dimension}
    limits = {name: value for name, value in (data.get("limits") or {}).items() if value is not None}
    set_to = [f"{titles.get(name, name)}: {amount_text(int(value), name)}" for name, value in limits.items()]
    return [names.subject(data), *(set_to or [_("no limit")])]


def _passed(data: Mapping[str, Any], names: Names) -> list[str]:
    name, limit = str(data.get("dimension", "")), data.get("limit")
    told = {"used": amount_text(int(data.get("used", 0)), name), "limit": amount_text(int(limit or 0), name)}
    return [names.subject(data), _("%(used)s of %(limit)s used") % told if limit is not None else ""]


def _changed(data: Mapping[str, Any], _names: Names) -> list[str]:
    return [
        *(f"+ {_permit(each)}" for each in _list(data, "added")),
        *(f"− {_permit(each)}" for each in _list(data, "removed")),
    ]


def _permit(name: str) -> str:
    known = next((each for each in Permit if each == name), None)
    return str(permit_title(known, "system")) if known else name


def _address(data: Mapping[str, Any], _names: Names) -> list[str]:
    return [str(data.get("address", ""))]


def _moved(data: Mapping[str, Any], _names: Names) -> list[str]:
    return [*(f"+ {each}" for each in _list(data, "joined")), *(f"− {each}" for each in _list(data, "left"))]


def _resized(data: Mapping[str, Any], _names: Names) -> list[str]:
    was, now = data.get("was") or {}, data.get("is") or {}
    return [
        f"{title}: {amount_text(was[name], name)} → {amount_text(now[name], name)}"
        for name, title in SIZES.items()
        if name in was and name in now and was[name] != now[name]
    ]


FACTS: dict[str, Callable[[Mapping[str, Any], Names], list[str]]] = {
    "RESOURCE_ASSIGN": _assigned,
    "RESOURCE_UNASSIGN": _assigned,
    "GRANT": _granted,
    "REVOKE": _granted,
    "GRANT_END": _granted,
    "GROUP_MAP": _granted,
    "GROUP_UNMAP": _granted,
    "TOKEN_CREATE": _granted,
    "QUOTA_EDIT": _limits,
    "QUOTA_THRESHOLD_PASSED": _passed,
    "QUOTA_LIMIT_PASSED": _passed,
    "ROLE_EDIT": _changed,
    "FACTOR_ASK": lambda data, names: [names.role(each) for each in _list(data, "roles")],
    "DIRECTORY_FOLLOW": _moved,
    "PROVIDER_TEST": _address,
    "PROVIDER_TESTED": _address,
    "JOB_CLOSE": lambda data, _names: [str(data.get("reason", ""))],
    "VM_RESIZED_OUTSIDE": _resized,
}
