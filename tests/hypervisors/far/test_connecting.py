"""A far libvirt over SSH and TLS: connected, and each way in which that fails told by a sentence of its own."""

from __future__ import annotations

import logging
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from compute.selectors import depends_on
from compute.services import providers, vms
from compute.services.providers import NotReached, ProviderEdit
from compute.services.templates import TemplateRequest, import_template
from compute.services.wishes import VmRequest
from network.services import create_network, free_range
from portal.common.actor import Actor, Door
from portal.common.errors import Invalid
from portal.events.models import Event
from portal.hypervisors.connect import driver_for
from portal.hypervisors.errors import HypervisorError, Unavailable
from portal.hypervisors.libvirt import folders
from portal.hypervisors.libvirt.host_keys import fingerprint
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import VmRef
from portal.jobs.engine import run_to_end
from tenants import policy, quota
from tenants.models.quota import Dimension
from tenants.roles import sync_roles
from tenants.services.data_centers import create_data_center
from tenants.services.users import create_user
from tests.compute.console.certificates import Authority
from tests.hypervisors.libvirt.real import until
from tests.lab.far_host import ADDRESS, SSH_PORT, FarHost

pytestmark = [pytest.mark.libvirt, pytest.mark.long]

STEPS = ["name", "port", "authentication", "version", "rights", "accelerator"]


def over_ssh(far: FarHost, **changes: str) -> dict[str, Any]:
    secrets = {"ssh_key": far.key("user"), "host_key": far.public("host")}
    address = changes.pop("address", far.ssh_address)
    return {"kind": "libvirt", "address": address, "secrets": secrets | changes}


def over_tls(far: FarHost, **changes: Any) -> dict[str, Any]:
    certificate, key = changes.get("signed_by", far.authority).leaf(ADDRESS)
    secrets = {"client_certificate": certificate, "client_key": key}
    ca_pem = changes.get("ca_pem", far.authority.pem)
    return {"kind": "libvirt", "address": far.tls_address, "ca_pem": ca_pem, "secrets": secrets}


def failing(actor: Actor, given: dict[str, Any]) -> tuple[str, str]:
    """The step that fails and the code of what it says; it is stored nowhere, and the attempt is in the log of events."""
    with pytest.raises(NotReached) as refused:
        providers.connect_provider(actor, name="far", **given)
    last = refused.value.steps[-1]
    assert last.text
    assert last.remedy
    assert not Provider.objects.exists()
    assert Event.objects.filter(code="PROVIDER_CONNECT_REFUSED", object_name="far").exists()
    return last.step, last.code


def test_ssh_with_the_pinned_key_is_connected_step_by_step_and_read(far, root):
    steps = providers.try_new(root, **over_ssh(far)).steps
    assert [step.step for step in steps] == [*STEPS[:2], "host_key", *STEPS[2:]]
    assert {step.status for step in steps[:-1]} == {"ok"}
    assert not Provider.objects.exists(), "a test stores nothing"
    row = providers.connect_provider(root, name="far", **over_ssh(far))
    assert row.hosts.get().name == "far.example"
    assert row.storage_domains.filter(name=providers.pool_name(), status="active").exists()
    assert Provider.objects.get().status == "up"
    again = providers.try_new(root, **over_tls(far)).steps[-1]
    assert (again.code, again.data) == ("already_connected", {"name": "far"}), "the same host by another way"


def test_tls_with_certificates_on_both_sides_is_connected(far, root):
    steps = providers.try_new(root, **over_tls(far)).steps
    assert [step.step for step in steps] == [*STEPS[:2], "tls", *STEPS[2:], "screens"]
    row = providers.connect_provider(root, name="far", **over_tls(far))
    assert row.hosts.get().name == "far.example"


def test_a_key_that_is_not_pinned_is_shown_to_be_compared(far, root):
    assert failing(root, over_ssh(far, host_key="")) == ("host_key", "host_key_unpinned")
    step = providers.try_new(root, **over_ssh(far, host_key="")).steps[-1]
    listed = subprocess.run(
        ["ssh-keygen", "-lf", str(far.folder / "host.pub")], capture_output=True, text=True, check=True, timeout=20
    )
    assert step.data["fingerprint"] == listed.stdout.split()[1]
    assert step.data["host_key"] == far.public("host")


