"""The dataclasses that cross the driver's edge, in both directions. Nothing of an SDK, no Django.

Sizes are in the unit their name ends with; ``uid`` is always our UUID, ``external_id`` the provider's own id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from portal.hypervisors.engine_found import ClusterFound, InstanceTypeFound, TemplateFound, VnicProfileFound, ZoneFound


class VmStatus(StrEnum):
    """Statuses of a VM under oVirt's API names (``VmStatus`` of the engine's API model), plus two of ours."""

    CREATING = "creating"  # ours: the hypervisor does not know it yet
    DOWN = "down"
    WAIT_FOR_LAUNCH = "wait_for_launch"
    POWERING_UP = "powering_up"
    UP = "up"
    REBOOT_IN_PROGRESS = "reboot_in_progress"
    POWERING_DOWN = "powering_down"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    SAVING_STATE = "saving_state"
    RESTORING_STATE = "restoring_state"
    MIGRATING = "migrating"
    IMAGE_LOCKED = "image_locked"
    NOT_RESPONDING = "not_responding"
    UNKNOWN = "unknown"  # not observed for too long; never means off or deleted


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach one provider; ``secrets`` are unsealed for this object only and never shown (``repr`` hides them)."""

    kind: str  # "libvirt", "ovirt", or a double's name
    address: str  # a libvirt URI, or an engine's URL
    portal_id: UUID  # the marker that everything we make carries
    provider_uid: UUID
    username: str = ""
    ca_pem: str = ""
    options: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)


LARGEST_SCREENSHOT = 32 * 1024 * 1024  # in bytes: a screen of 3840 x 2160 in three bytes a pixel has 24 MiB


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do; the page explains instead of failing, the contract suite leaves tests out by these alone."""

    disk_upload: bool = True
    fills_up: bool = True  # False: it keeps descriptions alone, and is never full
    disk_copy: bool = True  # can copy a disk by itself, whatever it lies over
    unread_storage: tuple[str, ...] = ()  # types of storage domains in which it reads, and so copies, no volume
    linked_clone: bool = True
    networks: bool = (
        True  # can make isolated networks with DHCP, and put cards on what else a host has (``NicSpec.offered``)
    )
    network_filters: bool = True
    first_boot_volume: bool = True  # wants ``create_first_boot``; else takes ``VmSpec.initial_run`` itself
    guest_shutdown: bool = True
    reboot: bool = True
    console_protocols: tuple[str, ...] = ("vnc",)
    screenshots: bool = False  # tells what the screen of a running machine shows
    events: bool = True
    marker: bool = True  # objects can carry our marker
    own_storage: bool = True  # can be given storage domains of this portal's own
    keeps_uids: bool = True  # a machine's uid is its id there too
    templates: bool = False  # has its own, and makes a machine with its disks from one (``VmSpec.template``)
    full_clone: bool = False  # can make such a machine's disks whole copies (``VmSpec.clone``)
    accelerated: bool = True  # False: machines are emulated (TCG), which the page says


@dataclass(frozen=True, slots=True)
class About:
    """Who answers: product and versions, for the provider's page."""

    product: str  # "QEMU", "oVirt"
    version: str
    api_version: str
    host_name: str
    instance: str = ""  # the id of this installation of the manager; empty where it tells none
    identity: str = ""  # the same by whatever address it is reached, and no other's; empty where nothing tells it


@dataclass(frozen=True, slots=True)
class Marker:
    """Whose object it is: the portal that made or adopted it, and the uid it has there."""

    portal_id: UUID
    uid: UUID


@dataclass(frozen=True, slots=True)
class VmRef:
    """A VM as both sides name it. A machine we make on libvirt has the same UUID on both."""

    uid: UUID
    external_id: str


@dataclass(frozen=True, slots=True)
class DiskRef:
    """A disk as both sides name it. ``storage_domain`` is the external id (libvirt: the pool's name)."""

    uid: UUID
    storage_domain: str
    external_id: str = ""  # empty: derive it from the uid


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """A disk to make. With ``base`` it is a linked clone over that image, at least as large."""

    uid: UUID
    storage_domain: str
    size_bytes: int
    base: DiskRef | None = None
    format: str = "qcow2"  # "qcow2" or "raw"
    base_format: str = "qcow2"


