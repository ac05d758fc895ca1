"""Reasons why something cannot be done, with links to the things they name."""

from __future__ import annotations

from django import template
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal.common.errors import Reason

register = template.Library()

PAGES = {
    "machines": "compute:vm-detail",
    "templates": "compute:template",
    "data_centers": "compute:data-center",
}


@register.filter
def linked(reason: Reason) -> SafeString | str:
    """Its sentence; the names that stand in it lead to the things' pages, where a kind of thing has one."""
    names, ids, text = reason.data.get("names", ()), reason.data.get("ids", ()), str(reason.text)
    if reason.code not in PAGES or not names or len(names) != len(ids):
        return text
    head, named, rest = text.partition(", ".join(names))
    if not named:
        return text
    links = ((reverse(PAGES[reason.code], args=[uid]), name) for uid, name in zip(ids, names, strict=True))
    return format_html("{}{}{}", head, format_html_join(", ", '<a href="{}">{}</a>', links), rest)
