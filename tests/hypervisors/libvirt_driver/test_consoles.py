"""Display passwords on real QEMU: there is always one, each console's is its own, and none lasts (CO15)."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from compute.rfb import Read, RfbError, Send, enter
from portal.hypervisors.errors import DisplayOutside
from portal.hypervisors.libvirt import consoles
from portal.hypervisors.specs import ConsoleTarget, VmRef
from tests.hypervisors.contract.things import Things, eventually
from tests.lab.libvirt_server import LibvirtServer


def lets_in(target: ConsoleTarget) -> bool:
    """Whether the display takes this password."""
    with socket.create_connection((target.host, target.port), timeout=20) as link, link.makefile("rwb") as stream:
        handshake, answer = enter(target), b""
        try:
            while True:
                match handshake.send(answer or None) if answer else next(handshake):
                    case Send(data):
                        stream.write(data)
                        stream.flush()
                        answer = b""
                    case Read(count):
                        answer = stream.read(count)
        except StopIteration:
            return True
        except RfbError as error:
            if error.code != "denied":
                raise
            return False


def defined_password(libvirtd: LibvirtServer, ref: VmRef) -> str:
    """The password that a machine's stored definition has."""
    text = libvirtd.virsh("dumpxml", "--inactive", "--security-info", str(ref.uid)).stdout
    graphics = ET.fromstring(text).find("devices/graphics")
    assert graphics is not None
    return graphics.get("passwd", "")


def test_CO15_each_console_has_its_own_password_and_voids_the_last(things: Things) -> None:  # noqa: N802
    ref, driver = things.running(), things.driver
    first = driver.console(ref, protocol="vnc")
    assert lets_in(first)
    assert lets_in(first), "the port stays, and the password for a while"
    second = driver.console(ref, protocol="vnc")
    assert (second.host, second.port) == (first.host, first.port)
    assert not lets_in(first)
    assert lets_in(second)


def test_CO15_a_password_that_was_not_used_in_time_is_void(things: Things, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: N802
    monkeypatch.setattr(consoles, "PASSWORD_SECONDS", 2)
    target = things.driver.console(things.running(), protocol="vnc")
    eventually(lambda: not lets_in(target), "the password's end")


def test_CO15_after_a_restart_nobody_gets_in_without_another_console(  # noqa: N802
    libvirtd: LibvirtServer, things: Things
) -> None:
    ref, driver = things.running(), things.driver
    before = driver.console(ref, protocol="vnc")
    driver.stop_vm(ref)
    driver.run_vm(ref)
    port = driver.console(ref, protocol="vnc").port
    driver.stop_vm(ref)
    driver.run_vm(ref)
    stored = defined_password(libvirtd, ref)
    assert len(stored) == 8
    assert stored != before.password
    for password in (before.password, stored):
        assert not lets_in(ConsoleTarget("vnc", "127.0.0.1", port, password=password, allow_plain=True))
    assert lets_in(driver.console(ref, protocol="vnc"))


def test_CO15_no_two_machines_are_defined_with_one_password_and_no_log_or_command_line_has_it(  # noqa: N802
    libvirtd: LibvirtServer, things: Things
) -> None:
    refs = [things.running(), things.vm()]
    passwords = {defined_password(libvirtd, ref) for ref in refs}
    target = things.driver.console(refs[0], protocol="vnc")
    assert len(passwords | {target.password}) == 3
    name = things.found(refs[0].uid).name
    told = Path(f"/var/log/libvirt/qemu/{name}.log").read_text()
    qemu = Path(f"/run/libvirt/qemu/{name}.pid").read_text()
    told += Path(f"/proc/{qemu}/cmdline").read_text()
    assert "-vnc" in told
    assert not [password for password in passwords | {target.password} if password in told]


def test_the_display_listens_on_loopback_alone(things: Things) -> None:
    port = things.driver.console(things.running(), protocol="vnc").port
    listening = {
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    }
    listening |= {
        line.split()[1] for line in Path("/proc/net/tcp6").read_text().splitlines()[1:] if line.split()[3] == "0A"
    }
    assert {address for address in listening if address.endswith(f":{port:04X}")} == {f"0100007F:{port:04X}"}


def test_IN09_a_display_that_others_put_elsewhere_does_not_lead_to_who_has_its_port_here(  # noqa: N802
    libvirtd: LibvirtServer, things: Things, tmp_path: Path
) -> None:
    """Whoever may edit the machine there has it listen on another address, at the port of a service of this host's loopback."""
    ref, driver = things.vm(), things.driver
    service = next(_free(port) for port in range(6379, 6400) if _is_free(port))
    with service:
        port = service.getsockname()[1]
        root = ET.fromstring(libvirtd.virsh("dumpxml", "--inactive", "--security-info", str(ref.uid)).stdout)
        graphics, listen = root.find("devices/graphics"), root.find("devices/graphics/listen")
        assert graphics is not None
        assert listen is not None
        graphics.attrib.update(port=str(port), autoport="no", listen="127.0.0.9")
        listen.set("address", "127.0.0.9")
        (tmp_path / "edited.xml").write_text(ET.tostring(root, encoding="unicode"))
        libvirtd.virsh("define", str(tmp_path / "edited.xml"))
        driver.run_vm(ref)
        with pytest.raises(DisplayOutside) as refused:
            driver.console(ref, protocol="vnc")
    assert "127.0.0.9" in refused.value.detail
    assert "127.0.0.9" not in refused.value.public


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), _free(port):
        return True
    return False


def _free(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))