@dataclass(frozen=True, slots=True)
class DiskFound:
    """A disk as it is there now.

    ``status``: "ok", "locked" while something is done to it, or "illegal" where that failed half-way.
    """

    ref: DiskRef
    external_id: str
    size_bytes: int
    allocated_bytes: int
    status: str = "ok"


@dataclass(frozen=True, slots=True)
class VolumeRef:
    """A volume that a disk is copied from, ours or not, and the format ("qcow2", "raw") that it must have."""

    storage_domain: str
    external_id: str
    format: str


@dataclass(frozen=True, slots=True)
class VolumeFound:
    """A volume as it is there now. ``format`` is what the provider takes it for; ``uid`` is set for a disk of ours.

    ``has_base``: it lies over another one. ``users`` are the names of the machines that have it, ``user_ids`` their external
    ids; ``in_use``: one of them runs. ``is_other_portals``: it bears the mark of the disks of another portal.
    """

    storage_domain: str
    external_id: str
    format: str
    size_bytes: int
    allocated_bytes: int
    uid: UUID | None = None
    has_base: bool = False
    users: tuple[str, ...] = ()
    user_ids: tuple[str, ...] = ()
    in_use: bool = False
    is_other_portals: bool = False


@dataclass(frozen=True, slots=True)
class InitialRun:
    """First-boot data (oVirt's ``Initialization``; cloud-init's NoCloud on libvirt). Passwords are not offered."""

    hostname: str
    user_name: str = ""
    ssh_authorized_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NicSpec:
    """A network card. ``network`` is the network's external id; ``filter`` names a network filter or is empty.

    ``profile`` is the external id of an engine's vNIC profile, which stands for network and filter there.
    ``offered``: it is on what a host has besides our networks. "network": ``network`` is the uid (``NetworkFound.uid``) of one
    that bears nobody's mark; "bridge": the name of a bridge of the host's own. There the driver has a filter of its own.
    """

    uid: UUID
    mac: str
    network: str
    filter: str = ""
    profile: str = ""
    offered: str = ""


@dataclass(frozen=True, slots=True)
class DiskFromTemplate:
    """A disk that a machine gets with its template: ``source`` is the external id of the template's disk."""

    ref: DiskRef
    source: str


