"""How data centers, clusters, hosts, networks and vNIC profiles are written."""

from __future__ import annotations

from uuid import NAMESPACE_OID, uuid5

from tests.doubles.ovirt_engine.bodies import storage
from tests.doubles.ovirt_engine.shape import BASE, Item, Many, Ref, Sub, Tree
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World

CLUSTER_ACTIONS = ("resetemulatedmachine", "upgrade", "syncallnetworks", "refreshglusterhealstatus")
HOST_ACTIONS = (
    "activate", "approve", "commitnetconfig", "copyhostnetworks", "deactivate", "enrollcertificate", "fence",
    "forceselectspm", "install", "iscsidiscover", "iscsilogin", "refresh", "setupnetworks", "syncallnetworks",
    "unregisteredstoragedomainsdiscover", "upgrade", "upgradecheck",
)  # fmt: skip


def version(text: str) -> Tree:
    """The level of compatibility ``4.7`` as an element."""
    major, minor = text.split(".")[:2]
    return {"major": int(major), "minor": int(minor)}


def _near(world: World, kind: str, zone: str) -> list[Record]:
    return [record for record in world.all(kind) if record["data_center"] == zone]


def clusters_of(world: World, zone: str) -> list[Item]:
    return [("cluster", cluster(world, record)) for record in _near(world, "clusters", zone)]


def networks_of(world: World, zone: str) -> list[Item]:
    return [("network", network(world, record)) for record in _near(world, "networks", zone)]


def domains_of(world: World, zone: str) -> list[Item]:
    """The storage domains of a data center, with their status there."""
    found = _near(world, "storagedomains", zone)
    return [("storage_domain", storage.storage_domain(world, record, zone=zone)) for record in found]


def quotas_of(world: World, zone: str) -> list[Item]:
    return [("quota", quota(record)) for record in _near(world, "quotas", zone)]


def quota(record: Record) -> Tree:
    zone = record["data_center"]
    return {
        "@href": f"{BASE}/datacenters/{zone}/quotas/{record['id']}",
        "@id": record["id"],
        "name": record["name"],
        "description": record["description"],
        "cluster_hard_limit_pct": record["cluster_hard"],
        "cluster_soft_limit_pct": record["cluster_soft"],
        "data_center": Ref("datacenters", zone),
        "storage_hard_limit_pct": record["storage_hard"],
        "storage_soft_limit_pct": record["storage_soft"],
        "permissions": Sub("permissions"),
        "quota_cluster_limits": Sub("quotaclusterlimits"),
        "quota_storage_limits": Sub("quotastoragelimits"),
    }


def statistics_of(world: World, key: str) -> list[Item]:
    """A host's figures of the moment."""
    record = world.find("hosts", key)
    if record is None:
        return []
    taken = sum(vm["memory"] for vm in world.store.of("vms").values() if vm["host"] == key)
    figures = {
        "memory.total": (record["memory"], "bytes", "integer"), "memory.used": (taken, "bytes", "integer"),
        "memory.free": (max(0, record["memory"] - taken), "bytes", "integer"),
        "cpu.current.user": (5.0, "percent", "decimal"), "cpu.current.system": (2.0, "percent", "decimal"),
        "cpu.current.idle": (93.0, "percent", "decimal"), "cpu.load.avg.5m": (0.7, "percent", "decimal"),
        "boot.time": (int(record["boot_time"]), "none", "integer"),
    }  # fmt: skip
    return [("statistic", _statistic(record, name, *figure)) for name, figure in figures.items()]


def host_nics(world: World, key: str) -> list[Item]:
    """A host's cards: one, with an address that is kept for examples (RFC 5737, RFC 3849)."""
    hosts = [one["id"] for one in world.all("hosts")]
    if key not in hosts:
        return []
    number, uid = hosts.index(key) % 250 + 1, str(uuid5(NAMESPACE_OID, f"{key} eno1"))
    v4 = {"address": f"192.0.2.{number}", "gateway": "192.0.2.254", "netmask": "255.255.255.0", "version": "v4"}
    v6 = {"address": f"2001:db8::{number}", "gateway": "2001:db8::fe", "netmask": "64", "version": "v6"}
    tree = {
        "@href": f"{BASE}/hosts/{key}/nics/{uid}", "@id": uid, "@actions": (), "name": "eno1",
        "boot_protocol": "static", "bridged": True, "custom_configuration": False, "ip": v4, "ipv6": v6,
        "ipv6_boot_protocol": "autoconf", "mac": {"address": f"52:54:00:00:00:{number:02x}"}, "mtu": 1500,
        "status": "up", "host": Ref("hosts", key),
    }  # fmt: skip
    return [("host_nic", tree)]


