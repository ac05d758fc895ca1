"""What templates need beyond Django's own: icons, sizes, ages, bars that a strict content policy allows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from django import template
from django.conf import settings
from django.forms import BoundField
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext, gettext_lazy, ngettext

from portal.common.browsers import browser_name
from portal.common.kinds import kind_title
from portal.common.phrases import said
from portal.common.units import amount_text, bytes_text, mib_text

register = template.Library()

ICONS: Path = settings.BASE_DIR / "static" / "node_modules" / "@tabler" / "icons" / "icons" / "outline"
NAME = re.compile(r"[a-z0-9-]{1,40}")
UNKNOWN_ICON = "square"


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """A Tabler icon as inline SVG, hidden from screen readers; an unknown name is drawn as a square."""
    return format_html('<svg class="icon {}" aria-hidden="true" {}', extra, _drawing(name))


@register.filter
def groups(field: BoundField) -> list[tuple[str, list[dict[str, Any]]]]:
    """The boxes of a field of ``Ticks`` under their headings ("" for those under none)."""
    widget = field.field.widget
    found = widget.optgroups(field.html_name, widget.format_value(field.value()))
    return [(title or "", boxes) for title, boxes, _index in found]


@cache
def _drawing(name: str) -> SafeString:
    path = ICONS / f"{name}.svg"
    if not NAME.fullmatch(name) or not path.is_file():
        path = ICONS / f"{UNKNOWN_ICON}.svg"
    body = path.read_text().partition("<svg")[2]
    # Only files of the installed icon package get here, so that nothing of a user's is marked safe.
    return mark_safe(re.sub(r'\sclass="[^"]*"', "", body, count=1))  # noqa: S308


@register.filter
def mib(size: int) -> str:
    """A size in MiB in words: 512 MiB, 2 GiB."""
    return mib_text(size)


register.filter("amount", amount_text)


@register.filter
def percent(share: int) -> str:
    """A share with its sign."""
    return f"{share} %"


register.filter("size", bytes_text)
register.filter("kind_title", kind_title)


@register.filter
def of(found: Mapping[Any, Any], key: object) -> Any:
    """What a mapping has of this key; None of one that it has not."""
    return found.get(key)


@register.filter
def fill(value: int, limit: int | None) -> int:
    """How full, in steps of 5 percent between 0 and 100: the width class of a bar (no inline style is allowed)."""
    if not limit:
        return 100 if limit == 0 and value else 0
    return min(100, max(5 if value else 0, round(20 * value / limit) * 5))


@register.simple_tag
def age(moment: datetime | None) -> SafeString | str:
    """How long ago, in words, with the absolute time on hover. Pages let it grow, from these seconds, unannounced."""
    if moment is None:
        return ""
    absolute = date_format(timezone.localtime(moment), "DATETIME_FORMAT")
    seconds = max(0, int((timezone.now() - moment).total_seconds()))
    return format_html(
        '<time datetime="{}" title="{}" data-age="{}" aria-live="off">{}</time>',
        moment.isoformat(),
        absolute,
        seconds,
        _since(seconds),
    )


def _since(seconds: int) -> str:
    if seconds < 10:
        return gettext("just now")
    if seconds < 60:
        return ngettext("%(count)d second ago", "%(count)d seconds ago", seconds) % {"count": seconds}
    if seconds < 3600:
        minutes = seconds // 60
        return ngettext("%(count)d minute ago", "%(count)d minutes ago", minutes) % {"count": minutes}
    if seconds < 86400:
        hours = seconds // 3600
        return ngettext("%(count)d hour ago", "%(count)d hours ago", hours) % {"count": hours}
    days = seconds // 86400
    return ngettext("%(count)d day ago", "%(count)d days ago", days) % {"count": days}


@register.filter
def limited(meters: Iterable[Any]) -> list[Any]:
    """Those of a quota's figures that have a limit."""
    return [meter for meter in meters if meter.limit is not None]


@register.filter
def sentence(text: str) -> str:
    """The text with a capital first letter, unless it starts with a name that has none (vCPUs)."""
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]


