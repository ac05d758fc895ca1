"""What is asked of an engine for a machine: the contract's dataclasses as the SDK's types. Pure."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from ovirtsdk4 import types

from portal.hypervisors.errors import Invalid
from portal.hypervisors.ovirt.convert import BLANK, MIB
from portal.hypervisors.ovirt.looking import engine_id
from portal.hypervisors.ovirt.marks import Mark, alias
from portal.hypervisors.specs import DiskFromTemplate, InitialRun, Marker, NicSpec, VmSpec

# The engine's defaults: sockets of one machine, and how far its memory may be raised while it runs.
MOST_SOCKETS = 16
MEMORY_GROWTH = 4
# What XML 1.0 cannot carry.
_NOT_FOR_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def vm(spec: VmSpec, *, portal_id: UUID) -> Any:
    """The machine to make; with a template's disks where it has one, else without any."""
    memory = spec.memory_mib * MIB
    return types.Vm(
        name=fit(spec.name),
        description=fit(spec.description),
        comment=Mark(Marker(portal_id, spec.uid)).text,
        cluster=types.Cluster(id=engine_id(spec.cluster)),
        template=types.Template(id=engine_id(spec.template) if spec.template else BLANK),
        memory=memory,
        # Templates have their own, which may not fit.
        memory_policy=types.MemoryPolicy(guaranteed=memory, max=memory * MEMORY_GROWTH),
        cpu=types.Cpu(topology=topology(spec.vcpus)),
        initialization=initialization(spec.initial_run) if spec.initial_run else None,
        disk_attachments=[_of_template(disk, portal_id) for disk in spec.template_disks] or None,
        display=types.Display(type=types.DisplayType.VNC),
    )


def topology(vcpus: int) -> Any:
    """As many sockets as an engine takes, with as few cores each as that needs."""
    cores = next(cores for cores in range(1, vcpus + 1) if vcpus % cores == 0 and vcpus // cores <= MOST_SOCKETS)
    return types.CpuTopology(sockets=vcpus // cores, cores=cores, threads=1)


def initialization(run: InitialRun) -> Any:
    """What cloud-init gets at the first start."""
    return types.Initialization(
        host_name=fit(run.hostname),
        user_name=fit(run.user_name) or None,
        authorized_ssh_keys=fit("\n".join(run.ssh_authorized_keys)) or None,
        regenerate_ssh_keys=True,
    )


def attachment(disk_id: str, *, is_first: bool) -> Any:
    """A disk that is there for a machine that has none of its own."""
    return types.DiskAttachment(
        disk=types.Disk(id=disk_id),
        interface=types.DiskInterface.VIRTIO_SCSI,
        bootable=is_first,
        active=True,
    )


def nic(spec: NicSpec, *, name: str, profile: str) -> Any:
    """A card."""
    return types.Nic(
        name=name,
        mac=types.Mac(address=spec.mac.lower()),
        interface=types.NicInterface.VIRTIO,
        vnic_profile=types.VnicProfile(id=profile),
        linked=True,
        plugged=True,
    )


def fit(text: str) -> str:
    """The text as it is. Raises ``Invalid`` for characters that XML cannot carry."""
    if _NOT_FOR_XML.search(text):
        raise Invalid("The text holds characters that cannot be stored (control characters).")
    return text


def _of_template(disk: DiskFromTemplate, portal_id: UUID) -> Any:
    name = alias(portal_id, disk.ref.uid)
    domain = types.StorageDomain(id=engine_id(disk.ref.storage_domain))
    return types.DiskAttachment(
        disk=types.Disk(id=engine_id(disk.source), name=name, alias=name, storage_domains=[domain])
    )
