"""A machine of an engine whose hosts are real: it boots, has its address and its user, shows its screen, and goes off by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compute.models import Vm
from compute.sync.watcher import look_at
from portal.hypervisors import connect
from portal.hypervisors.connect import driver_for
from portal.hypervisors.specs import ConsoleTarget, VmRef
from portal.jobs.states import JobStatus
from tests.compute.console.peers import Client
from tests.doubles.ovirt_engine.control import EngineDouble
from tests.doubles.ovirt_engine.fixtures import fresh
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.ovirt_place import EnginePlace, make_engine_place
from tests.flows.patience import run_through
from tests.lab.servers import new_folder

pytestmark = [pytest.mark.long, pytest.mark.once, pytest.mark.libvirt, pytest.mark.django_db(transaction=True)]

# As in tests/guest: a few seconds on an idle machine, this much on one that is busy with other tests.
BOOT_SECONDS = 90.0


@pytest.fixture
def place(transactional_db: None, tmp_path: Path, tiny_linux_image: Path, settings: Any) -> Iterator[EnginePlace]:
    settings.IMAGE_SPOOL = tmp_path / "spool"
    engine = EngineDouble(new_folder("ovirt"), image=tiny_linux_image)
    try:
        for _ in fresh(engine):
            place = make_engine_place(tmp_path, engine)
            yield place
            connect.forget(place.provider.pk)
    finally:
        engine.start()
        engine.reset()  # its machines end
        engine.stop()


def until(true: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + BOOT_SECONDS
    while not true():
        assert time.monotonic() < end, f"{what}: not within {BOOT_SECONDS} s"
        time.sleep(0.2)


def seen(place: EnginePlace, vm: Vm) -> Vm:
    look_at(place.provider, vm.external_id)
    vm.refresh_from_db()
    return vm


def serial(place: EnginePlace, vm: Vm) -> str:
    assert place.engine is not None
    return (place.engine.folder / "machines" / vm.external_id / "serial.log").read_text(errors="replace")


async def greeted(target: ConsoleTarget) -> str:
    """The name of the screen, through the portal's own relay."""
    client = Client(target)
    await client.enter()
    return await client.initialise()


def test_it_boots_shows_its_screen_survives_the_engine_and_goes_off_when_asked(place: EnginePlace) -> None:
    assert place.engine is not None
    vm, job = place.create("web-1", memory_mib=256)
    assert run_through(place, job, later=0.2).status == JobStatus.FINISHED, job.error
    vm.refresh_from_db()
    until(lambda: seen(place, vm).addresses, "an address")
    assert vm.addresses[0]["source"] == "agent"
    until(lambda: "ada@web-1" in serial(place, vm), "its user at its own prompt")

    target = driver_for(place.provider).console(VmRef(vm.pk, vm.external_id), protocol="vnc")
    assert asyncio.run(greeted(target))

    place.engine.kill()
    place.engine.start()
    assert seen(place, vm).status == "up", "machines outlive their engine"

    job = place.do("shut_down", vm)
    assert run_through(place, job, later=0.2).status == JobStatus.FINISHED, job.error
    assert seen(place, vm).status == "down"
    job = place.do("delete", vm)
    assert run_through(place, job, later=0.2).status == JobStatus.FINISHED, job.error
    assert_nothing_lost(place)
