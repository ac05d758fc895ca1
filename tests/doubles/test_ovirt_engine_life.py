"""The engine double over HTTPS with the official SDK: machines live, lists are found, faults come, restarts lose nothing."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import ovirtsdk4 as sdk
import pytest
from ovirtsdk4 import types
from ovirtsdk4.http import Request
from ovirtsdk4.services import SystemService

from tests.doubles.ovirt_engine.control import EngineDouble
from tests.lab.servers import wait_until

pytestmark = [pytest.mark.once, pytest.mark.long]

SECONDS = 10.0
MIB = 1024**2


ALL_LISTS = ("/vms", "/templates", "/instancetypes", "/disks", "/storagedomains", "/datacenters", "/clusters", "/hosts",
             "/networks", "/vnicprofiles", "/events", "/jobs", "/users", "/roles", "/tags", "/vmpools", "")  # fmt: skip


def links(engine: Engine, path: str) -> set[str]:
    """The addresses of all links and actions in a body."""
    request = Request(method="GET", path=path)
    body = engine.connection.wait(engine.connection.send(request)).body
    return {link.get("href", "") for link in ET.fromstring(body).iter("link")}


class Engine:
    """A connection of the SDK to the double."""

    def __init__(self, double: EngineDouble, *, account: str = "portal@internal") -> None:
        self.double = double
        self.connection = sdk.Connection(
            url=double.url, username=account, password=double.password_of(account),
            ca_file=str(double.folder / "ca.pem"), timeout=20, headers={"Correlation-Id": "by-hand"},
        )  # fmt: skip
        self.root = self.connection.system_service()
        self.vms = self.root.vms_service()

    def vm(self, key: str) -> Any:
        return self.vms.vm_service(key)

    def status(self, key: str) -> str:
        return str(self.vm(key).get().status.value)

    def is_in(self, key: str, status: str) -> None:
        wait_until(lambda: self.status(key) == status, f"{key} to be {status}", seconds=SECONDS)

    def make(
        self, name: str, *, template: str = "Tiny Linux", clone: bool = False, correlation: str = "", **more: Any
    ) -> Any:
        vm = types.Vm(
            name=name, cluster=types.Cluster(name="main"), template=types.Template(name=template), memory=256 * MIB,
            **more,
        )  # fmt: skip
        return self.vms.add(vm, clone=clone, headers={"Correlation-Id": correlation} if correlation else None)

    def made(self, name: str, **more: Any) -> str:
        key = str(self.make(name, **more).id)
        self.is_in(key, "down")
        return key

    def jobs(self, correlation: str) -> list[Any]:
        found: list[Any] = self.root.jobs_service().list(search=f"correlation_id={correlation}", follow="steps")
        return found

    def codes(self, key: str) -> list[int]:
        """The codes of a machine's events, oldest first."""
        events = self.root.events_service().list()
        return [event.code for event in reversed(events) if event.vm and event.vm.id == key]


@pytest.fixture
def engine(ovirt_engine: EngineDouble) -> Iterator[Engine]:
    found = Engine(ovirt_engine)
    yield found
    with suppress(sdk.Error):
        found.connection.close()


def refusal(do: Callable[[], object], code: int = 409) -> str:
    """The detail of the engine's refusal."""
    with pytest.raises(sdk.Error) as caught:
        do()
    assert caught.value.code == code
    return str(caught.value.fault.detail) if caught.value.fault else ""


def test_a_machine_of_a_template_is_locked_then_down_and_its_job_and_events_tell_so(engine: Engine) -> None:
    vm = engine.make("web-1", correlation="create_vm-1", comment="mark", description="of alice")

    assert vm.status.value == "image_locked"
    assert refusal(engine.vm(vm.id).start) == "[Cannot run VM: VM is locked. Please try again in a few minutes.]"
    engine.is_in(vm.id, "down")
    job = engine.jobs("create_vm-1")[0]
    assert (job.status.value, job.end_time is not None) == ("finished", True)
    assert [step.type.value for step in job.steps] == ["validating", "executing", "unknown", "finalizing"]
    assert engine.codes(vm.id) == [37, 53]
    found = engine.vm(vm.id).get(follow="disk_attachments.disk,nics")
    assert (found.comment, found.template.id == vm.template.id) == ("mark", True)
    assert found.disk_attachments[0].disk.status.value == "ok"
    assert "already in use" in refusal(lambda: engine.make("web-1"))


