"""From the SDK's types to the contract's. Pure, and content with any field missing: versions differ, and so do rights.

The SDK's reader drops elements that it does not know and reads an enumeration's unknown value as None.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from ovirtsdk4 import types

from portal.hypervisors.engine_found import (
    ClusterFound,
    InstanceTypeFound,
    TemplateDiskFound,
    TemplateFound,
    VnicProfileFound,
    ZoneFound,
)
from portal.hypervisors.ovirt import statuses
from portal.hypervisors.ovirt.marks import Mark, alias_uid, is_put_on, marks
from portal.hypervisors.specs import (
    About,
    CpuFound,
    DiskFound,
    DiskRef,
    HostFound,
    NetworkFound,
    StorageDomainFound,
    VmFound,
    VolumeFound,
)

MIB = 1024**2
BLANK = "00000000-0000-0000-0000-000000000000"
_HOLDS_DISKS = {types.StorageDomainType.DATA, types.StorageDomainType.MANAGED_BLOCK_STORAGE}
_FORMATS = {types.DiskFormat.COW: "qcow2", types.DiskFormat.RAW: "raw"}
# Disks that hold what the engine keeps for itself are nobody's.
_CONTENTS = {None, types.DiskContentType.DATA, types.DiskContentType.ISO}


def key(thing: Any) -> str:
    """The id of a thing, or of a link to one; empty where there is none."""
    return str(thing.id or "") if thing is not None else ""


def known(things: Iterable[Any] | None) -> Iterator[Any]:
    """Of a list those that have an id: the SDK reads whatever stands in one as if it belonged there."""
    return (thing for thing in things or () if thing is not None and key(thing))


def about(api: Any, *, host: str) -> About:
    """Who answers, from the entry point."""
    info = api.product_info if api is not None else None
    version = info.version if info else None
    numbers = [str(part) for part in (version.major, version.minor) if part is not None] if version else []
    api_version = ".".join(numbers)
    full = (version.full_version if version else None) or api_version
    instance = (info.instance_id if info else None) or ""
    return About(
        product=(info.name if info else None) or "oVirt Engine",
        version=full or "unknown",
        api_version=api_version or "unknown",
        host_name=host,
        instance=instance,
        identity=instance,
    )


# -- where machines run


def zone(center: Any) -> ZoneFound:
    """The engine's data center."""
    return ZoneFound(key(center), center.name or "", statuses.name(center.status, "unknown"))


def cluster(one: Any) -> ClusterFound:
    """A cluster, with its processor's type and its share of memory that may be promised twice."""
    policy = one.memory_policy.over_commit if one.memory_policy else None
    return ClusterFound(
        external_id=key(one),
        name=one.name or "",
        zone=key(one.data_center),
        arch=_arch(one.cpu),
        cpu_type=(one.cpu.type or "") if one.cpu else "",
        version=_version(one.version),
        memory_overcommit_percent=int(policy.percent) if policy and policy.percent else 100,
    )


def host(one: Any) -> HostFound:
    """A host. Its free memory is what the scheduler may still give away."""
    total, free = int(one.memory or 0) // MIB, int(one.max_scheduling_memory or 0) // MIB
    return HostFound(
        external_id=key(one),
        name=one.name or "",
        status=statuses.of_host(one),
        cpus=vcpus(one.cpu),
        memory_mib=total,
        memory_free_mib=min(free, total),
        version=(one.version.full_version or "") if one.version else "",
        accelerator="kvm",
        cpu=CpuFound(model=(one.cpu.name or "") if one.cpu else "", arch=_arch(one.cpu)),
        cluster=key(one.cluster),
        addresses=tuple(_addresses(one)),
    )


def _addresses(host: Any) -> Iterator[str]:
    """What a host is known by: by it the engine reaches the host, a display's address that was set for it, its cards' own."""
    found = [host.address, host.display.address if host.display else None]
    for nic in host.nics or ():
        found += [ip.address for ip in (nic.ip, nic.ipv6) if ip]
    yield from dict.fromkeys(address for address in found if address)


