"""Somebody's network and a bridge of the host's own, offered to a department: its machine is there, and both stay as they are."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from select import select
from socket import AF_INET, AF_INET6, SOCK_DGRAM, if_nametoindex, socket
from subprocess import PIPE
from uuid import UUID, uuid4
from xml.etree import ElementTree as ET

import pytest

from compute.models import Template
from compute.services import sharing, vms
from compute.services.offered_networks import offer_network, take_back_network
from compute.services.templates import TemplateRequest, import_template
from compute.sync.inventory import sync_provider
from network.models import FoundNetwork, Network
from portal.common.actor import system_actor
from portal.hypervisors.libvirt.network_xml import is_filter, offered_filter
from portal.jobs.engine import run_to_end
from tests.hypervisors.libvirt.real import Guest, RealPlace, domain_name
from tests.lab.libvirt_server import LibvirtServer

pytestmark = [pytest.mark.libvirt, pytest.mark.long, pytest.mark.once]

SAVED = Path("/var/lib/libvirt/qemu/save")
RANGE = "10.89.0.0/24"
THEIRS = """<network><name>theirs</name><forward mode='nat'/><bridge name='theirs0'/>
<ip address='10.89.0.1' netmask='255.255.255.0'><dhcp><range start='10.89.0.10' end='10.89.0.20'/></dhcp></ip></network>"""


@contextmanager
def strangers(libvirtd: LibvirtServer) -> Iterator[None]:
    """A network with DHCP, which somebody made, and a bridge of the host's own."""
    file = libvirtd.folder / "theirs.xml"
    file.write_text(THEIRS)
    libvirtd.virsh("net-define", str(file))
    libvirtd.virsh("net-start", "theirs")
    _ip("link add br-lab type bridge")
    _ip("link set br-lab up")
    try:
        yield
    finally:
        _ip("link delete br-lab")
        libvirtd.virsh("net-destroy", "theirs", check=False)
        libvirtd.virsh("net-undefine", "theirs")


def _ip(arguments: str) -> str:
    return subprocess.run(["ip", *arguments.split()], check=True, timeout=20, stdout=PIPE, text=True).stdout


def with_system(place: RealPlace) -> Template:
    """Tiny Linux, in physics."""
    actor, storage = system_actor(), place.template.storage_domain
    template, job = import_template(actor, TemplateRequest("With a system", place.image, storage, 1, 256, 128))
    place.ended(job)
    sharing.assign(actor, place.centers["physics"].pk, "template", template.pk)
    template.refresh_from_db()
    return template


def offered(place: RealPlace, name: str) -> Network:
    """Offered by a super-admin, and assigned to physics."""
    root, physics = place.actor("root"), place.centers["physics"]
    row = offer_network(root, place.provider.pk, FoundNetwork.objects.get(name=name).pk)
    sharing.assign(root, physics.pk, "network", row.pk)
    return row


def test_a_department_has_a_machine_on_what_was_offered_and_the_host_stays_as_it_was(place: RealPlace) -> None:
    with strangers(place.libvirtd):
        theirs = place.libvirtd.virsh("net-dumpxml", "theirs").stdout
        lasting = place.libvirtd.virsh("net-dumpxml", "theirs", "--inactive").stdout
        filters = place.libvirtd.virsh("nwfilter-list").stdout
        sync_provider(place.provider)
        rows = [offered(place, name) for name in ("theirs", "br-lab")]
        chosen = tuple(row.vnic_profiles.get().pk for row in rows)
        vm = place.machine("offered", template=with_system(place), vnic_profile_uids=chosen)
        on_the_host = place.libvirtd.virsh("dumpxml", domain_name(vm)).stdout
        cards = ET.fromstring(on_the_host).findall("devices/interface")
        assert [card.get("type") for card in cards] == ["network", "bridge"]
        assert [card.find("source").get(card.get("type")) for card in cards] == ["theirs", "br-lab"]
        assert all(card.find("filterref").get("filter").endswith("-offered") for card in cards)
        guest = place.guest(vm)
        assert ip_address(guest.address) in ip_network(RANGE), "by the DHCP of that network"
        refuse_answers_to_clients(guest)
        refuse_another_mac(guest)
        assert place.libvirtd.virsh("net-dumpxml", "theirs", "--inactive").stdout == lasting
        stopped_and_back(place, guest)
        renewed(place, guest)
        renamed_and_replaced(place, guest)
        saved_and_renamed(place, guest)
        place.ended(vms.delete_vm(place.actor("alice"), vm.pk))
        for row in rows:
            sharing.unassign(place.actor("root"), place.centers["physics"].pk, "network", row.pk)
            take_back_network(place.actor("root"), row.pk)
        assert place.libvirtd.virsh("net-dumpxml", "theirs").stdout == theirs
        assert place.libvirtd.virsh("nwfilter-list").stdout == filters, "its filter went with the machine"


