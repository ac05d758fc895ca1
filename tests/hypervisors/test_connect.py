"""From a provider's row to its driver: one lane for each provider and process, and no call without a bound."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from portal.common import sealed
from portal.hypervisors import connect, known_lanes, lanes
from portal.hypervisors.base import Driver, no_progress
from portal.hypervisors.connect import BoundedDriver, driver_for, forget
from portal.hypervisors.errors import Denied, Invalid, OutcomeUnknown, Unavailable
from portal.hypervisors.known_lanes import KnownLanes
from portal.hypervisors.lanes import Lane, Limits
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import (
    Connection,
    DiskRef,
    DiskSpec,
    InitialRun,
    Inventory,
    NetworkSpec,
    VmRef,
    VmSpec,
    VolumeRef,
)
from tests.doubles.hypervisor import DoubleDriver
from tests.doubles.hypervisor_state import Fault, HypervisorDouble
from tests.hypervisors.test_lanes import Clock
from tests.lab.servers import wait_until

UID = uuid4()
REF, DISK = VmRef(UID, str(UID)), DiskRef(UID, "pool")
SPEC = DiskSpec(UID, "pool", 1)
READS: dict[str, Callable[[Driver], Any]] = {
    "about": lambda driver: driver.about(),
    "capabilities": lambda driver: driver.capabilities(),
    "inventory": lambda driver: driver.inventory(),
    "watch": lambda driver: driver.watch(),
    "find_disk": lambda driver: driver.find_disk(DISK),
    "our_disks": lambda driver: driver.our_disks("pool"),
    "find_network": lambda driver: driver.find_network(UID),
    "copied_bytes": lambda driver: driver.copied_bytes(SPEC),
    "volumes": lambda driver: driver.volumes("pool"),
    "find_volume": lambda driver: driver.find_volume("pool", "disk"),
    "volume_users": lambda driver: driver.volume_users("pool", "disk"),
    "volume_head": lambda driver: driver.volume_head("pool", "disk", length=1),
    "disk_sizes": lambda driver: driver.disk_sizes((str(UID),)),
    "find_vm": lambda driver: driver.find_vm(UID),
    "addresses": lambda driver: driver.addresses(REF),
    "download_disk": lambda driver: driver.download_disk(DISK, take=lambda piece: None),
}
CHANGES: dict[str, Callable[[Driver], Any]] = {
    "ensure_storage_domain": lambda driver: driver.ensure_storage_domain("pool", path="/pool"),
    "delete_storage_domain": lambda driver: driver.delete_storage_domain("pool"),
    "create_disk": lambda driver: driver.create_disk(SPEC),
    "upload_disk": lambda driver: driver.upload_disk(SPEC, chunks=iter([b""])),
    "copy_disk": lambda driver: driver.copy_disk(SPEC, source=VolumeRef("pool", "disk", "raw")),
    "delete_disk": lambda driver: driver.delete_disk(DISK),
    "create_first_boot": lambda driver: driver.create_first_boot(UID, InitialRun("web-1"), storage_domain="pool"),
    "delete_first_boot": lambda driver: driver.delete_first_boot(UID, storage_domain="pool"),
    "create_network": lambda driver: driver.create_network(NetworkSpec(UID, "net", "10.99.0.0/24")),
    "delete_network": lambda driver: driver.delete_network(UID),
    "create_vm": lambda driver: driver.create_vm(VmSpec(UID, "web-1", "", 64, 1, ())),
    "delete_vm": lambda driver: driver.delete_vm(REF),
    "adopt_vm": lambda driver: driver.adopt_vm(str(UID)),
    "unadopt_vm": lambda driver: driver.unadopt_vm(REF),
    "run_vm": lambda driver: driver.run_vm(REF),
    "shut_down_vm": lambda driver: driver.shut_down_vm(REF),
    "stop_vm": lambda driver: driver.stop_vm(REF),
    "reboot_vm": lambda driver: driver.reboot_vm(REF),
    "console": lambda driver: driver.console(REF, protocol="vnc"),
}


class Hasty(Lane):
    """A lane that waits for no call longer than a moment."""

    def call(self, what: str, work: Any, *, seconds: float, mutates: bool, pulse: Any = None) -> Any:
        return super().call(what, work, seconds=0.05, mutates=mutates, pulse=pulse)


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[BoundedDriver]:
    """A bounded driver whose every call hangs."""
    double = HypervisorDouble(tmp_path)
    connection = Connection("double", double.address, uuid4(), uuid4())
    double.fail("*", Fault.HANG, times=-1)
    lane = Hasty("hung", lambda: DoubleDriver(connection), limits=Limits(probe_seconds=0.05))
    yield BoundedDriver(connection, lane)
    double.heal()
    wait_until(lambda: lane._stuck == 0, "the stuck threads to end")


def test_every_method_of_the_contract_is_listed_here() -> None:
    # ``close`` is the one that asks nobody.
    assert {*READS, *CHANGES} == set(Driver.__abstractmethods__) - {"close"}


@pytest.mark.parametrize("method", READS)
def test_a_read_that_hangs_is_unavailable(hung: BoundedDriver, method: str) -> None:
    with pytest.raises(Unavailable) as failed:
        READS[method](hung)
    assert not failed.value.outcome_unknown


@pytest.mark.parametrize("method", CHANGES)
def test_a_change_that_hangs_is_of_unknown_outcome(hung: BoundedDriver, method: str) -> None:
    with pytest.raises(OutcomeUnknown):
        CHANGES[method](hung)


class Reading(DoubleDriver):
    """Its inventory lasts, and tells of each part; before that it stands still, when told to, until it may go on."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        super().__init__(connection)
        self.clock = clock
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.ended = ""

    def inventory(self, progress: Callable[[], None] = no_progress) -> Inventory:
        try:
            assert self.goes_on.wait(60)
            for _ in range(10):
                progress()
                self.clock.ahead += connect.READ_ALL / 2
            return super().inventory(progress)
        except OutcomeUnknown as error:
            self.ended = error.detail
            raise