def test_power(engine: Engine) -> None:
    key = engine.made("web-1")
    vm = engine.vm(key)

    vm.start(use_cloud_init=True)
    assert "VM is running" in refusal(vm.start)
    engine.is_in(key, "up")
    assert vm.get(follow="reported_devices").reported_devices[0].ips[0].version.value == "v4"
    vm.reboot()
    assert engine.status(key) == "reboot_in_progress"
    engine.is_in(key, "up")
    vm.suspend()
    engine.is_in(key, "suspended")
    vm.start()
    engine.is_in(key, "up")
    vm.shutdown()
    engine.is_in(key, "down")
    vm.stop()
    assert "not running" in refusal(vm.reboot)
    vm.start()
    engine.is_in(key, "up")
    vm.stop(reason="enough")
    assert (engine.status(key), vm.get().stop_reason) == ("down", "enough")
    assert engine.codes(key) == [37, 53, 153, 32, 157, 501, 512, 153, 32, 73, 61, 254, 153, 32, 33]


def test_a_guest_may_power_off_by_itself_or_be_deaf(engine: Engine) -> None:
    key = engine.double.plant_vm("hand-made", status="up")

    engine.double.guest(key, "deaf")
    engine.vm(key).shutdown()
    time.sleep(0.2)
    assert engine.status(key) == "powering_down"
    engine.double.advance(10)
    assert engine.status(key) == "up"
    engine.double.guest(key, "powers_off")
    engine.is_in(key, "down")
    assert engine.codes(key) == [34, 73, 61]


def test_the_console_is_there_while_the_machine_runs_and_a_ticket_is_good_for_what_it_says(engine: Engine) -> None:
    key = engine.double.plant_vm("hand-made")
    consoles = engine.vm(key).graphics_consoles_service()
    console = consoles.list(current=True)[0]

    assert (console.address, console.port) == (None, None)
    ticket = consoles.console_service(console.id).ticket
    assert "not running" in refusal(ticket)
    engine.vm(key).start()
    engine.is_in(key, "up")
    door = consoles.list(current=True)[0]
    assert door.address == "127.0.0.1"
    assert door.port
    assert consoles.list()[0].port is None
    assert ticket().expiry == 7200
    assert ticket(ticket=types.Ticket(value="abcdefgh", expiry=120)).value == "abcdefgh"
    assert engine.double.ticket_of(key) == ("abcdefgh", 120)


def test_a_machine_of_a_template_keeps_its_disks_only_if_they_are_detached_first(engine: Engine) -> None:
    key = engine.made("web-1")
    vm, disks = engine.vm(key), engine.root.disks_service()
    disk = vm.disk_attachments_service().list()[0].id

    assert "based from template" in refusal(lambda: vm.remove(detach_only=True))
    vm.disk_attachments_service().attachment_service(disk).remove()
    vm.remove()
    assert disks.disk_service(disk).get().status.value == "ok"
    disks.disk_service(disk).remove()
    wait_until(lambda: not disks.list(search="alias=web-1*"), "the disk to go")
    assert refusal(vm.get, 404) == ""
    whole = engine.made("web-2", clone=True)
    engine.vm(whole).remove(detach_only=True)
    assert len(disks.list(search="alias=web-2*")) == 1


def test_a_disk_of_its_own_takes_the_ids_it_is_given(engine: Engine) -> None:
    disks = engine.root.disks_service()
    key, image = "11111111-1111-4111-8111-111111111111", "11111111-1111-4111-8111-111111111112"
    wanted = types.Disk(
        id=key, image_id=image, alias="own", provisioned_size=1024 * MIB, format=types.DiskFormat.COW,
        storage_domains=[types.StorageDomain(name="fast")],
    )  # fmt: skip

    engine.double.configure(disk_seconds=1000)
    made = disks.add(wanted)
    assert (made.id, made.image_id, made.status.value) == (key, image, "locked")
    assert "same identifier" in refusal(lambda: disks.add(wanted))
    assert "locked" in refusal(lambda: disks.disk_service(key).remove())
    engine.double.advance(1000)
    wait_until(lambda: disks.disk_service(key).get().status.value == "ok", "the disk")
    blank = engine.made("from-blank", template="Blank")
    assert "bootable" in refusal(engine.vm(blank).start)
    attachment = types.DiskAttachment(
        disk=types.Disk(id=key), interface=types.DiskInterface.VIRTIO, bootable=True, active=True
    )
    engine.vm(blank).disk_attachments_service().add(attachment)
    engine.vm(blank).start()
    engine.is_in(blank, "up")
    assert "not down" in refusal(lambda: disks.disk_service(key).remove())
    engine.double.put("storagedomains", engine.double.named("storagedomains", "fast")["id"], full=True)
    wanted.id = wanted.image_id = None
    assert "Low disk space on Storage Domain fast" in refusal(lambda: disks.add(wanted))