def refuse_another_mac(guest: Guest) -> None:
    """It asks for its gateway under its own MAC address with success, and under another one without."""
    ask = "ping -c1 -W2 10.89.0.1 >/dev/null 2>&1 && echo answered || echo silence"
    other = "ip link set eth0 down; ip link set eth0 address 52:54:00:aa:bb:cc; ip link set eth0 up; sleep 1"
    assert guest.as_root(ask).strip() == "answered"
    assert guest.as_root(f"{other}; ip address add {guest.address}/24 dev eth0 2>/dev/null; {ask}").strip() == "silence"


def refuse_answers_to_clients(guest: Guest) -> None:
    """It sends a datagram from a port of its choice to anywhere, but not to where clients of DHCP and DHCPv6 listen."""
    guest.as_root("ip link set eth1 up; sleep 2")
    [link_local] = re.findall(r"inet6 (fe80\S+)/", _ip("-6 address show dev br-lab"))
    for host, device, other in (("10.89.0.1", "eth0", 68), (link_local, "eth1", 546)):
        with ears(host, (7777, other)) as heard:
            for port in (7777, other):
                to = f"{host}%{device}" if ":" in host else host
                guest.as_root(f"timeout 2 tftp -g -r word -l /dev/null {to} {port}")
            assert heard() == {7777}


@contextmanager
def ears(host: str, ports: Iterable[int]) -> Iterator[Callable[[], set[int]]]:
    """The host listens at ports of an address of its own; which of them heard something."""
    with ExitStack() as stack:
        family, scope = (AF_INET6, (0, if_nametoindex("br-lab"))) if ":" in host else (AF_INET, ())
        listening = {port: stack.enter_context(socket(family, SOCK_DGRAM)) for port in ports}
        for port, one in listening.items():
            one.bind((host, port, *scope))
        yield lambda: {port for port, one in listening.items() if select([one], [], [], 0.5)[0]}


def stopped_and_back(place: RealPlace, guest: Guest) -> None:
    """While somebody has stopped the network its machines do not run, and the portal does not start it."""
    place.do("stop", guest.vm)
    place.libvirtd.virsh("net-destroy", "theirs")
    sync_provider(place.provider)
    assert Network.objects.get(name="theirs").status == "non_operational"
    failed = run_to_end(vms.run_vm(place.actor("alice"), guest.vm.pk).pk)
    assert (failed.status, failed.error["code"]) == ("failed", "hypervisor_network_gone")
    place.libvirtd.virsh("net-start", "theirs")
    sync_provider(place.provider)
    assert Network.objects.get(name="theirs").status == "operational"


def renewed(place: RealPlace, guest: Guest) -> None:
    """A filter that an earlier portal left weaker is made as it is today; one that is somebody's is neither changed nor used."""
    virsh, file = place.libvirtd.virsh, place.libvirtd.folder / "filter.xml"
    [name] = re.findall(r"stegi-\S+-offered", virsh("nwfilter-list").stdout)
    strong = virsh("nwfilter-dumpxml", name).stdout
    uid = re.findall("<uuid>(.*)</uuid>", strong)[0]
    assert is_filter(strong, offered_filter(name, UUID(uid))), "libvirt tells of it as we write it: it is left as it is"
    weak = re.sub(r"<rule [^>]*>\s*<ip[^>]*dstportstart='(68|546)'/>\s*</rule>", "", strong)
    assert weak != strong
    file.write_text(weak)
    virsh("nwfilter-define", str(file))
    place.do("run", guest.vm)
    assert virsh("nwfilter-dumpxml", name).stdout.split() == strong.split()
    place.do("stop", guest.vm)
    virsh("nwfilter-undefine", name)
    file.write_text(weak.replace(uid, str(uuid4())))
    virsh("nwfilter-define", str(file))
    theirs = virsh("nwfilter-dumpxml", name).stdout
    failed = run_to_end(vms.run_vm(place.actor("alice"), guest.vm.pk).pk)
    assert (failed.status, failed.error["code"]) == ("failed", "hypervisor_already_exists")
    assert virsh("nwfilter-dumpxml", name).stdout == theirs
    virsh("nwfilter-undefine", name)