def vcpus(cpu: Any) -> int:
    """How many processors a topology makes; 0 where it is not told."""
    topology = cpu.topology if cpu else None
    if topology is None:
        return 0
    return int(topology.sockets or 1) * int(topology.cores or 1) * int(topology.threads or 1)


# -- storage


def attached_statuses(centers: Iterable[Any]) -> dict[str, Any]:
    """The status that each storage domain has where it is attached; by itself it tells one only where it is not."""
    attached = (domain for center in centers for domain in known(center.storage_domains))
    return {key(domain): domain.status for domain in attached if domain.status is not None}


def storage_domain(one: Any, attached: dict[str, Any]) -> StorageDomainFound:
    """A storage domain; one for images of CDs, or for export, holds no disks."""
    free, used = int(one.available or 0), int(one.used or 0)
    centers = known([*(one.data_centers or ()), one.data_center])
    return StorageDomainFound(
        external_id=key(one),
        name=one.name or "",
        type=statuses.name(one.storage.type if one.storage else None, "unknown"),
        status=statuses.of_domain(attached.get(key(one)), one.status),
        total_bytes=free + used,
        used_bytes=used,
        free_bytes=free,
        holds_disks=one.type in _HOLDS_DISKS,
        zones=tuple(dict.fromkeys(key(center) for center in centers)),
    )


def disk_domains(disk: Any) -> tuple[str, ...]:
    """The storage domains that a disk is in."""
    several = [key(domain) for domain in known(disk.storage_domains)]
    return tuple(several or ([key(disk.storage_domain)] if disk.storage_domain else []))


def disk(one: Any, *, portal_id: UUID) -> DiskFound | None:
    """A disk of ours; None for one that is not."""
    uid = alias_uid(portal_id, one.alias or one.name)
    if uid is None:
        return None
    ref = DiskRef(uid, next(iter(disk_domains(one)), ""), key(one))
    sizes = int(one.provisioned_size or 0), int(one.actual_size or 0)
    return DiskFound(ref, key(one), *sizes, status=statuses.name(one.status, "ok"))


def volume(one: Any, *, storage_domain: str, portal_id: UUID) -> VolumeFound | None:
    """Any disk that holds a machine's data; None for the engine's own."""
    if one.content_type not in _CONTENTS:
        return None
    users = list(known(one.vms))
    return VolumeFound(
        storage_domain=storage_domain,
        external_id=key(one),
        format=_FORMATS.get(one.format, ""),
        size_bytes=int(one.provisioned_size or 0),
        allocated_bytes=int(one.actual_size or 0),
        uid=alias_uid(portal_id, one.alias or one.name),
        has_base=one.template is not None and key(one.template) != BLANK,
        users=tuple(vm.name or "" for vm in users),
        user_ids=tuple(key(vm) for vm in users),
        in_use=any(statuses.of_vm(vm)[0] in statuses.ON for vm in users),
    )


# -- networks


def attached_networks(clusters: Iterable[Any]) -> dict[str, tuple[str, ...]] | None:
    """The clusters that each network is attached to, by ids; None where clusters do not tell their networks."""
    rows = list(clusters)
    if not any(cluster.networks for cluster in rows):
        return None  # each has at least the one by which the engine reaches its hosts
    found: dict[str, tuple[str, ...]] = {}
    for cluster in rows:
        for each in known(cluster.networks):
            found[key(each)] = (*found.get(key(each), ()), key(cluster))
    return found


