"""A guest that listens: from its first boot to the end that it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

from portal.hypervisors.base import Watch
from portal.hypervisors.specs import InitialRun, VmRef, VmStatus
from tests.hypervisors.contract.things import MIB, Things, eventually
from tests.hypervisors.libvirt_driver.guest_told import guest_comes_to
from tests.lab.libvirt_server import LibvirtServer


def pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(MIB):
            yield piece


def listens(libvirtd: LibvirtServer, ref: VmRef) -> bool:
    """Whether the guest's agent answers."""
    ping = libvirtd.virsh("qemu-agent-command", str(ref.uid), '{"execute": "guest-ping"}', "--timeout=2", check=False)
    return ping.returncode == 0


def told(watch: Watch, what: str) -> bool:
    return what in {change.what for change in watch.next(timeout=1)}


def test_a_guest_gets_its_address_reboots_and_shuts_down_when_asked(
    libvirtd: LibvirtServer, things: Things, tiny_linux_image: Path
) -> None:
    driver, network = things.driver, things.network()
    base = driver.upload_disk(things.disk_spec(), chunks=pieces(tiny_linux_image))
    disk = driver.create_disk(replace(things.disk_spec(base=base.ref), size_bytes=base.size_bytes)).ref
    spec = replace(things.vm_spec(disks=(disk,), nics=(things.nic(network),)), memory_mib=160)
    first_boot = driver.create_first_boot(spec.uid, InitialRun("desk-1"), storage_domain=disk.storage_domain)
    ref = driver.create_vm(replace(spec, first_boot=first_boot))
    watch = driver.watch()
    driver.run_vm(ref)
    guest_comes_to(libvirtd, ref, lambda: driver.addresses(ref), "an address")
    [address] = driver.addresses(ref)
    assert (address.mac, address.source) == (spec.nics[0].mac, "lease")
    assert ip_address(address.ip) in ip_network(network.cidr)
    guest_comes_to(libvirtd, ref, lambda: listens(libvirtd, ref), "the agent")
    assert driver.addresses(ref) == (address,), "the agent says the same, which is not said twice"

    driver.reboot_vm(ref)
    eventually(lambda: told(watch, "rebooted"), "the news of the reboot")
    guest_comes_to(libvirtd, ref, lambda: listens(libvirtd, ref), "the agent, once more")
    assert things.status(ref) is VmStatus.UP
    assert driver.addresses(ref) == (address,)

    driver.shut_down_vm(ref)
    things.wait_for(ref, VmStatus.DOWN)
    assert things.found(ref.uid).status_detail == "shut_down"
    eventually(lambda: told(watch, "stopped"), "the news of the end")
    watch.close()