def test_a_long_reading_that_goes_on_is_waited_for_and_one_that_was_given_up_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(lanes, "time", clock)
    connection = Connection("double", HypervisorDouble(tmp_path).address, uuid4(), uuid4())
    inner = Reading(connection, clock)
    driver = BoundedDriver(connection, Lane("reading", lambda: inner, limits=Limits()))
    assert driver.inventory().hosts
    inner.goes_on.clear()
    monkeypatch.setattr(connect, "READ_ALL", 0.05)
    with pytest.raises(Unavailable):
        driver.inventory()
    inner.goes_on.set()
    wait_until(lambda: inner.ended, "the abandoned reading to end")


def test_a_lane_gives_the_proof_of_life_its_drivers_time(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DoubleDriver, "proof_seconds", 21.0)
    assert driver_for(provider)._lane.limits.probe_seconds == 21.0


# -- the lanes of a process


@pytest.fixture
def provider(db: None, tmp_path: Path) -> Iterator[Provider]:
    provider = Provider.objects.create(name="local", kind="double", address=f"double://{tmp_path}/hypervisor")
    yield provider
    forget(provider.pk)


def test_a_provider_has_one_lane_in_a_process_and_another_provider_another(provider: Provider) -> None:
    again = Provider.objects.get(pk=provider.pk)
    other = Provider.objects.create(name="other", kind="double", address=provider.address)
    assert driver_for(provider)._lane is driver_for(again)._lane
    assert driver_for(other)._lane is not driver_for(provider)._lane
    forget(other.pk)