def network(one: Any, attached: dict[str, tuple[str, ...]] | None = None) -> NetworkFound:
    """A logical network; one for something else than machines is not active for us."""
    usages = one.usages
    return NetworkFound(
        external_id=key(one),
        name=one.name or "",
        marker=None,
        active=usages is None or types.NetworkUsage.VM in usages,
        bridge="",
        cidr="",
        uid=key(one),
        forward="bridge",
        zone=key(one.data_center),
        profiles=tuple(
            VnicProfileFound(key(each), each.name or "") for each in known(one.vnic_profiles) if _is_plain(each)
        ),
        clusters=None if attached is None else attached.get(key(one), ()),
        is_management=types.NetworkUsage.MANAGEMENT in (usages or ()),
    )


def _is_plain(profile: Any) -> bool:
    """Whether a machine's owner may be given it: not one that sees the network's whole traffic, or takes a host's own card."""
    mode = profile.pass_through.mode if profile.pass_through is not None else None
    return not profile.port_mirroring and mode in {None, types.VnicPassThroughMode.DISABLED}


# -- templates and sizes


def template(one: Any) -> TemplateFound:
    """A version of a template; the first of them is its own base."""
    version = one.version
    return TemplateFound(
        external_id=key(one),
        name=one.name or "",
        base=(key(version.base_template) if version else "") or key(one),
        version=int((version.version_number if version else None) or 1),
        version_name=(version.version_name or "") if version else "",
        description=one.description or "",
        status=statuses.name(one.status, "ok"),
        memory_mib=int(one.memory or 0) // MIB,
        vcpus=vcpus(one.cpu),
        disks=tuple(_template_disks(one)),
        memory_min_mib=_guaranteed(one),
        has_cloud_init=one.initialization is not None,
    )


def instance_type(one: Any) -> InstanceTypeFound:
    """Sizes under a name."""
    sizes = int(one.memory or 0) // MIB, vcpus(one.cpu)
    return InstanceTypeFound(key(one), one.name or "", *sizes, one.description or "")


# -- machines


def vm(one: Any, *, portal_id: UUID) -> VmFound:
    """A machine, whoever's it is."""
    status, detail = statuses.of_vm(one)
    mark = mark_of(one, portal_id=portal_id)
    return VmFound(
        external_id=key(one),
        name=one.name or "",
        marker=mark.marker if mark else None,
        status=status,
        status_detail=detail,
        memory_mib=int(one.memory or 0) // MIB,
        vcpus=vcpus(one.cpu),
        macs=tuple(mac for mac in (mac_of(nic) for nic in one.nics or ()) if mac),
        disks=tuple(key(each.disk) or key(each) for each in known(one.disk_attachments)),
        host=key(one.host),
        cluster=key(one.cluster),
        is_copy=mark is not None and not is_put_on(mark, external_id=key(one), name=one.name or ""),
        put_on=mark.pin if mark else "",
    )


def mark_of(one: Any, *, portal_id: UUID) -> Mark | None:
    """The mark that says whose a machine is: one that was put on it before one that was copied, ours before others'."""

    def rank(mark: Mark) -> tuple[bool, bool]:
        return (
            not is_put_on(mark, external_id=key(one), name=one.name or ""),
            mark.marker.portal_id != portal_id,
        )

    return min(marks(one.comment), key=rank, default=None)


def mac_of(nic: Any) -> str:
    """A card's address in lower case."""
    return str(nic.mac.address or "").lower() if nic.mac else ""


def _template_disks(one: Any) -> Iterator[TemplateDiskFound]:
    for each in one.disk_attachments or ():
        if each.disk is not None:
            yield TemplateDiskFound(
                external_id=key(each.disk),
                name=each.disk.alias or each.disk.name or "",
                size_bytes=int(each.disk.provisioned_size or 0),
                storage_domains=disk_domains(each.disk),
                bootable=bool(each.bootable),
            )


def _guaranteed(one: Any) -> int:
    return int((one.memory_policy.guaranteed if one.memory_policy else None) or 0) // MIB


def _arch(cpu: Any) -> str:
    return statuses.name(cpu.architecture).replace("undefined", "") if cpu else ""


def _version(one: Any) -> str:
    return f"{one.major}.{one.minor or 0}" if one is not None and one.major is not None else ""