def _statistic(owner: Record, name: str, value: float, unit: str, kind: str) -> Tree:
    key = str(uuid5(NAMESPACE_OID, name))
    return {
        "@href": f"{BASE}/hosts/{owner['id']}/statistics/{key}",
        "@id": key,
        "name": name,
        "description": name,
        "kind": "gauge",
        "type": kind,
        "unit": unit,
        "values": Many("value", [{"datum": value}]),
        "host": Ref("hosts", owner["id"]),
    }


def profiles_of(world: World, key: str) -> list[Item]:
    found = [record for record in world.all("vnicprofiles") if record["network"] == key]
    return [("vnic_profile", vnic_profile(world, record)) for record in found]


def cluster_networks(world: World, key: str) -> list[Item]:
    """The networks that a cluster has, with their status there."""
    found = world.find("clusters", key)
    here = [record for record in world.all("networks") if found and key in record["clusters"]]
    return [("network", network(world, record, cluster=key)) for record in here]


def data_center(world: World, record: Record) -> Tree:
    return {
        "@href": f"{BASE}/datacenters/{record['id']}",
        "@id": record["id"],
        "@actions": ("cleanfinishedtasks", "setmaster"),
        "name": record["name"],
        "description": record["description"],
        "comment": record["comment"],
        "local": False,
        "quota_mode": record.get("quota_mode") or world.settings.quota_mode,
        "status": record["status"],
        "storage_format": "v5",
        "supported_versions": Many("version", [version(record["version"])]),
        "version": version(record["version"]),
        "clusters": Sub("clusters", clusters_of),
        "iscsi_bonds": Sub("iscsibonds"),
        "mac_pool": Ref("macpools", record["mac_pool"]),
        "networks": Sub("networks", networks_of),
        "permissions": Sub("permissions"),
        "qoss": Sub("qoss"),
        "quotas": Sub("quotas", quotas_of),
        "storage_domains": Sub("storagedomains", domains_of),
    }


def cluster(world: World, record: Record) -> Tree:
    new = world.settings.version >= "4.4"
    return {
        "@href": f"{BASE}/clusters/{record['id']}",
        "@id": record["id"],
        "@actions": CLUSTER_ACTIONS,
        "name": record["name"],
        "description": record["description"],
        "comment": record["comment"],
        "ballooning_enabled": True,
        "bios_type": "q35_sea_bios" if new else None,
        "cpu": {"architecture": record["architecture"], "type": record["cpu_type"]},
        "error_handling": {"on_error": "migrate"},
        "fips_mode": "disabled" if new else None,
        "firewall_type": "firewalld",
        "gluster_service": False,
        "ha_reservation": False,
        "ksm": {"enabled": True, "merge_across_nodes": True},
        "log_max_memory_used_threshold": 95,
        "log_max_memory_used_threshold_type": "percentage",
        "memory_policy": {
            "over_commit": {"percent": record["overcommit"]}, "transparent_hugepages": {"enabled": True},
        },
        "migration": {"auto_converge": "inherit", "compressed": "inherit"},
        "required_rng_sources": Many("required_rng_source", ["urandom"]),
        "switch_type": "legacy",
        "threads_as_cores": False,
        "trusted_service": False,
        "tunnel_migration": False,
        "version": version(record["version"]),
        "virt_service": True,
        "vnc_encryption": world.settings.vnc_encryption if new else None,
        "affinity_groups": Sub("affinitygroups"),
        "cpu_profiles": Sub("cpuprofiles"),
        "data_center": Ref("datacenters", record["data_center"]),
        "enabled_features": Sub("enabledfeatures"),
        "external_network_providers": Sub("externalnetworkproviders"),
        "gluster_hooks": Sub("glusterhooks"),
        "gluster_volumes": Sub("glustervolumes"),
        "mac_pool": Ref("macpools", record["mac_pool"]),
        "network_filters": Sub("networkfilters"),
        "networks": Sub("networks", cluster_networks),
        "permissions": Sub("permissions"),
        "scheduling_policy": Ref("schedulingpolicies", record["scheduling_policy"]),
    }  # fmt: skip