def test_another_host_key_is_refused_by_the_test_and_by_the_connection(far, root):
    row = providers.connect_provider(root, name="far", **over_ssh(far))
    far.ssh.show("other-host")
    try:
        step = providers.try_connected(root, row.pk)[-1]
        assert (step.step, step.code) == ("host_key", "host_key_other")
        assert step.data["pinned"] == fingerprint(far.public("host"))
        providers.forget(row.pk)
        with pytest.raises(Exception, match="another key than the one that was pinned"):
            driver_for(row).about()
        providers.edit_provider(root, row.pk, ProviderEdit(secrets={"host_key": far.public("other-host")}))
        assert driver_for(Provider.objects.get()).about().host_name == "far.example"
    finally:
        far.ssh.show("host")


def test_keys_with_the_line_ends_of_a_browser_are_taken(far, root):
    for given in (over_ssh(far, ssh_key=far.key("user").replace("\n", "\r\n")), over_tls(far)):
        given["secrets"] = {
            name: text.replace("\r\n", "\n").replace("\n", "\r\n") for name, text in given["secrets"].items()
        }
        assert providers.try_new(root, **given).steps[-1].status != "failed"


def test_a_key_that_the_host_does_not_know_is_refused(far, root):
    assert failing(root, over_ssh(far, ssh_key=far.key("stranger"))) == ("authentication", "denied")


def test_a_closed_port_a_dead_host_and_an_unknown_name_are_told_apart(far, root):
    closed = far.ssh_address.replace(str(SSH_PORT), "2223")
    assert failing(root, over_ssh(far, address=closed)) == ("port", "port_closed")
    unknown = far.ssh_address.replace(ADDRESS, "no-such-host.invalid")
    assert failing(root, over_ssh(far, address=unknown)) == ("name", "name_unknown")


def test_a_daemon_that_hangs_is_told_within_bounds(far, root):
    far.libvirt.freeze()
    assert failing(root, over_ssh(far)) == ("authentication", "silent")
    assert failing(root, over_tls(far)) == ("tls", "silent")
    far.libvirt.thaw()
    far.ssh.freeze()
    assert failing(root, over_ssh(far)) == ("host_key", "host_key_none")


def test_a_libvirt_that_is_not_there_is_told(far, root):
    far.libvirt.stop()
    assert failing(root, over_ssh(far)) == ("authentication", "no_answer")
    assert failing(root, over_tls(far)) == ("port", "port_closed")


def test_another_ca_on_either_side_is_refused(far, root):
    other = Authority.make("another CA")
    assert failing(root, over_tls(far, ca_pem=other.pem)) == ("tls", "tls_other_ca")
    assert failing(root, over_tls(far, signed_by=other)) == ("tls", "tls_client_refused")


@pytest.mark.parametrize(
    ("certified", "code"),
    [
        ({"days": (-3, -1)}, "tls_expired"),
        ({"days": (1, 3)}, "tls_not_yet_valid"),
        ({"name": "198.18.7.9"}, "tls_other_host"),
    ],
)
def test_a_certificate_of_the_host_that_is_not_good_is_refused(far, root, certified, code):
    far.certify(**certified)
    far.libvirt.stop()
    try:
        start_unchecked(far)
        assert failing(root, over_tls(far)) == ("tls", code)
    finally:
        far.certify()
        far.libvirt.restart()


def start_unchecked(far: FarHost) -> None:
    """libvirtd does not start with a certificate that is no good, unless told not to look."""
    settings = far.folder / "root/etc/libvirt/libvirtd.conf"
    text = settings.read_text()
    settings.write_text(f"{text}tls_no_sanity_certificate = 1\n")
    far.libvirt.start()
    settings.write_text(text)


def test_a_client_certificate_that_has_expired_is_refused_beside_its_field(far, root):
    certificate, key = far.authority.leaf(ADDRESS, days=(-3, -1))
    secrets = {"client_certificate": certificate, "client_key": key}
    with pytest.raises(Invalid) as refused:
        providers.try_new(root, **over_tls(far) | {"secrets": secrets})
    assert [(one.code, one.field) for one in refused.value.reasons] == [
        ("client_certificate_expired", "client_certificate")
    ]


def test_the_way_to_a_hypervisor_is_replaced_and_a_try_that_fails_changes_nothing(far, root):
    row = providers.connect_provider(root, name="far", **over_ssh(far))
    old = driver_for(row)
    assert old.about().host_name == "far.example"
    tls = over_tls(far)
    edit = ProviderEdit(address=tls["address"], ca_pem=tls["ca_pem"], secrets=tls["secrets"])
    new = driver_for(providers.edit_provider(root, row.pk, edit))
    assert new.connection.address == far.tls_address
    assert new.about() == old.about()
    other = Authority.make("another CA")
    with pytest.raises(NotReached):
        providers.edit_provider(root, row.pk, ProviderEdit(ca_pem=other.pem))
    assert driver_for(Provider.objects.get()).about() == old.about(), "a try that fails changes nothing"


