"""What a super-admin does first on an empty portal, and how much of it is done."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext as _

from compute.models import Template, Vm
from portal.common.actor import Actor
from portal.hypervisors.models import Provider
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what is done, why, where, and whether it is done already. ``is_next``: the first that is not."""

    title: str
    why: str
    address: str
    is_done: bool
    is_next: bool


def first_steps(actor: Actor) -> tuple[Step, ...]:
    """The steps to a first machine, for super-admins until all are done; none for anybody else."""
    if not policy.holds_everywhere(actor, Permit.SYSTEM_MANAGE):
        return ()
    for_use = Q(owner__isnull=False) | Q(assignments__isnull=False)
    steps = (
        (
            _("Connect a provider"),
            _("A hypervisor with hosts and storage."),
            "compute:provider-create",
            Provider.objects.exists(),
        ),
        (
            _("Launch data center"),
            _("A department's share of it, with its people and quota."),
            "compute:data-center-launch",
            DataCenter.objects.filter(enabled=True).exists(),
        ),
        (
            _("Upload an image and make a template of it"),
            _("What machines are made from."),
            "compute:images",
            Template.objects.filter(for_use, status="ok").exists(),
        ),
        (_("Create the first machine"), "", "compute:vm-create", Vm.objects.exists()),
    )
    first = next((number for number, step in enumerate(steps) if not step[3]), None)
    if first is None:
        return ()
    return tuple(
        Step(title, why, reverse(address), is_done, number == first)
        for number, (title, why, address, is_done) in enumerate(steps)
    )