EVENT_TITLES = {
    "LOGIN_KEPT_OUT": gettext_lazy("The directory kept an account out"),
    "SESSION_OVER": gettext_lazy("A log-in ended by its age, or was left alone too long"),
    "DIRECTORY_TESTED": gettext_lazy("What came of testing a directory's connection"),
    "PROVIDER_TESTED": gettext_lazy("What came of testing a provider's connection"),
    "DIRECTORY_FOLLOW": gettext_lazy("The directory says something else of an account now"),
    "DIRECTORY_FOLLOW_LATE": gettext_lazy("A directory has not been followed for minutes: rights may outlive it"),
    "DIRECTORY_FOLLOW_HELD": gettext_lazy(
        "Many accounts of a directory would have lost rights at once, which was held"
    ),
    "VM_CREATE_REQUESTED": gettext_lazy("Creation was asked for"),
    "VM_CREATED": gettext_lazy("The machine was created"),
    "VM_CREATE_FAILED": gettext_lazy("Creating the machine failed"),
    "VM_CREATE_REFUSED": gettext_lazy("Creation was refused"),
    "VM_MADE_NOT_RUNNING": gettext_lazy("The machine was made, but does not run"),
    "VM_RUN_REQUESTED": gettext_lazy("Running was asked for"),
    "VM_STARTED": gettext_lazy("The machine was started"),
    "VM_RUN_FAILED": gettext_lazy("Running the machine failed"),
    "VM_RUN_REFUSED": gettext_lazy("Running was refused"),
    "VM_SHUT_DOWN_REQUESTED": gettext_lazy("Shutting down was asked for"),
    "VM_SHUT_DOWN_DONE": gettext_lazy("The machine was shut down"),
    "VM_SHUT_DOWN_FAILED": gettext_lazy("Shutting the machine down failed"),
    "VM_SHUT_DOWN_REFUSED": gettext_lazy("Shutting down was refused"),
    "VM_STOP_REQUESTED": gettext_lazy("Stopping was asked for"),
    "VM_STOPPED": gettext_lazy("The machine was stopped"),
    "VM_STOP_FAILED": gettext_lazy("Stopping the machine failed"),
    "VM_STOP_REFUSED": gettext_lazy("Stopping was refused"),
    "VM_REBOOT_REQUESTED": gettext_lazy("Rebooting was asked for"),
    "VM_REBOOTED": gettext_lazy("The machine was rebooted"),
    "VM_REBOOT_FAILED": gettext_lazy("Rebooting the machine failed"),
    "VM_REBOOT_REFUSED": gettext_lazy("Rebooting was refused"),
    "VM_DELETE_REQUESTED": gettext_lazy("Deletion was asked for"),
    "VM_DELETED": gettext_lazy("The machine was deleted"),
    "VM_DELETE_FAILED": gettext_lazy("Deleting the machine failed"),
    "VM_DELETE_REFUSED": gettext_lazy("Deletion was refused"),
    "VM_CONNECT_REQUESTED": gettext_lazy("A console was asked for"),
    "VM_CONNECTED": gettext_lazy("A console was opened"),
    "VM_CONNECT_FAILED": gettext_lazy("Opening a console failed"),
    "VM_CONNECT_REFUSED": gettext_lazy("A console was refused"),
    "VM_DISCONNECTED": gettext_lazy("A console was closed"),
    "QUOTA_THRESHOLD_PASSED": gettext_lazy("Use passed the threshold of a quota"),
    "QUOTA_LIMIT_PASSED": gettext_lazy("Use passed the limit of a quota"),
    "VM_ADOPT_REQUESTED": gettext_lazy("Adoption was asked for"),
    "VM_ADOPT_DONE": gettext_lazy("The machine was adopted"),
    "VM_UNADOPT_REQUESTED": gettext_lazy("Giving the machine back was asked for"),
    "VM_UNADOPT_DONE": gettext_lazy("The machine was given back"),
    "VM_MOVE_DONE": gettext_lazy("The machine came from another data center"),
    "VM_LEAVE_DONE": gettext_lazy("The machine left for another data center"),
    "VM_PROTECT_DONE": gettext_lazy("The machine was protected"),
    "VM_UNPROTECT_DONE": gettext_lazy("The machine is no longer protected"),
    "GRANT_END": gettext_lazy("A role came to its end"),
    "JOB_STUCK": gettext_lazy("A job is stuck"),
    "CLUSTER_PROBLEM_FOUND": gettext_lazy("The hosts of a cluster do not fit together any more"),
    "PROVIDER_COMPARE_HELD": gettext_lazy("Many machines seem to have vanished at once, which was not believed"),
    "PROVIDER_DISPLAY_REFUSED": gettext_lazy("A provider named a place for a screen where none of its hosts is"),
    "VM_RESIZED_OUTSIDE": gettext_lazy("The size of a machine was changed on its hypervisor"),
    "PROVIDER_VERSION_CHANGED": gettext_lazy("Another version of a provider"),
    "PROVIDER_REBUILT": gettext_lazy("Another engine answers for a provider"),
    "PROVIDER_PLACES_FOLLOWED": gettext_lazy("Places were taken for those of the same names, under other ids"),
    "VM_FOUND_AGAIN": gettext_lazy("A machine came back under another id"),
    "VM_LEFTOVER_REMOVED": gettext_lazy("What a failed creation had left over was removed"),
}


