"""The networks of two departments on a real libvirt: machines get addresses, reach what they may, and nothing else."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from compute.models import Vm
from compute.sync.watcher import look_at
from network.models import Network
from portal.hypervisors.libvirt.network_xml import refreshed
from tests.guest.conftest import make_key
from tests.hypervisors.libvirt.real import Guest, ref, until
from tests.network.conftest import HOST_OUTSIDE, HOST_PRIVATE, HOST_PUBLIC, OUTSIDE, PORT, Departments
from tests.network.traffic import ARP, IPV4, IPV6, Frame, Sniffer, Which

pytestmark = pytest.mark.libvirt


def attempts(targets: Iterable[str], *, words: str = "canary") -> str:
    """A script that tries each address by ping, TCP (SSH's port and the greeter's) and UDP, all at once.

    It prints what got an answer. A datagram (of TFTP, for busybox has no other) is judged where it arrives. For root: nobody
    else may ping.
    """
    lines = []
    for target in targets:
        lines.append(f"(ping -c1 -W2 {target} >/dev/null 2>&1 && echo ping {target}) &")
        lines.append(f"timeout 1 tftp -g -r {words} -l /dev/null {target} {PORT} >/dev/null 2>&1 &")
        for port in (22, PORT):
            greeted = f"nc -w 2 {target} {port} </dev/null 2>/dev/null | grep -q ."
            lines.append(f"({greeted} && echo tcp {target} {port}) &")
    return "\n".join([*lines, "wait"])


def gateway(guest: Guest) -> str:
    """The host's own address on a machine's network."""
    return str(ip_network(f"{guest.address}/24", strict=False)[1])


def network_of(guest: Guest) -> Network:
    return Network.objects.get(vnic_profiles__nics__vm=guest.vm)


def test_each_machine_has_a_lease_of_its_departments_range_and_lets_in_who_has_its_key(
    departments: Departments, tmp_path: Path
) -> None:
    ranges = {guest.vm.name: network_of(guest).cidr for guest in departments.all}
    assert ranges["ada"] == ranges["bob"]
    assert not ip_network(ranges["ada"]).overlaps(ip_network(ranges["carl"]))
    for guest in departments.all:
        [known] = departments.place.driver.addresses(ref(guest.vm))[:1]
        assert known.source == "lease"
        assert known.mac == guest.mac
        assert ip_address(known.ip) in ip_network(ranges[guest.vm.name])
        look_at(departments.place.provider, guest.vm.external_id)
        assert known.ip in {address["ip"] for address in Vm.objects.get(pk=guest.vm.pk).addresses}
        assert guest.says("hostname; id -un").split() == [guest.vm.name, "alice"]
    refused = departments.ada.ssh("true", key=make_key(tmp_path / "mallory", "mallory").private)
    assert "Permission denied" in refused.stderr


def test_machines_reach_their_neighbours_and_the_world_outside(departments: Departments) -> None:
    ada, bob = departments.ada, departments.bob
    with Sniffer(bob.tap) as at_bob:
        answered = ada.as_root(attempts([bob.address, OUTSIDE], words="from-ada")).splitlines()
        assert {f"ping {bob.address}", f"tcp {bob.address} 22", f"tcp {OUTSIDE} {PORT}"} <= set(answered)
        until(lambda: at_bob.received(where=_says("from-ada")), "the datagram at the neighbour")
    visits = until(
        lambda: [visit for visit in departments.outside.visits if "from-ada" in visit], "the datagram outside"
    )
    assert visits[0].startswith(f"udp {HOST_OUTSIDE} {OUTSIDE}"), "outside it is known by the host's address"


def test_names_are_told_at_the_gateway(departments: Departments) -> None:
    ada, bob = departments.ada, departments.bob
    assert bob.address in ada.says(f"nslookup bob {gateway(ada)}")
    assert departments.carl.address not in ada.ssh(f"nslookup carl {gateway(ada)}").stdout


def test_no_machine_reaches_another_department_by_any_address(departments: Departments) -> None:
    ada, carl = departments.ada, departments.carl
    at_once(lambda pair: refuse_crossing(*pair), [(ada, carl), (carl, ada)])


def refuse_crossing(one: Guest, other: Guest) -> None:
    aliased = _neighbour_of(other)
    with Sniffer(one.tap) as at_one, Sniffer(other.tap) as at_other:
        assert one.as_root(attempts([other.address], words="by-route")) == ""
        # As if it were on the same wire, with an address of that range.
        one.as_root(f"ip address add {aliased}/24 dev eth0")
        assert one.as_root(attempts([other.address], words="by-wire")) == ""
        one.as_root(f"ip address delete {aliased}/24 dev eth0")
        assert at_one.sent(where=_says("by-route"))
        assert at_one.sent(where=lambda frame: frame.kind == ARP and frame.target_ip == other.address)
    arrived = at_other.received()
    assert [frame for frame in arrived if frame.source_mac == one.mac or b"by-" in frame.payload] == []
    assert [frame for frame in arrived if frame.source_ip in {one.address, aliased}] == []


def test_no_machine_reaches_the_hosts_own_services(departments: Departments) -> None:
    ada, carl = departments.ada, departments.carl
    hosts = [gateway(ada), gateway(carl), HOST_OUTSIDE, HOST_PUBLIC, HOST_PRIVATE]
    for address in hosts:
        _visit(address)
    assert {visit.split()[2] for visit in departments.host.visits} == set(hosts), "the services do not answer anybody"
    before = departments.host.visits
    at_once(lambda guest: refuse_hosts(guest, hosts), [ada, carl])
    assert departments.host.visits == before


def refuse_hosts(guest: Guest, hosts: list[str]) -> None:
    network = ip_network(f"{guest.address}/24", strict=False)
    everybody = [str(network[0]), str(network[-1]), "255.255.255.255", "224.0.0.1"]
    with Sniffer(guest.tap) as sniffer:
        assert guest.as_root(attempts([*hosts, *everybody], words="to-host")) == ""
        assert set(hosts) <= {frame.target_ip for frame in sniffer.sent(where=_says("to-host"))}


def at_once(work: Callable[[Any], None], each: Sequence[Any]) -> None:
    """Several machines try at the same time."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(work, each))


