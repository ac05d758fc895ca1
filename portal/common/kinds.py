"""How kinds of hypervisor are called where people read of them."""

from __future__ import annotations

TITLES = {"libvirt": "libvirt", "ovirt": "oVirt"}


def kind_title(kind: str) -> str:
    """Its name; of one that is not known the word for it in the code."""
    return TITLES.get(kind, kind)