def test_search_and_pages(engine: Engine) -> None:
    engine.double.plant_many(12, "lab-{number}", comment="mark of {number}")
    names = [vm.name for vm in engine.vms.list(search="name=lab-* sortby name desc page 2", max=5)]

    assert names == [f"lab-{number}" for number in (4, 3, 2, 11, 10)]
    assert [vm.name for vm in engine.vms.list(search='comment="mark of 7"')] == ["lab-7"]
    assert len(engine.vms.list(search="name=LAB-1* or status=up", case_sensitive=False)) == 4
    assert len(engine.vms.list(search="name=lab-* and cluster=main and status!=down")) == 0
    assert len(engine.vms.list(max=3)) == 3
    assert [vm.name for vm in engine.vms.list(search="name=lab-1* name=*0")] == ["lab-10"]
    for wrong in ("name='lab-1'", "(name=lab-1)", "sortby name page 2", "name=", "page x"):
        with suppress(sdk.Error):
            assert not engine.vms.list(search=wrong), wrong
    with pytest.raises(sdk.Error):
        engine.vms.list(search="nmae=lab-1")
    assert "no such field: nmae" in engine.double.violations()[-1]
    engine.double.reset()


def test_events_are_read_on_from_an_index(engine: Engine) -> None:
    events = engine.root.events_service()
    last = events.list(max=1)[0].index
    key = engine.double.plant_vm("hand-made")
    engine.double.event(1200, "first", vm=key)
    second = engine.double.event(1201, "second", severity="error", vm=key)

    assert [event.code for event in events.list(from_=last)] == [1201, 1200, 34]
    assert [event.code for event in events.list(from_=last, search="sortby time asc page 2", max=1)] == [1200]
    assert [event.index for event in events.list(search="severity>normal")] == [second]


def test_a_making_that_fails_later_vanishes_with_its_disks(engine: Engine) -> None:
    engine.double.fail("^POST /vms$", "job_fails", detail="Volume creation failed")
    vm = engine.make("web-1", correlation="create_vm-2")

    wait_until(lambda: engine.jobs("create_vm-2")[0].status.value == "failed", "the job to fail")
    assert refusal(engine.vm(vm.id).get, 404) == ""
    assert not engine.root.disks_service().list(search="alias=web-1*")
    assert engine.root.events_service().list(max=1)[0].code == 60


@pytest.mark.parametrize(("removed", "code"), [("^DELETE /vms/", 172), ("^DELETE /disks/", 2015)])
def test_a_removal_that_fails_leaves_an_illegal_disk_which_can_be_removed_again(
    engine: Engine, removed: str, code: int
) -> None:
    key, headers = engine.made("web"), {"Correlation-Id": "away"}
    disk = engine.vm(key).disk_attachments_service().list()[0].id
    service = engine.root.disks_service().disk_service(disk)
    engine.double.fail(removed, "removal_fails")
    if code == 172:
        engine.vm(key).remove(headers=headers)
    else:
        service.remove(headers=headers)
    wait_until(lambda: engine.jobs("away")[0].status is types.JobStatus.FAILED, "the removal to fail", seconds=SECONDS)
    assert service.get().status is types.DiskStatus.ILLEGAL
    assert code in {one.code for one in engine.root.events_service().list(search="correlation_id=away")}
    service.remove()
    wait_until(lambda: disk not in engine.double.things("disks"), "it to be gone", seconds=SECONDS)


def test_an_engine_that_restarts_does_not_know_what_became_of_its_jobs(engine: Engine) -> None:
    engine.double.fail("^POST /vms$", "locked", seconds=5)
    vm = engine.make("web-1", correlation="create_vm-3")
    engine.double.kill()
    engine.double.start()

    assert engine.jobs("create_vm-3")[0].status.value == "unknown"
    assert engine.status(vm.id) == "image_locked"
    engine.double.advance(5)
    assert engine.status(vm.id) == "down"
    assert engine.jobs("create_vm-3")[0].status.value == "unknown"
    engine.double.advance(3600)
    assert not engine.jobs("create_vm-3")


