"""Whether who asked for a job may still use what it is made of, besides what the engine's gate asks."""

from __future__ import annotations

from django.db.models import Model

from portal.common.errors import NotFound, NotPermitted
from portal.jobs.gate import ask_gate
from portal.jobs.operation import StepContext, StepFailed
from tenants.kinds import kind_of
from tenants.permits import Permit


def ask_again(ctx: StepContext, permit: Permit, row: Model, *, code: str, text: str) -> None:
    """Raise ``StepFailed`` where a role on it ended since it was chosen."""
    try:
        ask_gate(ctx.actor, permit, kind_of(type(row)).name, row.pk)
    except (NotPermitted, NotFound) as error:
        raise StepFailed(text, code=code) from error
