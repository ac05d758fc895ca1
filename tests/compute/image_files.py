"""Disk images for tests: sound ones, and such as somebody would make who wants the host's files."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

MIB = 1024**2
SECRET = "/etc/passwd"


def sound(folder: Path, *, kind: str = "qcow2", mib: int = 8, filled_kib: int = 300) -> bytes:
    """An image with something on it."""
    raw, made = folder / "disk.raw", folder / f"disk.{kind}"
    raw.write_bytes(os.urandom(filled_kib * 1024))
    os.truncate(raw, mib * MIB)
    if kind != "raw":
        qemu_img("convert", "-f", "raw", "-O", kind, str(raw), str(made))
    return made.read_bytes()


def qemu_img(*arguments: str) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)


def backing_file(folder: Path) -> bytes:
    made = folder / "over.qcow2"
    qemu_img("create", "-u", "-f", "qcow2", "-b", SECRET, "-F", "raw", str(made), "1M")
    return made.read_bytes()


def data_file(folder: Path) -> bytes:
    made = folder / "head.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={folder / 'data.raw'}", str(made), "1M")
    return made.read_bytes()


def unknown_features(folder: Path) -> bytes:
    data = bytearray(sound(folder))
    data[72:80] = struct.pack(">Q", 1 << 40)
    return bytes(data)


def encrypted(folder: Path) -> bytes:
    data = bytearray(sound(folder))
    data[32:36] = struct.pack(">I", 1)
    return bytes(data)


def version_one(folder: Path) -> bytes:
    data = bytearray(sound(folder))
    data[4:8] = struct.pack(">I", 1)
    return bytes(data)


def vmdk_descriptor(_folder: Path) -> bytes:
    text = f'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "{SECRET}" 0\n'
    return text.encode().ljust(4096, b"\0")


def other_format(name: str) -> Callable[[Path], bytes]:
    def made(folder: Path) -> bytes:
        return sound(folder, kind=name)

    return made


def endless_vmdk(folder: Path) -> bytes:
    """A head that says its description is far away."""
    data = bytearray(sound(folder, kind="vmdk"))
    data[28:36] = struct.pack("<Q", 1 << 40)
    return bytes(data)


def qed(_folder: Path) -> bytes:
    return (b"QED\0" + struct.pack("<IIIQQQQQ", 65536, 4, 1, 0, 0, 0, 65536, MIB)).ljust(65536, b"\0")


def json_name(_folder: Path) -> bytes:
    return b'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/passwd"}}'.ljust(1024, b"\0")


def truncated(folder: Path) -> bytes:
    data = sound(folder)
    return data[: len(data) - 128 * 1024]


def head_alone(folder: Path) -> bytes:
    return sound(folder)[:64]


def huge(folder: Path) -> bytes:
    """Little bytes that say they are a disk of 8 TiB."""
    made = folder / "huge.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", "cluster_size=2M", str(made), "8T")
    return made.read_bytes()


def wrong_table(folder: Path) -> bytes:
    """Its table of tables is far beyond its end."""
    data = bytearray(sound(folder))
    data[40:48] = struct.pack(">Q", 1 << 40)
    return bytes(data)


def repeated(folder: Path) -> bytes:
    """A bomb: every cluster of a large disk is the same one of the file."""
    made = folder / "bomb.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", "cluster_size=64k", str(made), "512M")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 1 0 64k", str(made)], check=True, capture_output=True)
    data = bytearray(made.read_bytes())
    (l1,) = struct.unpack_from(">Q", data, 40)
    (l2,) = struct.unpack_from(">Q", data, l1)
    l2 &= 0x00FFFFFFFFFFFE00
    (cluster,) = struct.unpack_from(">Q", data, l2)
    data[l2 : l2 + 65536] = struct.pack(">Q", cluster) * 8192
    return bytes(data)


def unpacked_for_ever(folder: Path) -> bytes:
    """Not 400 KiB that unpack to 64 GiB of zeros: little to write, and much to do."""
    made = folder / "packed.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", "cluster_size=64k", str(made), "64G")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -c -P 0 0 64k", str(made)], check=True, capture_output=True)
    data = bytearray(made.read_bytes())
    (count, l1) = struct.unpack_from(">IQ", data, 36)
    (table,) = struct.unpack_from(">Q", data, l1)
    l2 = table & 0x00FFFFFFFFFFFE00
    data[l2 : l2 + 65536] = data[l2 : l2 + 8] * 8192
    data[l1 : l1 + 8 * count] = struct.pack(">Q", table) * count
    return bytes(data)


def counted_in_memory(path: Path, *, mib: int) -> None:
    """A file of holes whose clusters, of the smallest size and with the largest counts, are counted in so much memory."""
    qemu_img("create", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=64", str(path), "1M")
    os.truncate(path, mib * 64 * MIB)  # eight bytes for each 512


def petabyte(folder: Path) -> bytes:
    """Not 200 KiB that say they are a disk of 1 PiB."""
    data = bytearray(sound(folder, filled_kib=64))
    data[24:32] = struct.pack(">Q", 1 << 50)
    return bytes(data)


def million_entries(folder: Path) -> bytes:
    """Its table of tables is said to have a million entries."""
    data = bytearray(sound(folder))
    data[36:40] = struct.pack(">I", 10**6)
    return bytes(data)


def packed(folder: Path) -> bytes:
    """A bomb in a bomb: what unpacks it, unpacks it again."""
    return gzip.compress(gzip.compress(bytes(64 * MIB)))


def hybrid(_folder: Path) -> bytes:
    """A CD that is a disk with partitions too, as installers come."""
    data = bytearray(MIB)
    data[446:462] = struct.pack("<BBBBBBBBII", 0x80, 0, 2, 0, 0x17, 0, 32, 0, 0, 2048)
    data[510:512] = b"\x55\xaa"
    data[0x8000:0x8006] = b"\x01CD001"
    return bytes(data)


BOMBS: dict[str, tuple[Callable[[Path], bytes], str, str]] = {
    "a petabyte": (petabyte, "qcow2", "too_large"),
    "a million entries": (million_entries, "qcow2", "broken"),
    "packed twice": (packed, "qcow2", "format"),
    "CD and disk": (hybrid, "raw", "foreign_format"),
}


# What is made, what it is said to be, and why it is refused.
HOSTILE: dict[str, tuple[Callable[[Path], bytes], str, str]] = {
    "backing file": (backing_file, "qcow2", "backing_file"),
    "backing file said to be raw": (backing_file, "raw", "format"),
    "data file": (data_file, "qcow2", "data_file"),
    "unknown features": (unknown_features, "qcow2", "unknown_features"),
    "version 1": (version_one, "qcow2", "unknown_features"),
    "encrypted": (encrypted, "qcow2", "encrypted"),
    "VMDK descriptor": (vmdk_descriptor, "qcow2", "foreign_format"),
    "VMDK descriptor said to be raw": (vmdk_descriptor, "raw", "foreign_format"),
    "VMDK": (other_format("vmdk"), "raw", "foreign_format"),
    "VMDK whose description is far away": (endless_vmdk, "raw", "foreign_format"),
    "VDI": (other_format("vdi"), "raw", "foreign_format"),
    "VHDX": (other_format("vhdx"), "raw", "foreign_format"),
    "VHD": (other_format("vpc"), "raw", "foreign_format"),
    "QED": (qed, "qcow2", "foreign_format"),
    "letter": (lambda _folder: b"Dear all", "raw", "no_disk"),
    "json: as bytes": (json_name, "qcow2", "format"),
    "raw said to be qcow2": (lambda folder: sound(folder, kind="raw"), "qcow2", "format"),
    "qcow2 said to be raw": (sound, "raw", "format"),
    "truncated": (truncated, "qcow2", "broken"),
    "head alone": (head_alone, "qcow2", "format"),
    "huge": (huge, "qcow2", "too_large"),
    "table beyond the end": (wrong_table, "qcow2", "broken"),
    "bomb": (repeated, "qcow2", "broken"),
}
