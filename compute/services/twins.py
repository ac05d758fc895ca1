"""Whether a hypervisor that is tried is one that is connected already, by whatever address it is reached."""

from __future__ import annotations

from django.db.models import Q

from compute.diagnosis import Told, told
from portal.common.errors import Conflict, Reason
from portal.hypervisors.findings import Finding
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import Connection


def identity_in(steps: tuple[Told, ...]) -> str:
    """Who answered, as it told; empty where it tells nothing that is its alone."""
    return next((step.data["identity"] for step in steps if "identity" in step.data), "")


def twin_told(connection: Connection, steps: tuple[Told, ...]) -> tuple[Told, ...]:
    """A warning that names the other provider that is this very hypervisor; nothing where there is none."""
    same = Q(address__iexact=connection.address)
    if identity := identity_in(steps):
        same |= Q(about__identity=identity)
    other = Provider.objects.filter(same).exclude(pk=connection.provider_uid).first()
    if other is None:
        return ()
    finding = Finding("already", "already_connected", {"name": other.name}, is_warning=True)
    return told([finding], connection.kind)


def refuse_twin(connection: Connection, steps: tuple[Told, ...]) -> None:
    """``Conflict``: two rows of one hypervisor would count everything there twice."""
    for one in twin_told(connection, steps):
        text = f"{one.text} {one.remedy}"
        raise Conflict(text, reasons=(Reason("address_taken", text, "address", dict(one.data)),))
