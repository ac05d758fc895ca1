"""What templates need beyond Django's own: icons, sizes, ages, bars that a strict content policy allows."""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache
from pathlib import Path

from django import template
from django.conf import settings
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext, ngettext

from portal.common.units import mib_text

register = template.Library()

ICONS: Path = settings.BASE_DIR / "static" / "node_modules" / "@tabler" / "icons" / "icons" / "outline"
NAME = re.compile(r"[a-z0-9-]{1,40}")
UNKNOWN_ICON = "square"


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """A Tabler icon as inline SVG, hidden from screen readers; an unknown name is drawn as a square."""
    return format_html('<svg class="icon {}" aria-hidden="true" {}', extra, _drawing(name))


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


@register.filter
def amount(value: int, unit: str) -> str:
    """A figure of a quota with its unit; sizes in MiB in the unit that reads best."""
    if unit == "MiB":
        return mib_text(value)
    return f"{number_format(value)} {unit}".strip()


@register.filter
def tenths(value: int, limit: int | None) -> int:
    """How full, in steps of 5 percent between 0 and 100: the width class of a bar (no inline style is allowed)."""
    if not limit:
        return 100 if limit == 0 and value else 0
    return min(100, max(5 if value else 0, round(20 * value / limit) * 5))


@register.simple_tag
def age(moment: datetime | None) -> SafeString | str:
    """How long ago, in words, with the absolute time on hover."""
    if moment is None:
        return ""
    absolute = date_format(timezone.localtime(moment), "DATETIME_FORMAT")
    seconds = int((timezone.now() - moment).total_seconds())
    return format_html(
        '<time datetime="{}" title="{}" data-age>{}</time>', moment.isoformat(), absolute, _since(max(0, seconds))
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