def host(world: World, record: Record) -> Tree:
    running = [vm for vm in world.store.of("vms").values() if vm["host"] == record["id"]]
    return {
        "@href": f"{BASE}/hosts/{record['id']}",
        "@id": record["id"],
        "@actions": HOST_ACTIONS,
        "name": record["name"],
        "comment": record["comment"],
        **_hardware(record),
        "port": 54321,
        "power_management": {"automatic_pm_enabled": True, "enabled": False, "kdump_detection": True},
        "protocol": "stomp",
        "se_linux": {"mode": "enforcing"},
        "spm": {"priority": 5, "status": "spm" if record["spm"] else "none"},
        "ssh": {"fingerprint": "SHA256:nNTNXVUHu8sM6t4a2W+y/ZpnsvpFeXvS088wBRBz+qY", "port": 22},
        "status": record["status"],
        "summary": {"active": len(running), "migrating": 0, "total": len(running)},
        "transparent_hugepages": {"enabled": True},
        "type": "ovirt_node",
        "update_available": False,
        "version": {"build": 6, "full_version": "vdsm-4.50.3.4-1.el9", "major": 4, "minor": 50, "revision": 3},
        "vgpu_placement": "consolidated",
        "affinity_labels": Sub("affinitylabels"),
        "cluster": Ref("clusters", record["cluster"]),
        "devices": Sub("devices"),
        "hooks": Sub("hooks"),
        "katello_errata": Sub("katelloerrata"),
        "network_attachments": Sub("networkattachments"),
        "nics": Sub("nics", host_nics),
        "permissions": Sub("permissions"),
        "statistics": Sub("statistics", statistics_of),
        "tags": Sub("tags"),
        "unmanaged_networks": Sub("unmanagednetworks"),
    }


def _hardware(record: Record) -> Tree:
    return {
        "address": record["address"],
        "auto_numa_status": "unknown",
        "certificate": {"organization": "institute.example", "subject": f"O=institute.example,CN={record['address']}"},
        "cpu": {
            "name": "Intel Xeon Processor (Skylake)", "speed": 2100.0,
            "topology": {"cores": record["cores"], "sockets": record["sockets"], "threads": record["threads"]},
            "type": "Intel Skylake Server Family",
        },
        "device_passthrough": {"enabled": False},
        "external_status": "ok",
        "hardware_information": {
            "family": "Rack", "manufacturer": "Paper", "product_name": "Sheet A4", "serial_number": record["id"],
            "uuid": record["id"], "version": "1",
        },
        "iscsi": {"initiator": f"iqn.1994-05.com.redhat:{record['name']}"},
        "kdump_status": "disabled",
        "ksm": {"enabled": False},
        "libvirt_version": {"build": 0, "full_version": "libvirt-8.0.0-2", "major": 8, "minor": 0, "revision": 0},
        "max_scheduling_memory": int(record["memory"] * 0.95),
        "memory": record["memory"],
        "numa_supported": False,
        "os": {
            "custom_kernel_cmdline": "", "reported_kernel_cmdline": "ro", "type": "RHEL",
            "version": {"full_version": "9.2 - 1.el9", "major": 9, "minor": 2},
        },
    }  # fmt: skip


def network(world: World, record: Record, *, cluster: str = "") -> Tree:
    """A network; ``cluster``: as the cluster of this id has it, with its status there."""
    here = f"{BASE}/clusters/{cluster}/networks" if cluster else f"{BASE}/networks"
    usages = ["vm", "display", "management"] if record["management"] else ["vm"]
    return {
        "@href": f"{here}/{record['id']}",
        "@id": record["id"],
        "name": record["name"],
        "description": record["description"],
        "comment": record["comment"],
        "display": record["management"] if cluster else None,
        "mtu": record["mtu"],
        "port_isolation": False if world.settings.version >= "4.4" else None,
        "required": record["required"] if cluster else None,
        "status": record["status"] if cluster else None,
        "stp": False,
        "usages": Many("usage", usages),
        "vdsm_name": record["name"] if world.settings.version >= "4.4" else None,
        "vlan": {"@id": str(record["vlan"])} if record["vlan"] else None,
        "cluster": Ref("clusters", cluster) if cluster else None,
        "data_center": Ref("datacenters", record["data_center"]),
        "network_labels": None if cluster else Sub("networklabels"),
        "permissions": Sub("permissions"),
        "vnic_profiles": None if cluster else Sub("vnicprofiles", profiles_of),
    }


def vnic_profile(world: World, record: Record) -> Tree:
    return {
        "@href": f"{BASE}/vnicprofiles/{record['id']}",
        "@id": record["id"],
        "name": record["name"],
        "description": record["description"],
        "comment": record["comment"],
        "pass_through": {"mode": "disabled"},
        "port_mirroring": False,
        "network": Ref("networks", record["network"]),
        "network_filter": Ref("networkfilters", record["network_filter"]),
        "permissions": Sub("permissions"),
    }
