"""The page of what uses a quota, a dimension at a time."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.http import require_safe

from compute.services.consumption import Consumer, Consumption, consumers, consumption
from portal.common.http import actor_of
from portal.common.login_first import login_required
from tenants.models import QuotaCharge
from tenants.views.asked import uid_or_none

PER_PAGE = 50
LARGEST = 2**63 - 1


@require_safe
@login_required
def quota_use(request: HttpRequest, uid: UUID, dimension: str) -> HttpResponse:
    """What uses a dimension of a data center's quota, or with ``?user=`` of one user's share; the largest first."""
    actor, user = actor_of(request), uid_or_none(request.GET.get("user"))
    found = consumption(actor, uid, dimension, user_uid=user)
    rows, after = _page(found.charges, request.GET)
    context = {
        "section": "data_centers",
        "found": found,
        "rows": [(each, _kind(each.kind), _link(each)) for each in consumers(actor, rows)],
        "more": urlencode(({"user": user} if user else {}) | after) if after else "",
        "shows_owner": found.sees_all and not found.user,
        "own": found.user is not None and found.user.pk == actor.uid,
        "dimensions": _dimensions(found),
    }
    return render(request, "compute/quota_use.html", context)


def _page(charges: QuerySet[QuotaCharge], asked: QueryDict) -> tuple[list[QuotaCharge], dict[str, Any]]:
    """The charges of this page, and what names the place to go on from, nothing at the end."""
    last, amount = uid_or_none(asked.get("after")), asked.get("after_amount", "")
    if last and amount.isascii() and amount.isdecimal() and int(amount[:20]) <= LARGEST:
        below = Q(amount__lt=int(amount[:20])) | Q(amount=int(amount[:20]), uid__lt=last)
        charges = charges.filter(below, amount__lte=int(amount[:20]))
    found = list(charges[: PER_PAGE + 1])
    shown = found[:PER_PAGE]
    on = {"after_amount": shown[-1].amount, "after": shown[-1].pk} if len(found) > PER_PAGE else {}
    return shown, on


def _kind(kind: str) -> str:
    return {
        "vm": _("machine"),
        "disk": _("disk"),
        "image": pgettext("noun", "image"),
        "template": pgettext("noun", "template"),
    }.get(kind, kind)


def _link(each: Consumer) -> str:
    """The page of a thing that the reader may see."""
    if not each.name:
        return ""
    if each.kind == "vm":
        return reverse("compute:vm-detail", args=[each.uid])
    if each.kind == "disk" and each.machine:
        return reverse("compute:vm-disks", args=[each.machine])
    if each.kind == "template":
        return reverse("compute:template", args=[each.uid])
    return reverse("compute:images") if each.kind == "image" else ""


def _dimensions(found: Consumption) -> list[tuple[str, str, bool]]:
    """The dimensions with a limit or a use, each with its address and whether it is this one."""
    tail = f"?{urlencode({'user': found.user.pk})}" if found.user else ""
    known = {each.dimension: each.label for each in found.meters}
    known.setdefault(found.dimension.value, str(found.dimension.label))
    at = {name: reverse("compute:quota-use", args=[found.data_center.pk, name]) + tail for name in known}
    return [(label, at[name], name == found.dimension) for name, label in known.items()]