def secrets_of(far: FarHost) -> list[str]:
    """A line of the middle of each private key."""
    return [far.key("user").splitlines()[2], far.key("stranger").splitlines()[2]]


@contextmanager
def argv_watched(seen: set[str]) -> Iterator[None]:
    """The arguments of every process of the lab meanwhile."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.005):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    seen.add(path.read_bytes().decode(errors="replace"))

    watcher = threading.Thread(target=look)
    watcher.start()
    yield
    over.set()
    watcher.join()


def test_secrets_are_in_no_row_log_event_argument_or_file(far, root, caplog, monkeypatch, tmp_path):
    monkeypatch.setattr(folders, "MEMORY", tmp_path)
    caplog.set_level(logging.DEBUG)
    seen: set[str] = set()
    with argv_watched(seen):
        failing(root, over_ssh(far, ssh_key=far.key("stranger")))
        row = providers.connect_provider(root, name="far", **over_ssh(far))
        driver_for(row).inventory()
    row.refresh_from_db()
    told = [caplog.text, *seen, str(vars(row)), *map(str, Event.objects.values())]
    for secret in secrets_of(far):
        assert not any(secret in text for text in told)
    assert "keyfile" not in row.address
    assert any("ssh-keyscan" in text for text in seen), "the arguments were looked at in time"
    assert list(tmp_path.iterdir()) == [], "key files go as soon as the connection is open"


@pytest.mark.parametrize("over", [over_ssh, over_tls])
def test_a_hypervisor_that_falls_silent_delays_nobody_and_is_heard_again(far, root, over):
    row = providers.connect_provider(root, name="far", **over(far))
    assert driver_for(row).about().host_name == "far.example"
    far.libvirt.freeze()
    for _ in range(2):
        with pytest.raises(Unavailable):
            driver_for(row).about()
    far.libvirt.thaw()
    until(lambda: answers(row), "the hypervisor, heard again")
    far.libvirt.restart()
    until(lambda: answers(row), "the hypervisor, started anew")


def answers(row: Provider) -> bool:
    try:
        return driver_for(row).about().host_name == "far.example"
    except HypervisorError:
        return False


def ways(path: str) -> list[str]:
    """The programs that carry a screen to this socket."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = one.read_text().split("\0")
            found += [words[0]] if any(word.startswith(f"{path}:") for word in words) else []
    return found


def test_a_machine_is_made_run_and_deleted_there_over_ssh(far, root, tiny_linux_image):
    sync_roles()
    row = providers.connect_provider(root, name="far", **over_ssh(far))
    request = TemplateRequest("Tiny Linux", tiny_linux_image, providers.own_storage(row), 1, 192, 128)
    template, job = import_template(root, request)
    assert run_to_end(job.pk).status == "finished"
    template.refresh_from_db()
    center = create_data_center(root, name="physics")
    providers.share_out(root, center, provider=row, templates=(template,))
    _network, job = create_network(root, center, provider=row, name="physics", cidr=free_range(row))
    assert run_to_end(job.pk).status == "finished"
    quota.set_limits(center, {Dimension.MACHINES: 10, Dimension.VCPUS_RUNNING: 8})
    admin = create_user(root, username="admin", password="correct-horse-battery-staple")
    policy.grant(root, "super-admin", admin, policy.system())
    actor = Actor(user=admin, door=Door.API, request_id="test")
    vm, job = vms.create_vm(actor, VmRequest("far-1", center.pk, template.pk))
    done = run_to_end(job.pk)
    assert done.status == "finished", done.error
    assert far.libvirt.virsh("domstate", str(vm.pk)).stdout.strip() == "running"
    target = driver_for(row).console(VmRef(vm.pk, str(vm.pk)), protocol="vnc")
    with socket.socket(socket.AF_UNIX) as screen:
        screen.settimeout(10)
        screen.connect(target.unix_path)
        assert screen.recv(4) == b"RFB "
        assert ways(target.unix_path) == ["ssh"], "one process carries it"
    until(lambda: not ways(target.unix_path), "the way to the screen, gone with its user")
    assert [one.code for one in depends_on(row)] == ["machines", "templates", "networks", "data_centers"]
    for verb in (vms.stop_vm, vms.delete_vm):
        done = run_to_end(verb(actor, vm.pk).pk)
        assert done.status == "finished", done.error
    assert str(vm.pk) not in far.libvirt.virsh("list", "--all", "--uuid").stdout
