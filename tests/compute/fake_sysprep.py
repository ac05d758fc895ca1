"""Stand-ins for virt-sysprep and its sisters: they change an image in a way that is seen, without looking into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MARK = 0x53  # what a sealed image begins with, 512 times
SEALS = f"for image; do :; done; exec qemu-io -f qcow2 -c 'write -P {MARK} 0 512' \"$image\""
TOLD = "echo 'libguestfs: trace: sysprep: inspect_get_type = \"{}\"' >&2"
NONE = "echo 'virt-sysprep: error: no operating systems were found in the guest image' >&2; exit 1"
FAILS = "echo 'virt-sysprep: error: the file system is damaged' >&2; exit 1"


def stand_in(
    settings: Any, folder: Path, *, systems: tuple[str, ...] = ("linux",), sysprep: str = SEALS, sparsify: str = ""
) -> Path:
    """Let the portal use stand-ins that find these systems on every disk; ``sysprep`` and ``sparsify``: what they do, in the shell's words."""
    folder.mkdir(exist_ok=True)
    told = "\n".join(TOLD.format(name) for name in systems) or NONE
    scripts = {"virt-filesystems": "", "virt-sparsify": sparsify, "virt-sysprep": f"{told}\n{sysprep}"}
    for name, script in scripts.items():
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"{folder}/log"\n{script}\n')
        (folder / name).chmod(0o755)
    (folder / "vmlinuz").touch()
    settings.SYSPREP_FOLDER, settings.SYSPREP_KERNEL = str(folder), str(folder / "vmlinuz")
    return folder


def said_to(folder: Path, program: str) -> list[list[str]]:
    """With which arguments a program was started, each time."""
    log = folder / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split()[1:] for line in lines if line.split()[0] == program]
