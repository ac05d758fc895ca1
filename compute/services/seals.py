"""Sealing anew everything that is sealed, so that an old key can be put away."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Model

from compute.models import Vm
from portal.common.actor import Actor
from portal.common.sealed import SealBroken, reseal
from portal.hypervisors.models import Provider
from tenants import policy
from tenants.models import Directory, SecondFactor
from tenants.permits import Permit

# Consoles' seals last as long as a console, and kept forms a week: they are not worth it.
SEALED: tuple[tuple[type[Model], str], ...] = (
    (Provider, "sealed_secrets"),
    (Vm, "sealed_initial_run"),
    (Directory, "sealed_password"),
    (SecondFactor, "sealed_secret"),
)


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many values were sealed anew, and which rows hold one that no key opens."""

    done: int
    broken: tuple[str, ...]


def reseal_all(actor: Actor) -> Resealed:
    """Seal everything with the newest key. What somebody changes meanwhile is left to him: it has the newest already."""
    policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())
    done, broken = 0, []
    for model, column in SEALED:
        rows = model._default_manager.exclude(**{column: ""})
        for uid, old in rows.values_list("pk", column).iterator():
            try:
                done += rows.filter(**{"pk": uid, column: old}).update(**{column: reseal(old)})
            except SealBroken:
                broken.append(f"{model._meta.verbose_name} {uid}")
    return Resealed(done, tuple(broken))
