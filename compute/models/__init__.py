from compute.models.console import Console
from compute.models.grants import (
    ImageGroupGrant,
    ImageUserGrant,
    TemplateGroupGrant,
    TemplateUserGrant,
    VmGroupGrant,
    VmUserGrant,
)
from compute.models.image import Image
from compute.models.inventory import (
    ANOTHER_PORTALS,
    Cluster,
    ClusterAssignment,
    Host,
    InstanceType,
    StorageAssignment,
    StorageDomain,
    Zone,
)
from compute.models.readiness import ReadinessResult
from compute.models.screen import Screen
from compute.models.template import Template, TemplateAssignment
from compute.models.vm import Disk, FoundVm, Nic, Vm
from compute.models.volume_offer import VolumeOffer

__all__ = [
    "ANOTHER_PORTALS",
    "Cluster",
    "ClusterAssignment",
    "Console",
    "Disk",
    "FoundVm",
    "Host",
    "Image",
    "ImageGroupGrant",
    "ImageUserGrant",
    "InstanceType",
    "Nic",
    "ReadinessResult",
    "Screen",
    "StorageAssignment",
    "StorageDomain",
    "Template",
    "TemplateAssignment",
    "TemplateGroupGrant",
    "TemplateUserGrant",
    "Vm",
    "VmGroupGrant",
    "VmUserGrant",
    "VolumeOffer",
    "Zone",
]
