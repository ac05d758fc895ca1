"""Sizes and durations in words. Units are KiB/MiB/GiB throughout."""

from __future__ import annotations

from django.utils.formats import number_format

KIB = 1024
MIB = 1024**2
GIB = 1024**3


def mib_text(mib: int) -> str:
    """A size given in MiB, in the largest unit that keeps it readable: 512 MiB, 2 GiB, 1.5 GiB."""
    if mib < KIB:
        return f"{number_format(mib, decimal_pos=0)} MiB"
    gib = mib / KIB
    return f"{number_format(gib, decimal_pos=0 if gib == int(gib) else 1)} GiB"


def amount_text(value: int, dimension: str) -> str:
    """A figure of a quota with its unit, which the dimension's name tells; MiB in the unit that reads best."""
    if dimension.endswith("_mib"):
        return mib_text(value)
    return f"{number_format(value)} GiB" if dimension.endswith("_gib") else str(number_format(value))


def bytes_text(size: int) -> str:
    """A size given in bytes, as ``mib_text``; below one MiB in KiB."""
    if size < MIB:
        return f"{number_format(size / KIB, decimal_pos=0)} KiB"
    return mib_text(size // MIB)
