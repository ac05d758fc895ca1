"""The full compare: what vanished shows as absent, unless so much vanished at once that it cannot be true."""

from __future__ import annotations

import pytest

from compute.choices import HELD
from compute.models import Vm
from compute.sync.inventory import sync_provider
from portal.events.models import Event
from portal.hypervisors.models import Provider
from tenants import quota
from tenants.models.quota import Dimension
from tests.doubles.hypervisor_state import drop
from tests.flows.place import Place, make_place

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place(transactional_db: None, tmp_path) -> Place:
    return make_place(tmp_path)


@pytest.mark.parametrize(
    ("machines", "gone", "is_held"),
    [(1, 1, False), (3, 2, False), (3, 3, True), (8, 5, False), (8, 6, True)],
)
def test_tf17_few_that_vanish_are_absent_and_many_or_all_are_not_believed(
    place: Place, machines: int, gone: int, is_held: bool
) -> None:
    quota.set_limits(place.centers["physics"], {Dimension.VCPUS_RUNNING: None})
    made = [place.machine(f"web-{number}") for number in range(machines)]
    with place.double.store.change() as db:
        for vm in made[:gone]:
            drop(db, "vm", str(vm.pk))
    for _ in range(2):
        sync_provider(place.provider)
    assert sum(vm.is_absent for vm in Vm.objects.all()) == (0 if is_held else gone)
    assert Vm.objects.count() == machines
    assert Provider.objects.get().status_detail == (HELD if is_held else "")
    assert Event.objects.filter(code="PROVIDER_COMPARE_HELD").count() == is_held, "an alarm sounds once"
