"""What a refusal for quota says: the figures of whose share, and what helps where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy

from tenants.models.quota import Dimension, SubjectKind

FIGURES = {
    SubjectKind.USER: gettext_lazy(
        "Your share of %(dimension)s: limit %(limit)s, in use %(used)s, asked for %(requested)s, %(shortfall)s over."
    ),
    SubjectKind.GROUP: gettext_lazy(
        "Your group's share of %(dimension)s: limit %(limit)s, in use %(used)s, asked for %(requested)s, %(shortfall)s over."
    ),
    SubjectKind.DATA_CENTER: gettext_lazy(
        "The data center's %(dimension)s: limit %(limit)s, in use %(used)s, asked for %(requested)s, %(shortfall)s over."
    ),
}
_SMALLER_OR_OFF = gettext_lazy("Choose less, shut a machine down, or ask for a larger quota.")
_SMALLER_OR_FEWER = gettext_lazy("Choose less, delete a machine that is not needed, or ask for a larger quota.")
_FEWER = gettext_lazy("Delete a machine that is not needed, or ask for a larger quota.")
REMEDIES = {
    Dimension.VCPUS_RUNNING: _SMALLER_OR_OFF,
    Dimension.MEMORY_RUNNING_MIB: _SMALLER_OR_OFF,
    Dimension.VCPUS_DEFINED: _SMALLER_OR_FEWER,
    Dimension.MEMORY_DEFINED_MIB: _SMALLER_OR_FEWER,
    Dimension.STORAGE_GIB: gettext_lazy(
        "Delete a machine, a template or an image that is not needed, or ask for a larger quota."
    ),
    Dimension.MACHINES: _FEWER,
    Dimension.SNAPSHOTS: gettext_lazy("Delete a snapshot that is not needed, or ask for a larger quota."),
    Dimension.ADDRESSES: _FEWER,
}


def refusal(subject: SubjectKind, dimension: Dimension, figures: Mapping[str, Any]) -> str:
    """Two sentences; ``figures`` (limit, used, requested, shortfall) are in words already."""
    told = str(FIGURES[subject]) % {"dimension": dimension.label, **figures}
    return f"{told} {REMEDIES[dimension]}"