def renamed_and_replaced(place: RealPlace, guest: Guest) -> None:
    """A machine follows its network to another name, and comes on no other that takes the name that it had."""
    lasting = place.libvirtd.virsh("net-dumpxml", "theirs", "--inactive").stdout
    defined_anew(place, "theirs", lasting.replace("<name>theirs<", "<name>labs<"))
    place.do("run", guest.vm)
    assert networks_of(guest) == ["labs", None]
    place.do("stop", guest.vm)
    another = re.sub("<uuid>.*</uuid>", "", lasting.replace("<name>theirs<", "<name>labs<"))
    defined_anew(place, "labs", another)
    failed = run_to_end(vms.run_vm(place.actor("alice"), guest.vm.pk).pk)
    assert (failed.status, failed.error["code"]) == ("failed", "hypervisor_network_gone")
    defined_anew(place, "labs", lasting)
    sync_provider(place.provider)
    assert Network.objects.get(name="theirs").status == "operational"


def saved_and_renamed(place: RealPlace, guest: Guest) -> None:
    """It goes on with memory that was saved, on its network, though another has the name that was saved with it."""
    virsh, boot = place.libvirtd.virsh, "cat /proc/sys/kernel/random/boot_id"
    lasting = virsh("net-dumpxml", "theirs", "--inactive").stdout
    place.do("run", guest.vm)
    booted = guest.as_root(boot)
    virsh("managedsave", guest.domain)
    defined_anew(place, "theirs", lasting.replace("<name>theirs<", "<name>labs<"))
    another = place.libvirtd.folder / "another.xml"
    another.write_text("<network><name>theirs</name><bridge name='theirs1'/></network>")
    virsh("net-define", str(another))
    virsh("net-start", "theirs")
    sync_provider(place.provider)
    place.do("run", guest.vm)
    assert networks_of(guest) == ["labs", None]
    assert guest.as_root(boot) == booted, "it was not started anew"
    unreadable(place, guest)
    virsh("net-destroy", "theirs")
    virsh("net-undefine", "theirs")
    defined_anew(place, "labs", lasting)
    sync_provider(place.provider)


def unreadable(place: RealPlace, guest: Guest) -> None:
    """Where nobody can tell on which network it would go on it does not, until what was saved is discarded."""
    place.libvirtd.virsh("managedsave", guest.domain)
    with (SAVED / f"{guest.domain}.save").open("r+b") as image:
        image.write(b"LibvirtQemudPart")  # as libvirt leaves it when it is interrupted
    sync_provider(place.provider)
    failed = run_to_end(vms.run_vm(place.actor("alice"), guest.vm.pk).pk)
    assert (failed.status, failed.error["code"]) == ("failed", "hypervisor_network_gone")
    assert "Stop it" in failed.error["text"]
    place.do("stop", guest.vm)
    place.do("run", guest.vm)
    assert networks_of(guest) == ["labs", None]
    place.do("stop", guest.vm)


def defined_anew(place: RealPlace, name: str, text: str) -> None:
    """Somebody undefines a network, and defines and starts another, or the same under another name."""
    virsh, file = place.libvirtd.virsh, place.libvirtd.folder / "anew.xml"
    file.write_text(text)
    virsh("net-destroy", name)
    virsh("net-undefine", name)
    virsh("net-define", str(file))
    virsh("net-start", text.partition("<name>")[2].partition("<")[0])


def networks_of(guest: Guest) -> list[str | None]:
    """The names of the networks that its cards are on now."""
    told = guest.place.libvirtd.virsh("dumpxml", domain_name(guest.vm)).stdout
    return [source.get("network") for source in ET.fromstring(told).findall("devices/interface/source")]
