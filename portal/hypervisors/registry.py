"""Which driver speaks to which kind of hypervisor. A new kind is one folder and one line here."""

from __future__ import annotations

from django.conf import settings
from django.utils.module_loading import import_string

from portal.hypervisors.base import Driver
from portal.hypervisors.errors import Unsupported

DRIVERS: dict[str, str] = {
    "libvirt": "portal.hypervisors.libvirt.driver.LibvirtDriver",
    "ovirt": "portal.hypervisors.ovirt.driver.OvirtDriver",
}


def kinds() -> tuple[str, ...]:
    """The kinds of provider that can be connected here; ``HYPERVISOR_DRIVERS`` adds doubles in tests."""
    return tuple(sorted(_paths()))


def driver_class(kind: str) -> type[Driver]:
    """The driver of a kind; raises ``Unsupported`` for a kind that nobody registered."""
    path = _paths().get(kind)
    if path is None:
        raise Unsupported(detail=f"no driver for kind {kind!r}")
    found: type[Driver] = import_string(path)
    return found


def _paths() -> dict[str, str]:
    extra: dict[str, str] = getattr(settings, "HYPERVISOR_DRIVERS", {})
    return {**DRIVERS, **extra}