VERB_TITLES = {
    "VM_CREATE": gettext_lazy("Creating a machine"),
    "VM_DELETE": gettext_lazy("Deleting a machine"),
    "VM_RUN": gettext_lazy("Running a machine"),
    "VM_SHUT_DOWN": gettext_lazy("Shutting a machine down"),
    "VM_STOP": gettext_lazy("Stopping a machine"),
    "VM_REBOOT": gettext_lazy("Rebooting a machine"),
    "VM_CONNECT": gettext_lazy("Opening a console"),
    "LOGIN": gettext_lazy("Logging in"),
    "USER_CREATE": gettext_lazy("Creating a user"),
    "USER_ENABLE": gettext_lazy("Enabling a user"),
    "USER_DISABLE": gettext_lazy("Disabling a user"),
    "VIEW_BEGIN": gettext_lazy("Beginning to see the portal as somebody else"),
    "VIEW_END": gettext_lazy("Ending to see the portal as somebody else"),
    "VIEW_ACT": gettext_lazy("Changing something while seeing the portal as somebody else"),
    "PASSWORD_SET": gettext_lazy("Setting a password"),
    "LOGIN_CODE": gettext_lazy("Proving the second factor"),
    "FACTOR_ADD": gettext_lazy("Setting up a second factor"),
    "FACTOR_RENEW": gettext_lazy("Making new recovery codes"),
    "FACTOR_REMOVE": gettext_lazy("Removing a second factor"),
    "FACTOR_RESET": gettext_lazy("Taking a lost second factor away"),
    "FACTOR_ASK": gettext_lazy("Choosing which roles need a second factor"),
    "LOGOUT": gettext_lazy("Logging out"),
    "SESSION_END": gettext_lazy("Ending log-ins"),
    "TOKEN_CREATE": gettext_lazy("Creating an API token"),
    "TOKEN_PROVE": gettext_lazy("Proving who one is for an API token"),
    "TOKEN_LOGIN": gettext_lazy("Coming with an API token"),
    "TOKEN_REVOKE": gettext_lazy("Revoking an API token"),
    "ROLE_CREATE": gettext_lazy("Making a role"),
    "ROLE_EDIT": gettext_lazy("Changing a role"),
    "ROLE_DELETE": gettext_lazy("Deleting a role"),
    "GRANT": gettext_lazy("Giving a role"),
    "REVOKE": gettext_lazy("Taking a role back"),
    "QUOTA_EDIT": gettext_lazy("Changing a quota"),
    "DATA_CENTER_CREATE": gettext_lazy("Creating a data center"),
    "DATA_CENTER_EDIT": gettext_lazy("Changing a data center"),
    "DATA_CENTER_ENABLE": gettext_lazy("Enabling a data center"),
    "DATA_CENTER_DISABLE": gettext_lazy("Disabling a data center"),
    "DATA_CENTER_LAUNCH": gettext_lazy("Launching a data center"),
    "DIRECTORY_CONNECT": gettext_lazy("Connecting a directory"),
    "DIRECTORY_TEST": gettext_lazy("Testing the connection of a directory"),
    "DIRECTORY_EDIT": gettext_lazy("Changing a directory"),
    "DIRECTORY_ENABLE": gettext_lazy("Enabling a directory"),
    "DIRECTORY_DISABLE": gettext_lazy("Disabling a directory"),
    "DIRECTORY_REMOVE": gettext_lazy("Removing a directory"),
    "DIRECTORY_RELEASE": gettext_lazy("Letting a held sync through"),
    "GROUP_MAP": gettext_lazy("Giving a role to a directory's group"),
    "GROUP_UNMAP": gettext_lazy("Taking a role from a directory's group"),
    "RESOURCE_ASSIGN": gettext_lazy("Assigning a resource"),
    "RESOURCE_UNASSIGN": gettext_lazy("Taking a resource back"),
    "READINESS_CHECK": gettext_lazy("Checking readiness"),
    "CLUSTER_CREATE": gettext_lazy("Making a cluster"),
    "CLUSTER_EDIT": gettext_lazy("Changing a cluster"),
    "CLUSTER_REMOVE": gettext_lazy("Dissolving a cluster"),
    "PROVIDER_CONNECT": gettext_lazy("Connecting a provider"),
    "PROVIDER_EDIT": gettext_lazy("Changing a provider"),
    "PROVIDER_REMOVE": gettext_lazy("Removing a provider"),
    "PROVIDER_TEST": gettext_lazy("Testing the connection of a provider"),
    "PROVIDER_ACCEPT_VERSION": gettext_lazy("Letting deletions go on after an upgrade"),
    "NETWORK_CREATE": gettext_lazy("Creating a network"),
    "NETWORK_OFFER": gettext_lazy("Offering a network of a host's"),
    "NETWORK_TAKE_BACK": gettext_lazy("Taking back the offer of a network"),
    "NETWORK_DELETE": gettext_lazy("Removing a network"),
    "TEMPLATE_CREATE": gettext_lazy("Making a template"),
    "TEMPLATE_EDIT": gettext_lazy("Changing a template"),
    "TEMPLATE_DELETE": gettext_lazy("Deleting a template"),
    "IMAGE_CREATE": gettext_lazy("Beginning to upload an image"),
    "IMAGE_UPLOAD": gettext_lazy("Uploading an image"),
    "IMAGE_DELETE": gettext_lazy("Removing an image"),
    "VOLUME_OFFER": gettext_lazy("Offering a volume"),
    "VOLUME_WITHDRAW": gettext_lazy("Taking the offer of a volume back"),
    "EVENTS_EXPORT": gettext_lazy("Exporting the log"),
    "JOB_CANCEL": gettext_lazy("Cancelling a job"),
    "JOB_RETRY": gettext_lazy("Undoing a stuck job again"),
    "JOB_CLOSE": gettext_lazy("Closing a stuck job"),
    "VM_ADOPT": gettext_lazy("Adopting a machine"),
    "VMS_MEASURE": gettext_lazy("Measuring machines' disks"),
    "VMS_ADOPT": gettext_lazy("Adopting machines"),
    "VM_UNADOPT": gettext_lazy("Giving a machine back"),
    "VM_MOVE": gettext_lazy("Moving a machine into a data center"),
    "VM_LEAVE": gettext_lazy("Moving a machine out of a data center"),
    "VM_PROTECT": gettext_lazy("Protecting a machine"),
    "VM_UNPROTECT": gettext_lazy("Ending a machine's protection"),
}
ENDINGS = re.compile("_(REQUESTED|DONE|CREATED|REFUSED|FAILED)$")


