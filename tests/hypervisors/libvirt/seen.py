"""What the portal shows meanwhile."""

from __future__ import annotations

from typing import Any

from compute.models import Vm
from tenants.models import QuotaCharge
from tests.hypervisors.libvirt.real import BOOT_SECONDS, until


def status(vm: Vm) -> str:
    """The last observed status."""
    return str(Vm.objects.values_list("status", flat=True).get(pk=vm.pk))


def charges() -> list[tuple[Any, ...]]:
    """What everybody is charged for."""
    return sorted(QuotaCharge.objects.values_list("consumer_kind", "consumer_uid", "dimension", "amount"))


def seen_until(wanted: dict[Vm, str], *, seconds: float = BOOT_SECONDS) -> set[str]:
    """Every status that these machines had on their way to the wanted ones."""
    seen: set[str] = set()

    def there() -> bool:
        now = {vm: status(vm) for vm in wanted}
        seen.update(now.values())
        return now == wanted

    until(there, f"statuses {wanted}", seconds=seconds)
    return seen