@pytest.mark.parametrize(
    "change",
    [
        {"address": "double:///elsewhere"},
        {"username": "portal"},
        {"ca_pem": "-----BEGIN"},
        {"options": {"calls_at_once": 2}},
        {"sealed_secrets": sealed.seal_json({"password": "another"})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_provider_is_reached_on_a_new_lane_and_the_old_one_lets_go(
    provider: Provider, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Driver] = []
    monkeypatch.setattr(DoubleDriver, "close", lambda driver: closed.append(driver))
    before = driver_for(provider)
    before.about()
    for name, value in change.items():
        setattr(provider, name, value)
    assert driver_for(provider)._lane is not before._lane
    wait_until(lambda: len(closed) == 1, "the old connection to be closed")


def test_connections_that_a_process_does_not_use_are_let_go_though_it_asks_for_nothing_more(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after its provider was disabled, removed or given another key by another process."""
    closed: list[Driver] = []
    monkeypatch.setattr(DoubleDriver, "close", lambda driver: closed.append(driver))
    monkeypatch.setattr(lanes, "time", clock := Clock())
    monkeypatch.setattr(known_lanes, "TIDY_SECONDS", 0.02)
    monkeypatch.setattr(connect, "_lanes", KnownLanes())
    driver_for(provider).about()
    clock.ahead += Limits().idle_seconds + 1
    wait_until(lambda: len(closed) == 1, "the connection to be closed")
    forget(provider.pk)
    wait_until(lambda: connect._lanes._timer is None, "the tidying to end with the last provider")


@pytest.mark.parametrize("call", [READS["about"], CHANGES["stop_vm"]], ids=["read", "change"])
def test_who_holds_credentials_that_are_void_is_led_to_those_that_were_given_since(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, call: Callable[[Driver], Any]
) -> None:
    """As a step of a job does that lasts while they are replaced."""
    asked: list[str] = []

    def only_new(driver: DoubleDriver, *_ref: object) -> str:
        asked.append(driver.connection.username)
        if driver.connection.username != "new":
            raise Denied
        return "done"

    for name in ("about", "stop_vm"):
        monkeypatch.setattr(DoubleDriver, name, only_new)
    held = driver_for(provider)
    with pytest.raises(Denied):
        call(held)
    assert asked == [""], "nothing else was given, and nobody knocks twice"
    Provider.objects.update(username="new")
    for driver in (held, driver_for(provider)):
        call(driver)
    assert asked == ["", "", "new", "", "new"]


def test_the_number_of_calls_at_once_is_the_providers_own_option(provider: Provider) -> None:
    assert driver_for(provider)._lane.limits == Limits()
    provider.options = {"calls_at_once": 2}
    assert driver_for(provider)._lane.limits.at_once == 2


@pytest.mark.parametrize("wanted", ["many", 0, -1, 2.5, True, 65, "9" * 5000, "٣٣٣"])
def test_a_number_of_calls_that_cannot_be_is_refused_in_words(provider: Provider, wanted: object) -> None:
    provider.options = {"calls_at_once": wanted}
    with pytest.raises(Invalid, match="calls_at_once is not a whole number from 1 to 64"):
        driver_for(provider)
    provider.options = {"calls_at_once": "3"}
    assert driver_for(provider)._lane.limits.at_once == 3


def test_a_forked_child_has_no_lane_of_its_parent(provider: Provider) -> None:
    driver_for(provider).about()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        kept = [len(lanes.known[provider.pk].lane._links.idle) for lanes in connect._inherited]
        os.write(writer, f"{len(connect._lanes.known)} {kept}".encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    assert os.read(reader, 100) == b"0 [1]", "the parent's connection must live on in the child, unused"
    os.close(reader)
    assert provider.pk in connect._lanes.known


def test_a_watch_has_a_connection_of_its_own_that_ends_with_it(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Driver] = []
    monkeypatch.setattr(DoubleDriver, "close", lambda driver: closed.append(driver))
    driver = driver_for(provider)
    watch = driver.watch()
    forget(provider.pk)
    assert watch.next(timeout=0.0) == []
    watch.close()
    wait_until(lambda: watch._driver in closed, "its connection to be closed")


def test_a_watch_that_opens_when_nobody_waits_for_it_any_more_is_closed(
    hung: BoundedDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Driver] = []
    monkeypatch.setattr(DoubleDriver, "close", lambda driver: closed.append(driver))
    with pytest.raises(Unavailable):
        hung.watch()
    HypervisorDouble(tmp_path).heal()
    wait_until(lambda: len(closed) == 2, "its connection and the call's to be closed")
