"""The connection to an engine: log-in, certificates, bounds, versions; reading everything; changes; consoles."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from portal.hypervisors.errors import Busy, Denied, NotFound, Unavailable, Unsupported
from portal.hypervisors.ovirt import inventory, watches
from portal.hypervisors.ovirt.consoles import TICKET_SECONDS
from portal.hypervisors.ovirt.driver import OvirtDriver
from portal.hypervisors.ovirt.failures import OTHER_CERTIFICATE
from portal.hypervisors.specs import Change, VmRef
from tests.doubles.ovirt_engine import certificates
from tests.doubles.ovirt_engine.institute import key
from tests.hypervisors.ovirt_driver.world import CLUSTER, RUNNING, STRANGER, Engine

pytestmark = pytest.mark.once


def test_a_token_that_ran_out_is_renewed_and_the_call_succeeds(engine: Engine, driver: OvirtDriver) -> None:
    about = driver.about()
    assert about.host_name == "localhost"
    engine.calls()
    engine.double.expire_tokens()
    assert driver.about() == about
    assert len(engine.calls("POST sso")) == 1


def test_a_wrong_password_is_denied_and_is_in_no_error(engine: Engine) -> None:
    with pytest.raises(Denied) as refused:
        engine.connect(secrets={"password": "s3cret-and-wrong"}).about()
    assert "s3cret" not in repr(refused.value) + refused.value.detail


def test_no_certificate_but_one_of_the_pinned_ca_is_taken(engine: Engine, tmp_path: Any) -> None:
    certificates.ensure(tmp_path)
    other = (tmp_path / "ca.pem").read_text()
    for pem in (other, ""):
        engine.calls()
        with pytest.raises(Unavailable) as refused:
            engine.connect(ca_pem=pem).about()
        assert refused.value.public == OTHER_CERTIFICATE
        assert engine.calls() == [], "no password goes there"
    with pytest.raises(Unavailable):
        engine.connect(address=engine.double.url.replace("localhost", "127.0.0.2")).about()
    with pytest.raises(Unavailable):
        engine.connect(address="https://localhost:1/ovirt-engine/api").about()


@pytest.mark.parametrize("fault", ["503", "garbled", "truncated", "500"])
def test_a_reading_that_fails_is_no_answer_and_the_next_succeeds(
    engine: Engine, driver: OvirtDriver, fault: str
) -> None:
    driver.about()
    engine.double.fail("GET /hosts", fault)
    with pytest.raises(Unavailable):
        driver.inventory()
    assert driver.inventory().hosts


def test_every_answer_is_waited_for_so_long_and_no_longer(engine: Engine) -> None:
    hasty = engine.connect(options={"answer_seconds": "2"})
    hasty.about()
    engine.double.fail("GET /hosts", "hang", seconds=60)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        hasty.inventory()
    assert time.monotonic() - began < 10, "it would hang for a minute"
    engine.double.heal()


def test_an_engine_that_is_too_old_is_refused_in_words_and_each_other_is_read(engine: Engine) -> None:
    engine.double.configure(version="4.2.8")
    with pytest.raises(Unsupported, match="too old"):
        engine.connect().about()
    for version in ("4.3.10", "4.4.10", "4.5.6"):
        engine.double.configure(version=version, unknown_fields=True)
        found = engine.connect().inventory()
        assert found.about.version.startswith(version)
        assert {vm.name for vm in found.vms} == {"stranger-up", "stranger-down"}
        assert all((found.zones, found.clusters, found.hosts, found.storage_domains, found.networks, found.templates))
        homes = {(network.name, network.zone): network.clusters for network in found.networks}
        assert homes["students", key("datacenters", "Institute")] == (CLUSTER,)
        assert len(set(homes.values())) == 2, "that of each zone"


def test_an_account_that_may_only_look_is_denied_what_it_may_not(engine: Engine) -> None:
    viewer = engine.connect(
        username="viewer@internal", secrets={"password": engine.double.password_of("viewer@internal")}
    )
    assert viewer.inventory().vms
    with pytest.raises(Denied):
        viewer.create_vm(engine.spec(cards=0))


# -- everything


def test_many_machines_are_read_in_pages_each_once(engine: Engine) -> None:
    engine.double.plant_many(300, disks_of=0)
    driver = engine.connect(options={"page": "50"})
    driver.about()
    engine.calls()
    told: list[float] = []
    names = [vm.name for vm in driver.inventory(lambda: told.append(time.monotonic())).vms]
    assert len(names) == len(set(names)) == 302
    assert 7 + 8 <= len(told) <= len(engine.calls()) <= 7 + 10, "each answer is progress"


@pytest.mark.parametrize("change", ["removed", "renamed", "added"])
def test_a_machine_that_changes_between_two_pages_makes_none_lost_and_none_double(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    engine.double.plant_many(60, "m-{number}", disks_of=0)
    first = min(engine.double.things("vms"))
    driver = engine.connect(options={"page": "20"})
    read, done = inventory.Inventories._read, []

    def changing(system: Any, number: int, self: Any) -> Any:
        found = read(self, system, number)
        if number == 2 and not done:
            done.append(change)
            _change(engine, change, first)
        return found

    monkeypatch.setattr(inventory.Inventories, "_read", lambda self, system, number: changing(system, number, self))
    found = [vm.external_id for vm in driver.inventory().vms]
    assert done
    assert len(found) == len(set(found))
    there = set(engine.double.things("vms"))
    assert there - set(found) <= ({_newest(engine)} if change == "added" else set())


def _change(engine: Engine, change: str, uid: str) -> None:
    if change == "removed":
        engine.double.remove("vms", uid)
        engine.double.event(113, "VM m-0 was successfully removed.")
    elif change == "renamed":
        engine.double.set_vm(uid, name="z-last")
        engine.double.event(35, "VM z-last configuration was updated.", vm=uid)
    else:
        engine.double.plant_vm("a-first", disks_of=0)


def _newest(engine: Engine) -> str:
    return str(engine.double.named("vms", "a-first")["id"])


# -- changes


def test_changes_are_told_by_machine_and_those_of_hosts_ask_for_everything(engine: Engine) -> None:
    watch = engine.connect(options={"watch_seconds": "0.05"}).watch()
    assert watch.next(timeout=0.1) == []
    engine.double.event(119, "VM stranger-up is down with error.", vm=RUNNING)
    engine.double.event(33, "VM stranger-up powered off.", vm=RUNNING)
    told = watch.next(timeout=5)
    assert {change.external_id for change in told} == {RUNNING}
    assert watch.next(timeout=0.2) == [], "each is told once"
    engine.double.event(12, "Host node1 cannot be reached.")
    assert [change.external_id for change in watch.next(timeout=5)] == [""]
    engine.double.event(12, "Host node2 cannot be reached.")
    engine.double.event(30, "User portal@internal logged in.")
    assert watch.next(timeout=0.2) == [], "not everything again at once"
    watch.close()
    with pytest.raises(Unavailable):
        watch.next(timeout=0.1)


def test_more_events_than_are_read_at_once_ask_for_everything_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = engine.connect(options={"watch_seconds": "0.05"}).watch()
    monkeypatch.setattr(watches, "MOST_AT_ONCE", 3)
    for _ in range(5):
        engine.double.event(33, "VM stranger-up powered off.", vm=RUNNING)
    assert watch.next(timeout=5) == [Change("", "too_many")]
    assert watch.next(timeout=0.2) == []


def test_a_stream_of_an_engine_that_goes_away_ends(engine: Engine) -> None:
    watch = engine.connect(options={"watch_seconds": "0.05"}).watch()
    engine.double.fail("GET /events", "503")
    with pytest.raises(Unavailable):
        watch.next(timeout=5)
    with pytest.raises(Unavailable):
        watch.next(timeout=5)


# -- consoles and addresses


def test_a_console_has_a_ticket_of_ours_for_two_minutes(engine: Engine, driver: OvirtDriver) -> None:
    ref = engine.running(engine.spec(disks=(engine.disk().ref,)))
    target = driver.console(ref, protocol="vnc")
    assert engine.double.ticket_of(ref.external_id) == (target.password, TICKET_SECONDS)
    assert (len(target.password), target.allow_plain, target.tls_ca_pem) == (8, True, "")
    assert driver.console(ref, protocol="vnc").password != target.password
    engine.double.configure(vnc_encryption=True)
    by_tls = driver.console(ref, protocol="vnc")
    assert (by_tls.tls_ca_pem, by_tls.allow_plain) == (engine.double.ca_pem.strip(), False)
    assert by_tls.tls_hostname.endswith(".institute.example")
    with pytest.raises(Unsupported):
        driver.console(ref, protocol="spice")
    [address, *_more] = driver.addresses(ref)
    assert address.source == "agent"
    driver.stop_vm(ref)
    assert driver.addresses(ref) == ()
    with pytest.raises(Busy):
        driver.console(ref, protocol="vnc")
    with pytest.raises(NotFound):
        driver.console(replace(ref, uid=uuid4()), protocol="vnc")


def test_what_disks_promise_is_told_of_anybodys_machine(engine: Engine, driver: OvirtDriver) -> None:
    sizes = driver.disk_sizes((STRANGER, str(uuid4()), "no-id"))
    assert sizes == {STRANGER: 10 * 1024**3}
    driver.close()
    driver.close()
    assert driver.is_broken
    with pytest.raises(Unavailable):
        driver.find_vm(VmRef(uuid4(), "").uid)
