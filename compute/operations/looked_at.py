"""What removes something for good waits where its manager was upgraded or built anew, until a super-admin has looked at it.

Undoing what was just made does not: that was made by what is there now, or is looked for by its mark.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.utils.translation import gettext as _

from compute.sync.upgrades import note_about
from portal.hypervisors.connect import driver_for
from portal.hypervisors.models import Provider
from portal.hypervisors.registry import driver_class
from portal.hypervisors.upgrades import News
from portal.jobs.operation import Act, Done, Kept, StepContext, Wait

LOOK_SECONDS = 30.0
WAIT_SECONDS = 7 * 86_400.0


def once_looked_at(provider_of: Callable[[StepContext], Provider], do: Act) -> Act:
    """The step, which begins only where nothing awaits a look. The manager itself is asked: it may be another since the last
    compare, as where it was away meanwhile.
    """

    @wraps(do)
    def step(ctx: StepContext) -> Done | Wait | Kept | None:
        return _wait(provider_of(ctx)) or do(ctx)

    return step


def _wait(provider: Provider) -> Wait | None:
    if not driver_class(provider.kind).waits_after_upgrade:
        return None
    news = note_about(provider, driver_for(provider).about())
    if news is None:
        return None
    provider.refresh_from_db(fields=["about", "accepted"])
    text = waiting_text(news, was=provider.accepted["version"], now=provider.told["version"])
    return Wait(LOOK_SECONDS, text, give_up_after=WAIT_SECONDS, is_before=True)


def waiting_text(news: News, *, was: str, now: str) -> str:
    """What people read of a job that waits."""
    if news is News.REBUILT:
        text = _(
            "The engine was built anew (version %(was)s before, %(now)s now). Nothing is deleted there until a super-admin has "
            "looked at it and lets deletions go on."
        )
    else:
        text = _(
            "The engine was upgraded from version %(was)s to %(now)s. Nothing is deleted there until a super-admin has looked at "
            "it and lets deletions go on."
        )
    return text % {"was": was, "now": now}
