"""What removes a machine for good waits where its manager was upgraded or built anew, until a super-admin has looked at it.

Undoing what was made does not: it was made by what is there now, or is looked for by its mark.
"""

from __future__ import annotations

from functools import wraps

from django.utils.translation import gettext as _

from compute.models import Vm
from compute.operations.machine import driver_of, vm_of
from compute.sync.upgrades import note_about
from portal.hypervisors.models import Provider
from portal.hypervisors.registry import driver_class
from portal.hypervisors.upgrades import News
from portal.jobs.operation import Act, Done, Kept, StepContext, Wait

LOOK_SECONDS = 30.0
WAIT_SECONDS = 7 * 86_400.0


def once_looked_at(do: Act) -> Act:
    """The step, which begins only where nothing awaits a look. The manager itself is asked: it may be another since the last
    compare, as where it was away meanwhile.
    """

    @wraps(do)
    def step(ctx: StepContext) -> Done | Wait | Kept | None:
        return _wait(vm_of(ctx)) or do(ctx)

    return step


def _wait(vm: Vm) -> Wait | None:
    if not driver_class(vm.provider.kind).waits_after_upgrade:
        return None
    note_about(vm.provider, driver_of(vm).about())
    # After the manager was asked: a look, or a compare, may have come meanwhile.
    provider = Provider.objects.get(pk=vm.provider_id)
    vm.refresh_from_db(fields=["seen_on"])
    text = _why(vm, provider)
    return Wait(LOOK_SECONDS, text, give_up_after=WAIT_SECONDS, is_before=True) if text else None


def _why(vm: Vm, provider: Provider) -> str:
    """Why nothing may be removed yet; empty where it may."""
    if provider.news is not None:
        return waiting_text(provider.news, was=provider.accepted["version"], now=provider.told["version"])
    if not provider.is_read:
        return _("Another engine answers than the one that was read last. What it has is read first.")
    instance = provider.told["instance"]
    if instance and vm.seen_on not in {"", instance}:
        return _(
            "The machine was not found yet on the engine that was built anew. It is deleted once it was found there, or once a "
            "super-admin lets deletions go on despite what is missing."
        )
    return ""


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
