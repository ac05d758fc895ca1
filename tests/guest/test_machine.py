"""A machine of Tiny Linux, from power-on over SSH, console and agent to power-off; the tests follow one machine's day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guest.conftest import KeyPair, machines_of
from tests.guest.machine import ADDRESS, MAC, Machine
from tests.guest.nocloud import meta_data, user_data, write_volume

pytestmark = pytest.mark.libvirt


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, alice: KeyPair) -> Path:
    files = {
        "meta-data": meta_data("first", "desk-7"),
        "user-data": user_data({"users": [{"name": "alice", "ssh_authorized_keys": [alice.public]}]}),
    }
    return write_volume(tmp_path_factory.mktemp("volume") / "seed.iso", files)


@pytest.fixture(scope="module")
def machine(volume: Path, alice: KeyPair, tiny_linux: dict[str, Any]) -> Iterator[Machine]:
    """A machine that has come up once, with the least memory that the template asks for."""
    with machines_of(Path(tiny_linux["file"])) as make_machine:
        made = make_machine()
        made.start(volume, memory_mib=tiny_linux["minimum_memory_mib"])
        made.ssh_when_up("alice", alice.private, "true")
        yield made


def test_serial_console_ends_in_a_shell_that_does_what_is_typed(machine: Machine) -> None:
    machine.wait_for_serial("alice@desk-7:~$")
    machine.type_on_serial("echo sum is $((40 + 2))\n")
    machine.wait_for_serial("sum is 42")


def test_screen_shows_boot_text_and_a_shell_that_does_what_is_typed(machine: Machine) -> None:
    machine.wait_for_screen("alice@desk-7:~$")
    assert "Run /init as init process" in machine.screen_text()
    machine.type_on_keyboard(["i", "d", "ret"])
    machine.wait_for_screen("uid=1000(alice)")


def test_screenshot_is_not_black(machine: Machine) -> None:
    machine.wait_for_screen("alice@desk-7:~$")
    picture = machine.screenshot()
    assert picture.size == (720, 400)
    lit = sum(picture.histogram()[64:])
    assert lit > picture.width * picture.height / 100


def test_first_boot_data_sets_hostname_and_user(machine: Machine, alice: KeyPair) -> None:
    said = machine.ssh_when_up("alice", alice.private, "hostname; whoami; pwd; cat /etc/hosts")
    assert said.splitlines()[:3] == ["desk-7", "alice", "/home/alice"]
    assert "127.0.1.1 desk-7" in said


def test_network_lets_in_neither_root_nor_passwords_nor_other_keys(
    machine: Machine, alice: KeyPair, bob: KeyPair
) -> None:
    machine.ssh_when_up("alice", alice.private, "true")
    assert machine.ssh("root", alice.private, "id").returncode == 255
    assert machine.ssh("alice", bob.private, "id").returncode == 255
    refused = machine.ssh("alice", alice.private, "id", "PubkeyAuthentication=no", "BatchMode=no")
    assert refused.returncode == 255
    # The server offers the key alone: no password to guess.
    assert "Permission denied (publickey)" in refused.stderr


def test_accounts_are_locked_and_their_secrets_unreadable(machine: Machine, alice: KeyPair) -> None:
    machine.ssh_when_up("alice", alice.private, "true")
    assert machine.ssh("alice", alice.private, "cat /etc/shadow").returncode != 0
    assert machine.ssh("alice", alice.private, "ls /etc/dropbear/*; cat /etc/dropbear/*").returncode != 0
    assert machine.ssh("alice", alice.private, "dd if=/dev/vdb count=1").returncode != 0
    assert "root:x:" in machine.ssh_when_up("alice", alice.private, "cat /etc/passwd")


def test_dhcp_is_asked_with_the_hostname(machine: Machine) -> None:
    # Option 12 of the request: its code, its length, the name.
    assert b"\x0c\x06desk-7" in machine.packets()


def test_guest_agent_tells_the_addresses(machine: Machine) -> None:
    nics = machine.agent("guest-network-get-interfaces")
    assert isinstance(nics, list)
    (nic,) = [nic for nic in nics if nic["hardware-address"] == MAC]
    assert ADDRESS in [found["ip-address"] for found in nic["ip-addresses"]]
    assert machine.agent("guest-get-host-name") == {"host-name": "desk-7"}


def test_nic_plugged_in_while_running_gets_an_address(machine: Machine, alice: KeyPair) -> None:
    machine.plug_nic("52:54:00:74:69:6f")
    machine.ssh_when_up("alice", alice.private, "ip -4 addr show", accept=lambda said: "inet 10.9.8.15/24" in said)


def test_guest_agent_can_freeze_the_disk_for_a_snapshot(machine: Machine) -> None:
    assert machine.agent("guest-fsfreeze-freeze") == 1
    assert machine.agent("guest-fsfreeze-thaw") == 1


def test_reboot_by_the_agent_keeps_files_and_host_keys(machine: Machine, alice: KeyPair) -> None:
    boot = "cat /proc/sys/kernel/random/boot_id"
    before = machine.ssh_when_up("alice", alice.private, f"{boot}; echo kept >note")
    seen = machine.host_keys()
    machine.tell_agent("guest-shutdown", mode="reboot")
    # The old boot may still answer for a moment.
    machine.ssh_when_up("alice", alice.private, boot, accept=lambda said: said != before)
    assert machine.ssh_when_up("alice", alice.private, "cat note") == "kept\n"
    assert machine.host_keys() == seen


def test_power_button_ends_it_and_files_are_there_after_the_next_start(machine: Machine, alice: KeyPair) -> None:
    machine.ssh_when_up("alice", alice.private, "echo 'kept too' >note")
    seen = machine.host_keys()
    machine.press_power_button()
    machine.wait_until_off()
    # The portal takes the volume away after the first start; nothing may depend on it any more.
    machine.start()
    assert machine.ssh_when_up("alice", alice.private, "hostname; cat note") == "desk-7\nkept too\n"
    assert machine.host_keys() == seen


def test_power_failure_does_not_keep_it_from_starting(machine: Machine, alice: KeyPair) -> None:
    machine.ssh_when_up("alice", alice.private, "echo synced >note; sync; dd if=/dev/zero of=big bs=1M count=8")
    machine.pull_the_plug()
    machine.start()
    assert machine.ssh_when_up("alice", alice.private, "cat note") == "synced\n"
