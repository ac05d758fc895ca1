"""A disk that boots by itself, made without mounting anything: a FAT partition with syslinux, an ext4 root, qcow2.

Every tool writes into the one raw file at its partition's offset. Serial numbers, owners and times are fixed, so that
the same packages make the same disk.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from failures import BuildError
from tools import run

MIB = 1024 * 1024
SECTOR = 512
BOOT_AT = 1 * MIB
ROOT_AT = 32 * MIB
SIZE = 1024 * MIB
DISK_ID = "0x54696e79"
ROOT_UUID = "74696e79-6c69-4e75-9821-000000000001"
EPOCH = 1_700_000_000
MBR_CODE = Path("/usr/lib/syslinux/mbr/mbr.bin")
# The first 440 bytes are code; the disk's id and the partition table follow.
MBR_CODE_BYTES = 440
# tty0 comes last: it is the one that /dev/console means. Kernel messages go to both. Whether the timer's interrupt arrives is
# not tried: on an emulated processor of a busy host it comes too late for that, and after some more tries the kernel panics.
COMMAND_LINE = "console=ttyS0,115200 console=tty0 panic=10 printk.devkmsg=on no_timer_check"
SYSLINUX_CONFIG = f"DEFAULT tiny\nPROMPT 0\nLABEL tiny\n KERNEL vmlinuz\n INITRD initramfs\n APPEND {COMMAND_LINE}\n"
REMEDY = "is there room in the temporary folder? set TMPDIR to one with 300 MB"
TOOLS = ("debugfs", "mcopy", "mformat", "mke2fs", "qemu-img", "sfdisk", "syslinux")


@dataclass(frozen=True)
class Parts:
    """What the disk is made from: two files for the boot partition and the guest's root folder."""

    kernel: Path
    initramfs: Path
    root: Path


def make(parts: Parts, output: Path, *, work: Path) -> None:
    """Write the disk as qcow2 to `output`, in place of what was there, with scratch files in the folder `work`."""
    raw = work / "disk.raw"
    _partition(raw)
    _fill_boot(raw, parts, work)
    _fill_root(raw, parts.root)
    half = output.with_name(f".{output.name}.half")
    # Not compressed: the loader reads by small pieces, and unpacking a whole cluster for each costs 2 s of every start.
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, half], remedy=REMEDY)
    half.replace(output)


def _partition(raw: Path) -> None:
    with raw.open("wb") as disk:
        disk.truncate(SIZE)
    table = (
        f"label: dos\nlabel-id: {DISK_ID}\n"
        f"start={BOOT_AT // SECTOR}, size={(ROOT_AT - BOOT_AT) // SECTOR}, type=e, bootable\n"
        f"start={ROOT_AT // SECTOR}, size={(SIZE - ROOT_AT) // SECTOR}, type=83\n"
    )
    run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", raw], text=table, remedy=REMEDY)
    if not MBR_CODE.exists():
        raise BuildError(f"{MBR_CODE} is missing", "apt-get install syslinux-common")
    with raw.open("r+b") as disk:
        disk.write(MBR_CODE.read_bytes()[:MBR_CODE_BYTES])


def _fill_boot(raw: Path, parts: Parts, work: Path) -> None:
    place = f"{raw}@@{BOOT_AT}"
    config = work / "syslinux.cfg"
    config.write_text(SYSLINUX_CONFIG)
    fixed = {"SOURCE_DATE_EPOCH": str(EPOCH), "TZ": "UTC"}
    # The hidden sectors (-H) tell syslinux's code on the partition where on the disk it is.
    geometry = ["-T", str((ROOT_AT - BOOT_AT) // SECTOR), "-h", "64", "-s", "32", "-H", str(BOOT_AT // SECTOR)]
    run(["mformat", "-i", place, *geometry, "-N", "54494e59", "-v", "TINYBOOT", "::"], environment=fixed, remedy=REMEDY)
    for source, name in ((config, "syslinux.cfg"), (parts.kernel, "vmlinuz"), (parts.initramfs, "initramfs")):
        os.utime(source, (EPOCH, EPOCH))
        run(["mcopy", "-m", "-i", place, source, f"::{name}"], environment=fixed, remedy=REMEDY)
    run(["syslinux", "--install", "--offset", str(BOOT_AT), raw], environment=fixed, remedy=REMEDY)


def _fill_root(raw: Path, root: Path) -> None:
    options = f"offset={ROOT_AT},hash_seed={ROOT_UUID},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
    layout = ["-t", "ext4", "-b", "4096", "-i", "32768", "-m", "0", "-J", "size=8", "-L", "tiny-root", "-U", ROOT_UUID]
    blocks = str((SIZE - ROOT_AT) // 4096)
    fixed = {"E2FSPROGS_FAKE_TIME": str(EPOCH)}
    run(["mke2fs", "-q", "-F", *layout, "-E", options, "-d", root, raw, blocks], environment=fixed, remedy=REMEDY)
    edits = "".join(_edits("/" + str(path.relative_to(root))) for path in sorted(root.rglob("*")))
    run(["debugfs", "-w", "-f", "-", f"{raw}?offset={ROOT_AT}"], text=edits, environment=fixed, remedy=REMEDY)


def _edits(path: str) -> str:
    """debugfs commands that make root own a file, whoever built it, and fix its times."""
    times = "".join(f"sif {path} {field} @{EPOCH}\n" for field in ("atime", "ctime", "mtime", "crtime"))
    extras = "".join(f"sif {path} {field}_extra 0\n" for field in ("atime", "ctime", "mtime", "crtime"))
    return f"sif {path} uid 0\nsif {path} gid 0\n{times}{extras}"
