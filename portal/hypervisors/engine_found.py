"""What only an engine has, as a driver finds it: its data centers and clusters, vNIC profiles, templates, instance types,
and machines whose making goes on after it was accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ZoneFound:
    """What an engine calls a data center: its clusters reach storage domains and networks of the same zone alone."""

    external_id: str
    name: str
    status: str = "up"


@dataclass(frozen=True, slots=True)
class ClusterFound:
    """A cluster of an engine. ``zone`` is the external id of the engine's data center that it is in."""

    external_id: str
    name: str
    zone: str
    arch: str = ""
    cpu_type: str = ""
    version: str = ""  # its compatibility version
    memory_overcommit_percent: int = 100


@dataclass(frozen=True, slots=True)
class VnicProfileFound:
    """A vNIC profile of an engine's network."""

    external_id: str
    name: str


@dataclass(frozen=True, slots=True)
class TemplateDiskFound:
    """A disk of an engine's template, and the storage domains (external ids) that have it."""

    external_id: str
    name: str
    size_bytes: int
    storage_domains: tuple[str, ...]
    bootable: bool = False


@dataclass(frozen=True, slots=True)
class TemplateFound:
    """A version of an engine's template. Versions of one share ``base``: the external id of the first of them.

    ``status``: "ok", "locked" or "illegal".
    """

    external_id: str
    name: str
    base: str
    version: int
    version_name: str
    description: str
    status: str
    memory_mib: int
    vcpus: int
    disks: tuple[TemplateDiskFound, ...]
    memory_min_mib: int = 0
    has_cloud_init: bool = False


@dataclass(frozen=True, slots=True)
class InstanceTypeFound:
    """An engine's instance type: sizes under a name."""

    external_id: str
    name: str
    memory_mib: int
    vcpus: int
    description: str = ""


class MakingState(StrEnum):
    """How far a machine is whose making was accepted."""

    DONE = "done"
    WORKING = "working"
    FAILED = "failed"  # and what had been made of it is gone


@dataclass(frozen=True, slots=True)
class Making:
    """How far a machine is whose making was accepted. ``percent`` where it is told; ``why``: the manager's own words.

    ``disks``: once it is done, the external ids of its disks of ours, by their uids.
    """

    state: MakingState = MakingState.DONE
    percent: int | None = None
    why: str = ""
    disks: Mapping[UUID, str] = field(default_factory=dict)
