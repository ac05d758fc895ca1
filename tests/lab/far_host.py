"""A second hypervisor host: a libvirtd and an SSH server in a network and a file tree of their own, a cable away."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

from tests.compute.console.certificates import Authority
from tests.lab.namespace import LIBVIRT_FOLDERS, QEMU_SETTINGS
from tests.lab.servers import RealPartFailed, Server, lab_folder, new_folder, wait_until

HERE: Final = "198.18.7.1"
ADDRESS: Final = "198.18.7.2"  # of the range for such trials (RFC 2544)
SSH_PORT, TLS_PORT = 2222, 16514
# The lab's own folder lies below /run, and stays visible. What the kernel tells of interfaces is of its network alone.
ROOM: Final = """set -e
mount --make-rprivate /
mount --rbind "$1" /mnt
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/lock "$1"
mount --move /mnt "$1"
shift
for folder; do mount --bind "$FAR$folder" "$folder"; done
mkdir /run/sys
mount -t sysfs sysfs /run/sys
for part in class/net devices/virtual/net; do mount --bind "/run/sys/$part" "/sys/$part"; done
hostname far.example
ip link set lo up
echo ready
exec sleep infinity
"""


class Far(Server):
    """A server within the far host."""

    def __init__(self, folder: Path, room: int) -> None:
        super().__init__(folder)
        self.room = room

    def inside(self, *command: str) -> list[str]:
        return ["nsenter", "-t", str(self.room), "-m", "-n", "-u", *command]


class FarLogs(Far):
    name = "far-virtlogd"

    def command(self) -> Sequence[str]:
        return self.inside("/usr/sbin/virtlogd")

    def answers(self) -> bool:
        done = subprocess.run(self.inside("test", "-S", "/run/libvirt/virtlogd-sock"), check=False, timeout=10)
        return done.returncode == 0


class FarLibvirt(Far):
    """Listens on its unix socket, and by TLS."""

    name = "far-libvirtd"

    def command(self) -> Sequence[str]:
        return self.inside("/usr/sbin/libvirtd", "--listen")

    def answers(self) -> bool:
        try:
            return self.virsh("list", check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def run(self, *command: str) -> None:
        """A command on its host."""
        subprocess.run(self.inside(*command), check=True, timeout=20)

    def virsh(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Asks it from within its host."""
        command = self.inside("virsh", "-q", "-c", "qemu:///system", *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=check, timeout=20)


class FarSsh(Far):
    name = "far-sshd"

    def command(self) -> Sequence[str]:
        return self.inside("/usr/sbin/sshd", "-D", "-e", "-f", str(self.folder / "sshd_config"))

    def answers(self) -> bool:
        try:
            with socket.create_connection((ADDRESS, SSH_PORT), timeout=2) as handle:
                return handle.recv(4) == b"SSH-"
        except OSError:
            return False

    def show(self, host_key: str) -> None:
        """Start anew with another key of the host."""
        self.stop()
        settings = {
            "Port": SSH_PORT,
            "ListenAddress": ADDRESS,
            "HostKey": self.folder / host_key,
            "AuthorizedKeysFile": self.folder / "user.pub",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "PidFile": "none",
        }
        text = "".join(f"{name} {value}\n" for name, value in settings.items())
        (self.folder / "sshd_config").write_text(text)
        self.start()


class FarHost:
    """The host with its servers, one CA for both sides, and a user's SSH key."""

    def __init__(self) -> None:
        lab = lab_folder()
        if lab is None:
            raise RealPartFailed("the far host lives in the lab's namespaces: start the tests with bin/test")
        self.folder = new_folder("far")
        self.authority = Authority.make("far CA")
        for name in ("host", "other-host", "user", "stranger"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)], check=True, timeout=20
            )
        self._fill()
        self._room = self._make_room(lab)
        self._plug_in()
        self.logs, self.ssh = FarLogs(self.folder, self._room.pid), FarSsh(self.folder, self._room.pid)
        self.libvirt = FarLibvirt(self.folder, self._room.pid)

    @property
    def ssh_address(self) -> str:
        return f"qemu+ssh://root@{ADDRESS}:{SSH_PORT}/system"

    @property
    def tls_address(self) -> str:
        return f"qemu+tls://{ADDRESS}/system"

    def key(self, name: str) -> str:
        """A private key."""
        return (self.folder / name).read_text()

    def public(self, name: str) -> str:
        """The public half: type and base64."""
        return " ".join((self.folder / f"{name}.pub").read_text().split()[:2])

    def start(self) -> None:
        """All of it, in order and answering."""
        self.certify()
        self.logs.start()
        self.libvirt.start()
        self.ssh.show("host")

    def certify(self, *, days: tuple[int, int] = (-1, 30), name: str = ADDRESS) -> None:
        """Give libvirtd a certificate; it reads it at its start."""
        certificate, key = self.authority.leaf(name, days=days)
        (self.folder / "ca.pem").write_text(self.authority.pem)
        (self.folder / "server.pem").write_text(certificate)
        (self.folder / "server-key.pem").write_text(key)

    def close(self) -> None:
        for server in (self.ssh, self.libvirt, self.logs):
            server.stop()
        self._room.send_signal(signal.SIGKILL)
        self._room.wait(10)

    def _fill(self) -> None:
        """Its own copies of libvirt's folders."""
        for target in LIBVIRT_FOLDERS:
            own = self.folder / "root" / target.lstrip("/")
            if target.startswith("/etc"):
                shutil.copytree(target, own, symlinks=True)
            else:
                own.mkdir(parents=True)
        settings = {
            "listen_tls": 1, "listen_tcp": 0, "listen_addr": f'"{ADDRESS}"', "tls_port": f'"{TLS_PORT}"', "host_uuid": f'"{uuid4()}"',
            "ca_file": f'"{self.folder}/ca.pem"', "cert_file": f'"{self.folder}/server.pem"', "key_file": f'"{self.folder}/server-key.pem"',
        }  # fmt: skip
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self.folder / "root/etc/libvirt/libvirtd.conf").write_text(text)
        (self.folder / "root/etc/libvirt/qemu.conf").write_text(QEMU_SETTINGS)

    def _make_room(self, lab: Path) -> subprocess.Popen[str]:
        arguments = ["sh", "-c", ROOM, "room", str(lab), *LIBVIRT_FOLDERS]
        room = subprocess.Popen(
            ["unshare", "--mount", "--net", "--uts", *arguments],
            env=os.environ | {"FAR": str(self.folder / "root")},
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert room.stdout is not None
        if room.stdout.readline() != "ready\n":
            raise RealPartFailed("the far host has no room of its own")
        return room

    def _plug_in(self) -> None:
        pid = str(self._room.pid)
        for command in (
            ["ip", "link", "add", "far0", "type", "veth", "peer", "name", "far1", "netns", pid],
            ["ip", "address", "add", f"{HERE}/30", "dev", "far0"],
            ["ip", "link", "set", "far0", "up"],
            ["nsenter", "-t", pid, "-n", "ip", "address", "add", f"{ADDRESS}/30", "dev", "far1"],
            ["nsenter", "-t", pid, "-n", "ip", "link", "set", "far1", "up"],
        ):
            subprocess.run(command, check=True, timeout=20)
        ping = ["ping", "-c1", "-W1", ADDRESS] if shutil.which("ping") else ["true"]
        wait_until(lambda: subprocess.run(ping, capture_output=True, check=False).returncode == 0, "the cable")
