"""A real QEMU with a VNC server and no guest."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

PASSWORD = "kanarini"  # eight letters: what VNC looks at


class QemuVnc:
    """``qemu-system-x86_64`` stopped before its first instruction, its VNC server on a free loopback port."""

    def __init__(self, folder: Path, *, name: str, password: str = "", tls: Path | None = None) -> None:
        self._qmp_path = folder / f"{name}.qmp"
        options = "127.0.0.1:0,to=99"
        arguments = ["qemu-system-x86_64", "-nodefaults", "-machine", "pc,accel=tcg", "-m", "16", "-S", "-vga", "std"]
        arguments += ["-display", "none", "-name", name, "-qmp", f"unix:{self._qmp_path},server=on,wait=off"]
        if tls is not None:
            arguments += ["-object", f"tls-creds-x509,id=tls0,dir={tls},endpoint=server,verify-peer=no"]
            arguments[-1] += ",sanity-check=no"  # or QEMU itself would not start with an expired one
            options += ",tls-creds=tls0"
        if password:
            options += ",password=on"
        self._process = subprocess.Popen([*arguments, "-vnc", options], stderr=subprocess.PIPE, text=True)
        if password:
            self.qmp("set_password", protocol="vnc", password=password)
        self.port = int(self.qmp("query-vnc")["service"])

    def qmp(self, command: str, **arguments: object) -> dict:
        """One command over QEMU's control socket."""
        with closing(self._dial()) as link, link.makefile("rw") as lines:
            json.loads(lines.readline())
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                lines.write(json.dumps(request) + "\n")
                lines.flush()
                answer = json.loads(lines.readline())
                while "event" in answer:
                    answer = json.loads(lines.readline())
        return answer["return"]

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def _dial(self) -> socket.socket:
        deadline = time.monotonic() + 20
        while True:
            link = socket.socket(socket.AF_UNIX)
            link.settimeout(20)
            try:
                link.connect(str(self._qmp_path))
            except OSError:
                link.close()
                if self._process.poll() is not None:
                    raise AssertionError(f"QEMU did not start: {self._process.communicate()[1]}") from None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return link