def _neighbour_of(guest: Guest) -> str:
    """An address of its network that nobody has."""
    return str(ip_network(f"{guest.address}/24", strict=False)[77])


def _says(words: str) -> Which:
    return lambda frame: frame.kind == IPV4 and words.encode() in frame.payload


def _visit(address: str) -> None:
    script = f"import socket; s = socket.create_connection(('{address}', {PORT}), 5); assert s.recv(5) == b'hello'"
    subprocess.run(["python3", "-c", script], check=True, timeout=20)


# -- spoofing: bob does, ada is the neighbour


def reaches(one: Guest, other: Guest) -> bool:
    """Whether an honest packet is answered."""
    return "1 packets received" in one.as_root(f"ping -c1 -W5 {other.address}")


def spoof(departments: Departments, script: str, forged: Which) -> None:
    """Root runs a script at bob's; what is forged leaves bob's card and does not arrive at ada's."""
    ada, bob = departments.ada, departments.bob
    assert reaches(bob, ada)
    with Sniffer(bob.tap) as at_bob, Sniffer(ada.tap) as at_ada:
        bob.as_root(script)
        until(lambda: at_bob.sent(where=forged), "the forged frame", seconds=10)
    assert at_ada.received(where=forged) == []


def test_no_machine_sends_from_another_address(departments: Departments) -> None:
    ada, alias = departments.ada, _neighbour_of(departments.ada)
    script = f"ip address add {alias}/24 dev eth0; ping -c2 -W1 -I {alias} {ada.address}; ip address delete {alias}/24 dev eth0"
    spoof(departments, script, lambda frame: frame.kind == IPV4 and frame.source_ip == alias)


