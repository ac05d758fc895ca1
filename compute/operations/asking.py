"""A long step: it waits for its turn, tells that it goes on, hears that it is not wanted any more, and comes back then."""

from __future__ import annotations

import math
from collections.abc import Callable

from django.utils.translation import gettext as _

from portal.jobs.operation import StepContext, Wait

TURN_SECONDS = 5.0  # until a step looks again for a place
TURN_GIVE_UP = 86_400.0


def in_turn() -> Wait:
    """What a step says that found no place for slow work."""
    return Wait(TURN_SECONDS, _("Other images are being copied. This one is next in turn."), give_up_after=TURN_GIVE_UP)


def inspected_in_turn() -> Wait:
    """What a step says that found no place for looking at an image."""
    text = _("Other images are being inspected. This one is next in turn.")
    return Wait(TURN_SECONDS, text, give_up_after=TURN_GIVE_UP)


def going_on(ctx: StepContext, text: str) -> Callable[[], bool]:
    """Tells that it goes on (or raises ``LeaseLost``), and answers whether it may."""

    def go_on() -> bool:
        ctx.report(text)
        return not ctx.is_cancelled()

    return go_on


def stopped() -> Wait:
    """What a step says that saw that it is not wanted any more; the engine sees to the rest, however long it has been at it."""
    return Wait(0.05, give_up_after=math.inf)
