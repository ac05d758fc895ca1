"""A long step: it tells that it goes on, hears that it is not wanted any more, and comes back then."""

from __future__ import annotations

import math
from collections.abc import Callable

from portal.jobs.operation import StepContext, Wait


def going_on(ctx: StepContext, text: str) -> Callable[[], bool]:
    """Tells that it goes on (or raises ``LeaseLost``), and answers whether it may."""

    def go_on() -> bool:
        ctx.report(text)
        return not ctx.is_cancelled()

    return go_on


def stopped() -> Wait:
    """What a step says that saw that it is not wanted any more; the engine sees to the rest, however long it has been at it."""
    return Wait(0.05, give_up_after=math.inf)
