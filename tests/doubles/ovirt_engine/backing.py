"""What machines of the double run on: the part of a host that the engine commands.

The engine holds its lock while it calls, so each call must come back within about a second. A real backing outlives the
engine, as hosts do: after a restart on the same folder it must still know which machines run, by their ids alone.
Ids are the engine's UUIDs as text. What is not there is no error of ``stop``, ``power_button``, ``reset`` and
``remove_disk``. What cannot be done raises ``BackingFailed`` with a text for the engine's event.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


class BackingFailed(Exception):
    """The host could not do it; the text is for the engine's event."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk's volume. ``format``: "cow" (qcow2) or "raw"; ``sparse``: thin.

    ``holds``: what it has in it from the start: "tiny-linux" is that guest's system, nothing is an empty disk.
    """

    id: str
    size_bytes: int
    format: str = "cow"
    sparse: bool = True
    name: str = ""
    holds: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A network card. ``network``: the name of the engine's network; empty where it is on none."""

    mac: str
    network: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as it is to be started. ``disks``: ids, the bootable one first.

    ``initialization``: what cloud-init is given at this start, or None: host_name, user_name, root_password,
    authorized_ssh_keys, custom_script (those that were set).
    """

    id: str
    name: str
    memory_mib: int
    vcpus: int
    disks: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    initialization: dict[str, Any] | None = field(default=None)


class Backing(Protocol):
    """What the engine needs of its hosts."""

    def create_disk(self, disk: Disk, *, base: str = "") -> None:
        """Make an empty disk (but for what it ``holds``), or one that lies over the disk ``base`` (a template's)."""

    def copy_disk(self, disk: Disk, *, source: str) -> None:
        """Make a disk with all that another one holds."""

    def remove_disk(self, disk: str) -> None:
        """Remove a disk that no running machine has."""

    def start(self, machine: Machine) -> None:
        """Switch on; success where it runs already."""

    def stop(self, machine: str) -> None:
        """Cut the power."""

    def power_button(self, machine: str) -> None:
        """Ask the guest to shut down; it may ignore it."""

    def reset(self, machine: str) -> None:
        """Reset as the machine's button does; it keeps running."""

    def is_running(self, machine: str) -> bool:
        """Whether it runs now; the engine asks about twenty times a second and takes a no for *down*."""

    def display(self, machine: str) -> tuple[str, int] | None:
        """Address and port of the VNC server of a running machine."""

    def set_password(self, machine: str, password: str, *, seconds: int) -> None:
        """The password of the VNC server, good for connecting for so long."""

    def addresses(self, machine: str) -> tuple[str, ...]:
        """The IP addresses that the guest reports for its first card; none before it has booted."""

    def actual_size(self, disk: str) -> int | None:
        """The bytes that a disk takes in its storage domain; None where it cannot tell."""

    def reset_all(self) -> None:
        """Stop every machine and remove every disk."""

    def close(self) -> None:
        """The engine ends; machines go on."""
