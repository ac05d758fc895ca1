"""The live parts of pages as HTML, for the page's websocket: who may no longer see a thing gets nothing of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.template.loader import render_to_string
from django.utils.html import format_html

from compute import selectors
from compute.views import parts
from portal.common.actor import Actor
from portal.common.errors import NotFound
from portal.job_access import get_job, open_jobs_count
from portal.jobs.feed import job_json
from tenants.views.jobs import job_parts

TAKES_AWAY = {
    "card": '<div id="card-{}" hx-swap-oob="delete"></div>',
    "row": '<tr id="row-{}" hx-swap-oob="delete"></tr>',
}


def card(actor: Actor, uid: UUID) -> str:
    """A machine's card; when it is gone, what takes the card away."""
    try:
        [found] = parts.cards(actor, [selectors.get_vm(actor, uid)])
    except NotFound:
        return format_html(TAKES_AWAY["card"], uid)
    return _html("compute/partials/_vm_card.html", {"card": found})


def is_taken_away(item: str, html: str) -> bool:
    """Whether this HTML of a card or a row takes it from the page."""
    kind, _, uid = item.partition(":")
    return kind in TAKES_AWAY and html == format_html(TAKES_AWAY[kind], uid)


def row(actor: Actor, uid: UUID) -> str:
    """A machine's row in the table; when it is gone, what takes the row away."""
    try:
        [found] = parts.cards(actor, [selectors.get_vm(actor, uid)])
    except NotFound:
        return format_html(TAKES_AWAY["row"], uid)
    return _html("compute/partials/_vm_row.html", {"card": found})


def vm(actor: Actor, uid: UUID) -> str:
    """The parts of a machine's page; when it is gone, what says so, and the job that tells why."""
    try:
        found = selectors.get_vm(actor, uid)
    except NotFound:
        job = selectors.last_job_of(actor, uid)
        return _html("compute/partials/_vm_gone.html", {"vm": {"pk": uid}, "job": job_json(job) if job else None})
    return _html("compute/partials/_vm_parts.html", parts.machine(actor, found))


def head(actor: Actor, uid: UUID) -> str:
    """The head of a machine's other pages; when the machine is gone, what says so."""
    try:
        found = selectors.get_vm(actor, uid)
    except NotFound:
        return _html("compute/partials/_vm_gone.html", {"vm": {"pk": uid}})
    return _html("compute/partials/_vm_head.html", parts.head(actor, found))


def console(actor: Actor, uid: UUID) -> str:
    """The head of a machine's console page; when the machine is gone, what says so."""
    try:
        found = selectors.get_vm(actor, uid)
    except NotFound:
        return _html("compute/partials/_vm_gone.html", {"vm": {"pk": uid}})
    return _html("compute/partials/_console_head.html", parts.at_console(actor, found))


def job(actor: Actor, uid: UUID) -> str:
    """A job's steps."""
    try:
        return _html("tenants/partials/_job_page.html", job_parts(actor, get_job(actor, uid)))
    except NotFound:
        return ""


def jobs_count(actor: Actor) -> str:
    """The number on the jobs button of the top bar."""
    inner = render_to_string("partials/_jobs_count.html", {"count": open_jobs_count(actor)})
    return format_html('<span id="jobs-count" hx-swap-oob="true" data-watch="jobs">{}</span>', inner)


def _html(template: str, context: dict[str, Any]) -> str:
    return render_to_string(template, context | {"oob": True})


RENDERERS = {"row": row, "card": card, "vm": vm, "head": head, "console": console, "job": job}
