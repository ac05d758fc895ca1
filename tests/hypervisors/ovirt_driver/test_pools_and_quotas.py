"""What an engine has of its own for sharing out: pools of machines, and quotas. Both are read past, and nothing is lost by them."""

from __future__ import annotations

from typing import Any

import pytest
from ovirtsdk4 import types

from tests.hypervisors.ovirt_driver.world import Engine

pytestmark = [pytest.mark.once, pytest.mark.long]


def system(engine: Engine) -> Any:
    return engine.driver._session.system()


def test_a_machine_of_a_pool_is_found_like_any_other(engine: Engine) -> None:
    pool = engine.double.plant_pool("desks")
    told = system(engine).vm_pools_service().list()
    assert [(one.id, one.name, one.size, one.type) for one in told] == [(pool, "desks", 1, types.VmPoolType.AUTOMATIC)]
    [vm] = system(engine).vms_service().list(search="name=desks-1")
    assert vm.vm_pool.id == pool

    [found] = [one for one in engine.driver.inventory().vms if one.name == "desks-1"]
    assert (found.external_id, found.marker, str(found.status)) == (vm.id, None, "down")
    assert len(found.disks) == len(found.macs) == 1


def test_whichever_mode_an_engines_quotas_are_in_its_data_centers_are_read_alike(engine: Engine) -> None:
    zones = set()
    for mode in types.QuotaModeType:
        engine.double.configure(quota_mode=mode.value)
        centers = system(engine).data_centers_service()
        assert {one.quota_mode for one in centers.list()} == {mode}
        for center in centers.list():
            quotas = centers.data_center_service(center.id).quotas_service().list()
            assert [one.name for one in quotas] == ["Default"]
        zones.add(engine.driver.inventory().zones)
        engine.made(engine.thin())
    assert len(zones) == 1
