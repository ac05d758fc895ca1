"""A machine made from Tiny Linux, run by QEMU itself under TCG, which works wherever the tests do."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from tests.guest.qemu_socket import AgentSocket, QemuSocket

# From power-on to SSH it takes about 5 s on an idle machine; this much on one that is busy with other tests.
BOOT_SECONDS = 90
VGA_TEXT_AT = 0xB8000
VGA_TEXT_BYTES = 0x8000
MAC = "52:54:00:74:69:6e"
ADDRESS = "10.0.2.15"


class NeverHappened(AssertionError):
    """What a test waited for did not come; the serial console's last lines say why."""


class Machine:
    """One disk over the template's image, started and stopped as often as a test likes."""

    def __init__(self, folder: Path, image: Path, *, size: str = "") -> None:
        self.folder = folder
        self.disk = folder / "disk.qcow2"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        backing = ["-b", str(image), "-F", "qcow2"]
        command = ["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(self.disk), *([size] if size else [])]
        subprocess.run(command, check=True, timeout=30)

    # --- power

    def start(self, volume: Path | None = None, *, memory_mib: int = 160, address: str = ADDRESS) -> None:
        """Power on, with a NoCloud volume or without."""
        self.clean()
        self._port = _free_port()
        command = ["qemu-system-x86_64", *self._hardware(memory_mib), *self._channels(), *self._network(address)]
        if volume:
            command += ["-drive", f"file={volume},if=virtio,format=raw,readonly=on"]
        with self._file("qemu.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def press_power_button(self) -> None:
        """What *shut down* does: an ACPI event that the guest may or may not heed."""
        self.monitor("system_powerdown")

    def wait_until_off(self, seconds: float = 30) -> None:
        """Wait until QEMU has ended by itself."""
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise NeverHappened(f"still on after {seconds} s:\n{self.serial()[-2000:]}") from None

    def pull_the_plug(self) -> None:
        """End it as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def clean(self) -> None:
        """Leave no sockets of an earlier start behind, which would be taken for the next one's."""
        for path in self.folder.glob("*.sock"):
            path.unlink()

    # --- ways in

    def monitor(self, command: str, /, **arguments: object) -> object:
        """Ask QEMU's monitor."""
        with QemuSocket(self._file("monitor.sock")) as qemu:
            qemu.ask("qmp_capabilities")
            return qemu.ask(command, **arguments)

    def agent(self, command: str, /, **arguments: object) -> object:
        """Ask the guest agent."""
        with AgentSocket(self._file("agent.sock"), seconds=30) as guest:
            return guest.ask(command, **arguments)

    def tell_agent(self, command: str, /, **arguments: object) -> None:
        """Give the guest agent an order that it does not answer."""
        with AgentSocket(self._file("agent.sock")) as guest:
            guest.tell(command, **arguments)

    def ssh(self, user: str, key: Path, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """One attempt to run a command over SSH; the first host key seen is trusted, and only that."""
        known = [f"UserKnownHostsFile={self._file('known_hosts')}", "StrictHostKeyChecking=accept-new"]
        bounds = ["ConnectTimeout=5", "BatchMode=yes", "IdentitiesOnly=yes", "LogLevel=ERROR", "HostKeyAlias=machine"]
        # A machine that is switched off says no farewell.
        alive = ["ServerAliveInterval=2", "ServerAliveCountMax=3"]
        settings = [f"-o{option}" for option in (*options, *known, *bounds, *alive)]
        login = ["-F", "none", "-i", str(key), "-p", str(self._port), f"{user}@127.0.0.1"]
        # The guest's shell splits the command; ours does not see it.
        return _run(["ssh", *settings, *login, command])

    def ssh_when_up(self, user: str, key: Path, command: str, *, accept: Callable[[str], bool] = lambda _: True) -> str:
        """Run a command over SSH as soon as the machine lets us in, again until its output is acceptable."""
        last = ""

        def attempt() -> bool:
            nonlocal last
            done = self.ssh(user, key, command)
            last = done.stdout if done.returncode == 0 else done.stderr
            return done.returncode == 0 and accept(last)

        self._until(attempt, "SSH", every=0.3)
        return last

    def type_on_serial(self, text: str) -> None:
        """Type on the serial console."""
        with socket.socket(socket.AF_UNIX) as console:
            console.settimeout(5)
            console.connect(str(self._file("serial.sock")))
            console.sendall(text.encode())
            # QEMU drops what has not reached the guest's FIFO when the other end leaves.
            time.sleep(0.5)

    def type_on_keyboard(self, keys: Sequence[str]) -> None:
        """Press keys of the PS/2 keyboard, named as in QEMU's sendkey, as a console's viewer would."""
        for key in keys:
            self.monitor("send-key", keys=[{"type": "qcode", "data": key}])
            time.sleep(0.1)

    # --- what there is to see

    def serial(self) -> str:
        """All that the serial console has shown since the disk was made."""
        path = self._file("serial.log")
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def wait_for_serial(self, text: str) -> None:
        """Wait until the serial console has shown a text."""
        self._until(lambda: text in self.serial(), f"{text!r} on the serial console")

    def screen_text(self) -> str:
        """What stands in the memory of the text screen, including what scrolled off its top."""
        path = self._file("vga.bin")
        self.monitor("pmemsave", val=VGA_TEXT_AT, size=VGA_TEXT_BYTES, filename=str(path))
        # Every other byte is a colour.
        return path.read_bytes()[::2].decode("cp437")

    def wait_for_screen(self, text: str) -> None:
        """Wait until the screen has shown a text."""
        self._until(lambda: text in self.screen_text(), f"{text!r} on the screen")

    def screenshot(self) -> Image.Image:
        """The picture that a VNC viewer would see."""
        path = self._file("screen.ppm")
        self.monitor("screendump", filename=str(path))
        with Image.open(path) as picture:
            return picture.convert("L")

    def plug_nic(self, mac: str) -> None:
        """Plug in another NIC, on a network of its own, while the machine runs."""
        self.monitor("netdev_add", type="user", id="late", restrict=True, net="10.9.8.0/24")
        self.monitor("device_add", driver="virtio-net-pci", netdev="late", mac=mac, bus="free")

    def packets(self) -> bytes:
        """Everything that crossed the NIC since the last start."""
        return self._file("nic.pcap").read_bytes()

    def host_keys(self) -> set[str]:
        """The host keys by which SSH knows this machine."""
        path = self._file("known_hosts")
        return {line.split(maxsplit=1)[1] for line in path.read_text().splitlines()} if path.exists() else set()

    def forget_host_keys(self) -> None:
        """Trust the next host key seen."""
        self._file("known_hosts").unlink(missing_ok=True)

    # --- how it is done

    def _until(self, happened: Callable[[], bool], what: str, *, every: float = 0.1) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        while not happened():
            if self._process is None or self._process.poll() is not None:
                raise NeverHappened(f"no {what}, the machine is off: {self._file('qemu.log').read_text()}")
            if time.monotonic() > deadline:
                raise NeverHappened(f"no {what} within {BOOT_SECONDS} s:\n{self.serial()[-2000:]}")
            time.sleep(every)

    def _hardware(self, memory_mib: int) -> list[str]:
        disk = f"file={self.disk},if=virtio,format=qcow2,cache=unsafe"
        plain = ["-nodefaults", "-no-user-config", "-display", "none", "-vga", "std"]
        slot = ["-device", "pcie-root-port,id=free"]
        return [*plain, "-machine", "q35,accel=tcg", "-m", str(memory_mib), "-drive", disk, *slot]

    def _channels(self) -> list[str]:
        log = f"logfile={self._file('serial.log')},logappend=on"
        monitor, agent, serial = (self._listening(name) for name in ("monitor", "agent", "serial"))
        port = "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"
        return [
            *("-chardev", monitor, "-mon", "chardev=monitor,mode=control"),
            *("-chardev", agent, "-device", "virtio-serial-pci", "-device", port),
            *("-chardev", f"{serial},{log}", "-serial", "chardev:serial"),
        ]

    def _network(self, address: str) -> list[str]:
        nic = f"user,id=nic,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-{address}:22"
        dump = f"filter-dump,id=dump,netdev=nic,file={self._file('nic.pcap')}"
        return ["-netdev", nic, "-device", f"virtio-net-pci,netdev=nic,mac={MAC}", "-object", dump]

    def _listening(self, name: str) -> str:
        return f"socket,id={name},path={self._file(f'{name}.sock')},server=on,wait=off"

    def _file(self, name: str) -> Path:
        return self.folder / name


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(list(command), 255, "", "no answer within 30 s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
