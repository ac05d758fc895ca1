"""Which of the machines that one sees a page or the API is asked for."""

from __future__ import annotations

import re
from uuid import UUID

from django.db.models import Q, QuerySet

from compute.models import Vm

ADDRESS = re.compile(r"(?=.*[.:])[0-9A-Fa-f.:]+")


def asked_for(rows: QuerySet[Vm], *, text: str = "", data_center: UUID | None = None, status: str = "") -> QuerySet[Vm]:
    """Those whose name or address holds the text, of one data center, of one status; what is empty asks for nothing."""
    if text:
        found = Q(name__icontains=text)
        # Only what looks like one: other words are in what an address is kept with.
        if ADDRESS.fullmatch(text):
            found |= Q(addresses__icontains=text)
        rows = rows.filter(found)
    if data_center:
        rows = rows.filter(data_center_id=data_center)
    return rows.filter(status=status) if status else rows