@register.filter
def event_title(code: str) -> str:
    """What an audit code says to people: a sentence of its own, or what was tried; else it stays as it is."""
    verb = ENDINGS.sub("", code)
    return str(EVENT_TITLES.get(code) or VERB_TITLES.get(verb) or VERB_TITLES.get(f"{verb}_CREATE") or code)


register.filter("said", said)
register.filter("browser", browser_name)


OUTCOMES = {
    "requested": ("changing", gettext_lazy("asked for")),
    "done": ("up", gettext_lazy("done")),
    "refused": ("warning", gettext_lazy("refused")),
    "failed": ("failed", gettext_lazy("failed")),
    "noted": ("down", gettext_lazy("noted")),
}


@register.filter
def outcome_title(outcome: str) -> str:
    """How an event ended, in a word."""
    return str(OUTCOMES[outcome][1])


@register.filter
def outcome_kind(outcome: str) -> str:
    """The look of it."""
    return OUTCOMES[outcome][0]


STATUS_KINDS = {
    "up": "up",
    "down": "down",
    "paused": "warning",
    "suspended": "warning",
    "not_responding": "failed",
    "unknown": "unknown",
}


@register.filter
def status_kind(status: str) -> str:
    """The look of a VM's status; every status that is not a state of rest is a change."""
    return STATUS_KINDS.get(status, "changing")


JOB_KINDS = {
    "finished": "up",
    "failed": "failed",
    "aborted": "down",
    "closed": "down",
    "stuck": "failed",
    "unwinding": "warning",
}


@register.filter
def job_kind(status: str) -> str:
    """The look of a job's status."""
    return JOB_KINDS.get(status, "changing")


@register.filter
def moment(text: str | None) -> datetime | None:
    """The time in a text of ISO 8601, as jobs carry it."""
    return datetime.fromisoformat(text) if text else None


@register.simple_tag
def took(started: str | None, ended: str | None) -> str:
    """How long a step took, or has been at work."""
    if not started:
        return ""
    until = datetime.fromisoformat(ended) if ended else timezone.now()
    seconds = max(0, (until - datetime.fromisoformat(started)).total_seconds())
    if seconds < 60:
        return gettext("%(seconds)s s") % {"seconds": number_format(seconds, decimal_pos=1 if seconds < 10 else 0)}
    return gettext("%(minutes)d min %(seconds)d s") % {"minutes": seconds // 60, "seconds": seconds % 60}