def test_no_machine_sends_from_another_card(departments: Departments) -> None:
    ada, forged = departments.ada, "52:54:00:00:be:ef"
    set_mac = "ip link set eth0 down; ip link set eth0 address {}; ip link set eth0 up; ip address add {}/24 dev eth0"
    change = set_mac.format(forged, departments.bob.address)
    back = set_mac.format(departments.bob.mac, departments.bob.address)
    restore = f"{back}; ip route replace default via {gateway(ada)}"
    script = f"{change}; ping -c2 -W1 {ada.address}; {restore}"
    spoof(departments, script, lambda frame: frame.source_mac == forged)
    assert reaches(departments.bob, ada)


@pytest.mark.parametrize("mode", ["-U", "-A"])
def test_no_machine_claims_the_gateways_address(departments: Departments, mode: str) -> None:
    claimed = gateway(departments.bob)
    arping = f"arping {mode} -c2 -w2 -I eth0 -s {claimed} {claimed}"
    script = f"ip address add {claimed}/32 dev eth0; {arping}; ip address delete {claimed}/32 dev eth0"

    def forged(frame: Frame) -> bool:
        return frame.kind == ARP and frame.source_ip == claimed and frame.source_mac == departments.bob.mac

    spoof(departments, script, forged)


def test_no_machine_serves_addresses_to_its_neighbours(departments: Departments) -> None:
    ada, bob = departments.ada, departments.bob
    served = f"start {_neighbour_of(bob)}\nend {_neighbour_of(bob)}\ninterface eth0\nlease_file /tmp/leases\n"
    bob.as_root(
        f"printf '{served}' >/tmp/udhcpd.conf; touch /tmp/leases; (udhcpd -f -a 1 /tmp/udhcpd.conf >/dev/null 2>&1 &)"
    )
    with Sniffer(bob.tap) as at_bob, Sniffer(ada.tap) as at_ada:
        # ada asks again, as if she came new.
        ada.as_root("udhcpc -f -n -q -t3 -T1 -i eth0 -s /bin/true")
        until(lambda: at_bob.sent(where=_offers), "an offer of the false server", seconds=10)
    bob.as_root("killall udhcpd")
    assert {frame.source_ip for frame in at_ada.received(where=_offers)} == {gateway(ada)}


def test_no_machine_answers_a_neighbours_client_from_a_port_of_its_choice(departments: Departments) -> None:
    """A client of DHCP looks only to which port an answer goes."""
    script = f"timeout 1 tftp -g -r offer-of-bobs -l /dev/null {departments.ada.address} 68"
    spoof(departments, script, _says("offer-of-bobs"))


def test_libvirt_tells_of_a_filter_as_we_write_it_so_that_none_is_made_anew_for_nothing(
    departments: Departments,
) -> None:
    for guest in (departments.ada, departments.carl):
        described = departments.place.libvirtd.virsh("dumpxml", guest.domain).stdout
        [name] = re.findall("<filterref filter='(.*)'", described)
        told = departments.place.libvirtd.virsh("nwfilter-dumpxml", name).stdout
        assert refreshed(told, [], cidr=network_of(guest).cidr) is None


def test_no_machine_speaks_ipv6(departments: Departments) -> None:
    script = "ip link set eth0 down; ip link set eth0 up; ping6 -c2 -W1 -I eth0 ff02::1"
    restore = (
        f"ip address add {departments.bob.address}/24 dev eth0; ip route replace default via {gateway(departments.bob)}"
    )
    spoof(departments, f"{script}; {restore}", lambda frame: frame.kind == IPV6)


def _offers(frame: Frame) -> bool:
    return frame.kind == IPV4 and frame.source_port == 67


# -- the bridge


def test_no_machine_has_a_say_in_how_the_bridge_is_wired(departments: Departments) -> None:
    """The kernel hears spanning tree's messages before any filter: so the bridge must not listen to them."""
    for guest in departments.all:
        assert (Path("/sys/class/net") / bridge_of(guest) / "bridge/stp_state").read_text().strip() == "0"


def bridge_of(guest: Guest) -> str:
    found = guest.place.driver.find_network(network_of(guest).pk)
    assert found is not None
    return found.bridge
