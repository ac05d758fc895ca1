"""What is good enough for machines, and what of it the rows tell already. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from portal.hypervisors.findings import Finding

SKEW_WARNS = 5
SKEW_FAILS = 300
ALMOST_FULL = 80
FULL = 90
FLAGS = {"vmx", "svm"}
MIGRATION_PORTS = "49152-49216"


@dataclass(frozen=True, slots=True)
class HostState:
    """A host as its row tells it, and the versions that others of its cluster run, by host."""

    name: str
    accelerator: str
    features: frozenset[str]
    version: str
    cluster: str
    others: dict[str, str]


@dataclass(frozen=True, slots=True)
class DomainState:
    """A storage domain as its row tells it."""

    name: str
    is_active: bool
    percent: int
    holds_disks: bool = True
    tells_use: bool = True


def graded(finding: Finding) -> Finding:
    """A look's figures judged; what it could judge itself stays."""
    if finding.step == "name_back" and finding.code == "silent":
        return replace(finding, code="names_slow", is_warning=True)
    if finding.step != "clock" or finding.code or "skew_seconds" not in finding.data:
        return finding
    seconds = abs(int(finding.data["skew_seconds"]))
    data = {"skew_seconds": str(seconds)}
    if seconds > SKEW_FAILS:
        return Finding("clock", "clock_wrong", data)
    if seconds > SKEW_WARNS:
        return Finding("clock", "clock_skewed", data, is_warning=True)
    return Finding("clock", data=data)


def known_findings(hosts: Sequence[HostState], domains: Sequence[DomainState]) -> list[Finding]:
    """What a compare has read already: accelerator, versions, migration, free space."""
    found = [_virtualization(host) for host in hosts]
    found += [_versions(host) for host in hosts]
    found += [_migration(host) for host in hosts if host.others]
    return [*found, *_disks(domains)]


def _virtualization(host: HostState) -> Finding:
    flags = ", ".join(sorted(host.features & FLAGS))
    data = {"host": host.name, "flags": flags}
    if host.accelerator == "tcg":
        return Finding("virtualization", "virtualization_off", data, is_warning=True)
    return Finding("virtualization", "" if host.accelerator else "virtualization_unknown", data)


def _versions(host: HostState) -> Finding:
    differing = sorted(f"{name} ({version})" for name, version in host.others.items() if version != host.version)
    data = {"host": host.name, "version": host.version, "others": ", ".join(differing), "cluster": host.cluster}
    return Finding("versions", "host_versions_differ" if differing else "", data, is_warning=bool(differing))


def _migration(host: HostState) -> Finding:
    """Nothing listens there until a machine moves, and then for its own host alone."""
    return Finding(
        "migration", "migration_unknown", {"ports": MIGRATION_PORTS, "others": ", ".join(sorted(host.others))}
    )


def _disks(domains: Iterable[DomainState]) -> list[Finding]:
    rows = list(domains)
    if not any(row.is_active and row.holds_disks for row in rows):
        return [Finding("disk", "disk_none")]
    return [_disk(row) for row in rows if row.tells_use]


def _disk(row: DomainState) -> Finding:
    data = {"storage_domain": row.name, "percent": str(row.percent)}
    if not row.is_active:
        return Finding("disk", "disk_inactive", data, is_warning=True)
    if row.percent >= FULL:
        return Finding("disk", "disk_full", data)
    return Finding("disk", "disk_almost_full" if row.percent >= ALMOST_FULL else "", data, is_warning=True)