@pytest.mark.parametrize("fault", ["500", "503", "garbled", "truncated", "reset_before", "fault"])
def test_faults_come_once(engine: Engine, fault: str) -> None:
    engine.vms.list()
    engine.double.fail("^GET /vms$", fault, times=2 if fault == "reset_before" else 1)

    with pytest.raises(Exception):  # noqa: B017 - the SDK raises what it likes for some of them
        engine.vms.list()
    engine.double.heal()
    assert len(engine.vms.list()) == 2


def test_a_token_that_is_gone_is_renewed_and_a_reply_that_is_lost_had_its_effect(engine: Engine) -> None:
    engine.vms.list()
    engine.double.calls(clear=True)
    engine.double.expire_tokens()

    assert len(engine.vms.list()) == 2
    assert engine.double.calls() == ["POST sso", "GET /vms"]
    engine.double.fail("^POST /vms$", "reset_after")
    # libcurl asks again by itself when an old connection is reset before any answer: the second time is refused.
    assert "already in use" in refusal(lambda: engine.make("lost", template="Blank"))
    assert [vm.name for vm in engine.vms.list(search="name=lost")] == ["lost"]


def test_what_an_engine_would_ignore_is_a_misuse(engine: Engine) -> None:
    with pytest.raises(sdk.Error):
        engine.make("web-1", nics=[types.Nic(name="nic1")])

    assert "ignores nics" in engine.double.violations()[0]
    engine.double.reset()


def test_a_change_that_could_not_be_found_again_is_a_misuse(engine: Engine) -> None:
    service = engine.vm(engine.double.plant_vm("hand-made"))
    for do in (service.start, service.remove, lambda **more: engine.vms.add(types.Vm(name="web-1"), **more)):
        with pytest.raises(sdk.Error):
            do(headers={"Correlation-Id": ""})
        assert "no Correlation-Id" in engine.double.violations()[-1]
    assert len(engine.double.things("vms")) == 3
    engine.double.reset()


def test_rights(engine: Engine) -> None:
    viewer = Engine(engine.double, account="viewer@internal")
    key = engine.double.plant_vm("hand-made")

    assert len(viewer.vms.list()) == 3
    assert "not authorized" in refusal(viewer.vm(key).start, 403)
    me = viewer.root.get().authenticated_user.id
    permission = viewer.root.users_service().user_service(me).permissions_service().list()[0]
    permits = viewer.root.roles_service().role_service(permission.role.id).permits_service().list()
    assert [permit.name for permit in permits] == ["login"]
    engine.double.revoke("viewer")
    engine.double.grant("viewer", "UserRole", vm=key)
    assert "insufficient permissions" in refusal(viewer.vms.list, 403)
    assert [vm.name for vm in viewer.vms.list(filter=True)] == ["hand-made"]
    viewer.vm(key).start()


@pytest.mark.parametrize(("version", "minor"), [("4.3.10", 3), ("4.4.10", 4), ("4.5.6", 5)])
def test_versions_differ_in_what_they_have(engine: Engine, version: str, minor: int) -> None:
    engine.double.configure(version=version)

    assert engine.root.get().product_info.version.minor == minor
    assert (engine.vms.list()[0].auto_pinning_policy is None) == (minor < 5)
    assert (engine.root.clusters_service().list()[0].bios_type is None) == (minor < 4)
    engine.double.configure(unknown_fields=True)
    assert len(engine.vms.list(follow="disk_attachments.disk")) == 2


def is_known(link: str) -> bool:
    """Whether the SDK has a service, or an action of one, at a link's address."""
    *above, last = link.removeprefix("/ovirt-engine/api/").split("/")
    root = SystemService(None, "")
    try:
        return root.service("/".join([*above, last])) is not None
    except sdk.Error:
        return last in {name.replace("_", "") for name in dir(root.service("/".join(above)))}


def test_every_link_and_action_that_is_offered_is_of_the_api(engine: Engine) -> None:
    engine.double.plant_vm("hand-made", status="up")
    pool, zones = engine.double.plant_pool("desks"), engine.double.things("datacenters")
    lists = *ALL_LISTS, *(f"/datacenters/{zone}/quotas" for zone in zones)
    found = {link for path in lists for link in links(engine, path)}

    assert len(found) > 100
    assert any(link.endswith("/quotaclusterlimits") for link in found)
    assert f"/ovirt-engine/api/vmpools/{pool}/allocatevm" in found
    assert not {link for link in found if not is_known(link)}
