"""What Tiny Linux makes of its first-boot data, the hostile kind included."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guest.conftest import KeyPair, MakeMachine
from tests.guest.machine import MAC
from tests.guest.nocloud import meta_data, user_data, write_volume

pytestmark = pytest.mark.libvirt


def test_hostile_values_are_never_run_and_open_no_door(
    make_machine: MakeMachine, alice: KeyPair, bob: KeyPair, tmp_path: Path
) -> None:
    users = [
        {"name": "root", "ssh_authorized_keys": [bob.public]},
        {"name": "nobody", "ssh_authorized_keys": [bob.public]},
        {"name": "eve; touch /tmp/run", "ssh_authorized_keys": [bob.public]},
        {"name": "eve\nalice", "ssh_authorized_keys": [bob.public]},
        {"name": "../../root", "ssh_authorized_keys": [bob.public]},
        {"name": "$(touch /tmp/run)", "ssh_authorized_keys": [bob.public]},
        {"name": "eve:x:0:0::/:/bin/sh", "ssh_authorized_keys": [bob.public]},
        {"name": "alice", "ssh_authorized_keys": [f"ssh-ed25519 AAAA\n{bob.public}", "`touch /tmp/run`", alice.public]},
    ]
    data = {"hostname": "a$(touch /tmp/run)`touch /tmp/run`", "users": users}
    files = {
        "meta-data": meta_data("../../../tmp/run; touch /tmp/run", "x\n127.0.0.1 evil"),
        "user-data": user_data(data),
        "network-config": user_data(
            {"version": 2, "ethernets": {"eth0; touch /tmp/run": {"addresses": ["$(reboot)"]}}}
        ),
    }
    machine = make_machine()
    machine.start(write_volume(tmp_path / "seed.iso", files))
    said = machine.ssh_when_up("alice", alice.private, "hostname; ls -A /tmp; cat /etc/passwd /etc/hosts")
    lines = said.splitlines()
    assert lines[0] == "tiny"
    # /tmp was empty, and three accounts are all there are.
    assert [line.split(":")[0] for line in lines[1:4]] == ["root", "nobody", "alice"]
    assert "evil" not in said
    assert "eve" not in said
    for name in ("root", "nobody", "eve", "alice"):
        assert machine.ssh(name, bob.private, "true").returncode == 255


@pytest.mark.parametrize(("rock_ridge", "joliet"), [(True, False), (False, True)])
def test_other_ways_to_say_the_same(
    make_machine: MakeMachine, alice: KeyPair, tmp_path: Path, rock_ridge: bool, joliet: bool
) -> None:
    # One list under two names: the library writes the second as an alias of the first.
    keys = [alice.public]
    data = {
        "ssh_authorized_keys": keys,
        "user": {"name": "carol", "ssh_authorized_keys": keys},
        "hostname": "lab_3.physics",
    }
    files = {"meta-data": meta_data("i", "unused"), "user-data": user_data(data)}
    machine = make_machine()
    machine.start(write_volume(tmp_path / "seed.iso", files, rock_ridge=rock_ridge, joliet=joliet))
    said = machine.ssh_when_up("carol", alice.private, "hostname; whoami; sort -u .ssh/authorized_keys")
    assert said == f"lab_3.physics\ncarol\n{alice.public}\n"


def test_without_any_volume_a_console_opens_and_the_network_does_not(make_machine: MakeMachine, alice: KeyPair) -> None:
    machine = make_machine()
    machine.start()
    machine.wait_for_serial("user@tiny:~$")
    machine.type_on_serial("until netstat -ltn | grep :22; do sleep 1; done\n")  # its key may not be made yet
    machine.wait_for_serial("0.0.0.0:22")
    assert "Permission denied (publickey)" in machine.ssh("user", alice.private, "true").stderr


def test_a_copy_with_a_new_instance_id_is_a_new_machine(
    make_machine: MakeMachine, alice: KeyPair, bob: KeyPair, tmp_path: Path
) -> None:
    machine = make_machine()
    first = {"meta-data": meta_data("one", "one"), "user-data": _one_user("alice", alice)}
    machine.start(write_volume(tmp_path / "one.iso", first))
    machine.ssh_when_up("alice", alice.private, "echo mine >note")
    seen = machine.host_keys()
    machine.press_power_button()
    machine.wait_until_off()

    machine.forget_host_keys()
    second = {"meta-data": meta_data("two", "two"), "user-data": _one_user("bob", bob)}
    machine.start(write_volume(tmp_path / "two.iso", second))
    assert machine.ssh_when_up("bob", bob.private, "hostname; id -u; ls -l /home").startswith("two\n1001\n")
    assert not machine.host_keys() & seen
    assert machine.ssh("alice", alice.private, "true").returncode == 255
    machine.wait_for_serial("bob@two:~$")


def test_a_larger_disk_is_used_and_a_fixed_address_set(
    make_machine: MakeMachine, alice: KeyPair, tmp_path: Path
) -> None:
    nic = {
        "match": {"macaddress": MAC.upper()},
        "addresses": ["10.0.2.77/24"],
        "routes": [{"to": "default", "via": "10.0.2.2"}],
        "nameservers": {"addresses": ["10.0.2.3"]},
    }
    config = user_data({"version": 2, "ethernets": {"main": nic}})
    files = {"meta-data": meta_data("i", "big"), "user-data": _one_user("alice", alice), "network-config": config}
    machine = make_machine(size="3G")
    machine.start(write_volume(tmp_path / "seed.iso", files), address="10.0.2.77")
    said = machine.ssh_when_up("alice", alice.private, "df -m / | tail -1; ip route; cat /etc/resolv.conf")
    size, *rest = said.splitlines()
    assert int(size.split()[1]) > 2900
    assert rest == [
        "default via 10.0.2.2 dev eth0 ",
        "10.0.2.0/24 dev eth0 scope link  src 10.0.2.77 ",
        "nameserver 10.0.2.3",
    ]
    # Once grown it stays so, and the disk starts again.
    machine.press_power_button()
    machine.wait_until_off()
    machine.start(address="10.0.2.77")
    again = machine.ssh_when_up("alice", alice.private, "df -m / | tail -1")
    assert int(again.split()[1]) > 2900


def _one_user(name: str, key: KeyPair) -> str:
    return user_data({"users": [{"name": name, "ssh_authorized_keys": [key.public]}]})
