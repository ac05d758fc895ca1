"""Tiny Linux under libvirt, as the portal will run it: NAT network, leases, agent, *shut down* in both ways."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guest.conftest import KeyPair
from tests.guest.machine import BOOT_SECONDS
from tests.guest.nocloud import meta_data, user_data, write_volume
from tests.lab.libvirt_server import LibvirtServer

pytestmark = pytest.mark.libvirt
IMAGES = Path("/var/lib/libvirt/images")
NETWORK = """<network><name>guest-net</name><forward mode='nat'/><bridge name='guestbr0' stp='off'/>
<ip address='10.78.0.1' netmask='255.255.255.0'><dhcp><range start='10.78.0.10' end='10.78.0.20'/></dhcp></ip></network>"""
DOMAIN = f"""<domain type='qemu'><name>guest</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{IMAGES}/guest.qcow2'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{IMAGES}/guest-seed.iso'/><target dev='vdb' bus='virtio'/><readonly/></disk>
<interface type='network'><source network='guest-net'/><model type='virtio'/></interface>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel><serial type='pty'/>
<graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/><video><model type='vga'/></video></devices></domain>"""


@pytest.fixture(scope="module")
def running(
    session_libvirtd: LibvirtServer,
    tiny_linux: dict[str, Any],
    alice: KeyPair,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LibvirtServer]:
    """libvirt with one machine on a linked clone of the template; started, which is not yet up."""
    session_libvirtd.start()
    folder = tmp_path_factory.mktemp("libvirt")
    _put_images(tiny_linux["file"], alice)
    for name, text in (("network.xml", NETWORK), ("domain.xml", DOMAIN)):
        (folder / name).write_text(text)
    session_libvirtd.virsh("net-create", str(folder / "network.xml"))
    session_libvirtd.virsh("define", str(folder / "domain.xml"))
    session_libvirtd.virsh("start", "guest")
    yield session_libvirtd
    session_libvirtd.virsh("destroy", "guest", check=False)
    session_libvirtd.virsh("undefine", "guest")
    session_libvirtd.virsh("net-destroy", "guest-net")


def test_lease_bears_the_name_and_ssh_opens_at_its_address(running: LibvirtServer, alice: KeyPair) -> None:
    address = _address(running)
    assert "desk-9" in running.virsh("net-dhcp-leases", "guest-net").stdout
    options = ["-oBatchMode=yes", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oConnectTimeout=10"]
    _until(lambda: _ssh_greets(address), "SSH")
    command = ["ssh", "-F", "none", *options, "-i", str(alice.private), f"alice@{address}", "hostname"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "desk-9\n"


def test_agent_tells_the_same_address_as_the_lease(running: LibvirtServer) -> None:
    _until(lambda: _agent_answers(running), "the guest agent")
    assert _address(running) in running.virsh("domifaddr", "guest", "--source", "agent").stdout
    info = json.loads(running.virsh("qemu-agent-command", "guest", '{"execute": "guest-get-osinfo"}').stdout)
    assert info["return"]["name"] == "Tiny Linux"


@pytest.mark.parametrize("mode", ["acpi", "agent"])
def test_shut_down_turns_it_off(running: LibvirtServer, mode: str) -> None:
    if running.virsh("domstate", "guest").stdout.strip() != "running":
        running.virsh("start", "guest")
    # By then it heeds the power button; one pressed while the kernel still starts is lost.
    _until(lambda: _agent_answers(running), "the guest agent")
    running.virsh("shutdown", "guest", "--mode", mode)
    _until(lambda: running.virsh("domstate", "guest").stdout.strip() == "shut off", "the end")
    assert "shutdown" in running.virsh("domstate", "guest", "--reason").stdout


def _put_images(template: str, alice: KeyPair) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template, IMAGES / "guest-template.qcow2")
    files = {
        "meta-data": meta_data("libvirt", "desk-9"),
        "user-data": user_data({"users": [{"name": "alice", "ssh_authorized_keys": [alice.public]}]}),
    }
    write_volume(IMAGES / "guest-seed.iso", files)
    backing = ["-b", "guest-template.qcow2", "-F", "qcow2"]
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", *backing, IMAGES / "guest.qcow2"], check=True, timeout=30
    )


def _address(running: LibvirtServer) -> str:
    """The address of the lease, as soon as there is one."""
    _until(lambda: "ipv4" in running.virsh("domifaddr", "guest").stdout, "a lease")
    return running.virsh("domifaddr", "guest").stdout.split()[-1].partition("/")[0]


def _ssh_greets(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=2) as connection:
            connection.settimeout(2)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _agent_answers(running: LibvirtServer) -> bool:
    asked = running.virsh("qemu-agent-command", "guest", '{"execute": "guest-ping"}', "--timeout=5", check=False)
    return asked.returncode == 0


def _until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while not happened():
        assert time.monotonic() < deadline, f"no {what} within {BOOT_SECONDS} s"
        time.sleep(0.2)