@dataclass(frozen=True, slots=True)
class VmSpec:
    """A VM to define. ``name`` is the provider's name (``<name, cut to 50>-<first 8 of uid>``).

    ``template`` is the external id of a template of the provider's own, whose disks come with the machine: linked, or whole
    copies where ``clone`` is said. ``cluster`` is the external id of an engine's cluster.
    """

    uid: UUID
    name: str
    description: str
    memory_mib: int
    vcpus: int
    disks: tuple[DiskRef, ...]
    nics: tuple[NicSpec, ...] = ()
    first_boot: DiskRef | None = None
    initial_run: InitialRun | None = None
    cluster: str = ""
    graphics: tuple[str, ...] = ("vnc",)
    template: str = ""
    template_disks: tuple[DiskFromTemplate, ...] = ()
    clone: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a VM. ``source``: "lease" (the network's DHCP server) or "agent" (the guest agent)."""

    mac: str
    ip: str
    source: str


@dataclass(frozen=True, slots=True)
class VmFound:
    """A VM as it is there now. ``marker`` is None when it bears no portal's mark."""

    external_id: str
    name: str
    marker: Marker | None
    status: VmStatus
    status_detail: str = ""
    memory_mib: int = 0
    vcpus: int = 0
    macs: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()  # external ids of its disks
    host: str = ""  # the external id of the host that it runs on
    accelerated: bool = True
    cluster: str = ""  # the external id of the engine's cluster that it is in
    is_copy: bool = False  # its mark is that of the machine that it was copied from
    put_on: str = ""  # how the id of the machine begins that its mark was put on, in lower case; empty: it does not say


@dataclass(frozen=True, slots=True)
class CpuFound:
    """A host's processor as its hypervisor tells it. ``features``: all that it has, its model's too; empty: not told."""

    arch: str = ""
    model: str = ""
    vendor: str = ""
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostFound:
    """A hypervisor machine."""

    external_id: str
    name: str
    status: str  # "up", "down", "non_responsive", "maintenance"
    cpus: int
    memory_mib: int
    memory_free_mib: int
    version: str
    accelerator: str  # "kvm", "tcg", or "" where unknown
    bridges: tuple[BridgeFound, ...] = ()
    cpu: CpuFound = CpuFound()
    tells_bridges: bool = False  # False: there are more, perhaps; these are the ones that networks name
    cluster: str = ""  # the external id of the engine's cluster that it is in
    addresses: tuple[str, ...] = ()  # names and addresses of an engine's host; displays listen on one of them


# The names of storage domains that portals make for themselves; the digits are the portal's.
PORTAL_POOL = re.compile(r"stegi-[0-9a-f]{8}(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class StorageDomainFound:
    """Where disks live, with its figures in bytes. ``status``: "active", "inactive", "unknown".

    With ``total_bytes`` alone how much of it is used means nothing: it has units of somebody's storage, given as they are.
    """

    external_id: str
    name: str
    type: str  # "dir", "nfs", "logical", "gluster", "iscsi" ...
    status: str
    total_bytes: int
    used_bytes: int
    free_bytes: int
    marker: Marker | None = None
    shared_source: str = ""  # what other hosts that have it too would say of it; empty: this host alone has it
    holds_disks: bool = True  # whether this driver can make disks in it
    zones: tuple[str, ...] = ()  # the external ids of the zones that it is attached to


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A NAT network of a data center. ``cidr`` in CIDR form: its first address is the gateway's, cards have the rest by DHCP.

    ``name`` is the provider's name; ``uid`` derives bridge name and filter. Machines on it reach each other and public
    addresses. They never reach the hypervisor's own services, DHCP and DNS at the gateway excepted, nor addresses in
    ``blocked`` (CIDRs); private addresses only where ``allowed`` (CIDRs) lists them.
    """

    uid: UUID
    name: str
    cidr: str
    blocked: tuple[str, ...] = ()
    domain: str = ""
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkFound:
    """A network as it is there now."""

    external_id: str
    name: str
    marker: Marker | None
    active: bool
    bridge: str
    cidr: str  # its first IPv4 range; empty where it has none
    filter: str = ""  # the network filter that a NIC on it must use
    uid: str = ""  # the provider's own id, which a name is not everywhere
    forward: str = ""  # "nat", "route", "bridge" ...; empty: it leads nowhere
    ranges: tuple[str, ...] = ()  # every range it has, of IPv4 and IPv6, in CIDR form
    zone: str = ""
    profiles: tuple[VnicProfileFound, ...] = ()  # of an engine's network; what a card on it names
    clusters: tuple[str, ...] | None = None  # the engine's that it is attached to, by external ids; None: not told
    is_management: bool = False  # by which an engine reaches its hosts


@dataclass(frozen=True, slots=True)
class BridgeFound:
    """A bridge of a host's own, which no network of the provider made."""

    name: str
    active: bool
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConsoleTarget:
    """Where a console's bytes come from, for the relay alone. Never leaves the server (``repr`` hides the password)."""

    protocol: str  # "vnc", "spice", "serial"
    host: str
    port: int
    password: str = field(default="", repr=False)
    unix_path: str = ""
    tls_ca_pem: str = ""  # set: VeNCrypt with this CA is required
    tls_hostname: str = ""
    allow_plain: bool = False  # plain VNC is allowed (loopback, or an explicit list)
    on_host: str = ""  # the external id of the host that the machine runs on, where its manager tells one


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything a provider has, read in a bounded number of calls."""

    about: About
    hosts: tuple[HostFound, ...]
    storage_domains: tuple[StorageDomainFound, ...]
    networks: tuple[NetworkFound, ...]
    vms: tuple[VmFound, ...]
    zones: tuple[ZoneFound, ...] = ()
    clusters: tuple[ClusterFound, ...] = ()
    templates: tuple[TemplateFound, ...] = ()
    instance_types: tuple[InstanceTypeFound, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to a VM over there; what, the reader looks up. ``external_id`` empty: read everything."""

    external_id: str
    what: str = ""
    at: datetime | None = None
