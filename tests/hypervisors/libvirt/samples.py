"""Strings that are more than they seem, and machines to put them in."""

from __future__ import annotations

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
