"""Strings that are more than they seem, and machines to put them in."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any
from uuid import UUID

from portal.hypervisors.libvirt.domain_xml import DiskSource, NicSource, Parts
from portal.hypervisors.specs import Marker, VmSpec

PORTAL = UUID("11111111-2222-4333-8444-555555555555")
UID = UUID("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")

MARKUP = (
    "<b>bold</b>",
    "]]></description><devices><disk type='block'/></devices><description><![CDATA[",
    "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>&a;",
    "&lt;&amp;#60;&#x3c;",
    "<?xml version='1.0'?><!-- -- -->",
    "'\" onmouseover='alert(1)'",
    "one\ntwo\r\nthree\rfour\ttab",
    "  spaces before and after  ",
    "Ελληνικά \U0001f600 \u202eright to left \u2028 \u0085 \ufffd",
    "x" * 10_000,
)
NOT_FOR_XML = ("nul \x00", "bell \x07", "escape \x1b[31m", "lone \ud800", "noncharacter \ufffe")


def spec(**more: Any) -> VmSpec:
    """A machine."""
    return replace(VmSpec(UID, "web-1-aaaaaaaa", "a machine", 256, 2, ()), **more)


def parts(**more: Any) -> Parts:
    """With one of everything."""
    disks = (DiskSource("pool", "disk.qcow2"), DiskSource("pool", "first-boot.iso", "raw", read_only=True))
    nics = (NicSource("52:54:00:00:00:01", "lan", "filter", "10.98.0.2"), NicSource("52:54:00:00:00:02", "wan"))
    base = Parts(Marker(PORTAL, UID), "tcg", "s3cret-8", disks, nics)
    return replace(base, **more)


def qcow2(*, version: int = 3, backing: str = "", features: int = 0) -> bytes:
    """The first 4 KiB of a qcow2 image: its header, and the name of the file below it."""
    at, size = (512, len(backing)) if backing else (0, 0)
    head = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", version, at, size, 16, 2**20, 0, 1, 65536, 131072, 1, 0, 0,
                       features, 0, 0, 4, 104)  # fmt: skip
    return head.ljust(512, b"\0") + backing.encode().ljust(4096 - 512, b"\0")


# What an image says that it is, and the image.
UNFIT = {
    "a backing file": ("qcow2", qcow2(backing="/etc/passwd")),
    "a backing file by description": ("qcow2", qcow2(backing='json:{"driver": "file", "filename": "/etc/passwd"}')),
    "an old one with a backing file": ("qcow2", qcow2(version=2, backing="/etc/passwd")),
    "an external data file": ("qcow2", qcow2(features=1 << 2)),
    "an unknown feature": ("qcow2", qcow2(features=1 << 40)),
    "a version to come": ("qcow2", qcow2(version=4)),
    "raw that is qcow2": ("raw", qcow2()),
    "qcow2 that is raw": ("qcow2", bytes(65536)),
    "qcow2 that is VMDK": ("qcow2", b"KDMV" + bytes(65536)),
    "qcow2 that is QED": ("qcow2", b"QED\0" + bytes(65536)),
    "a torso": ("qcow2", qcow2()[:60]),
}
