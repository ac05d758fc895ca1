"""Networks as departments see them, the vNIC profiles by which machines use them, and who else may."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from network.choices import FORWARD_MODES, FoundKind, FoundOwner, NetworkStatus
from portal.common.models import UidModel
from portal.hypervisors.models import Provider
from tenants.models import DataCenter


class Network(UidModel):
    """A layer-2 network with its address range. ``owner`` None: the institute's own, assigned to data centers.

    One that ``is_found`` was there: what addresses it has is not known, and here it is neither changed nor removed. It is an
    engine's, or what a host has besides ours (``offered``: which kind of thing, by ``external_id`` as ``FoundNetwork`` has it),
    that a super-admin offered; it stays until that is taken back.
    """

    name = models.CharField(_("name"), max_length=64)
    owner = models.ForeignKey(DataCenter, null=True, blank=True, on_delete=models.PROTECT, related_name="networks")
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="portal_networks")
    external_id = models.CharField(max_length=100, blank=True)
    cidr = models.CharField(_("address range"), max_length=43, blank=True)
    filter_name = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=20, choices=NetworkStatus.choices, default=NetworkStatus.CREATING)
    status_at = models.DateTimeField(null=True, blank=True)
    is_found = models.BooleanField(default=False, db_default=False)
    offered = models.CharField(max_length=7, choices=FoundKind.choices, blank=True, db_default="")
    # Whether who offered it named it; else it is called what it is called there.
    is_named_here = models.BooleanField(default=False, db_default=False)
    # By it an engine reaches its hosts: machines on it could, too.
    is_management = models.BooleanField(default=False, db_default=False)
    # The engine's zone that it is in, by external id and by name.
    zone = models.CharField(max_length=100, blank=True, db_default="")
    zone_name = models.CharField(max_length=255, blank=True, db_default="")
    # The external ids of the engine's clusters that it is attached to; null: not known, and all of its zone may have it.
    clusters = models.JSONField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["name", "uid"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "name"], name="network_name_per_owner"),
            models.UniqueConstraint(
                fields=["provider", "cidr"], condition=~models.Q(cidr=""), name="network_range_per_provider"
            ),
            models.UniqueConstraint(
                fields=["provider", "external_id"], condition=models.Q(is_found=True), name="engine_network_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_silent(self) -> bool:
        """Whether its status is only what was seen before its provider fell silent."""
        return self.provider.is_silent

    def is_in(self, cluster: str) -> bool:
        """Whether machines in the engine's cluster of this external id can be on it."""
        return self.clusters is None or cluster in self.clusters


class FoundNetwork(UidModel):
    """A network on a provider, anybody's, or a bridge of its host's own, as it was last seen there.

    ``ranges``: all its address ranges in CIDR form; nothing else there can have a part of them.
    """

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="found_networks")
    kind = models.CharField(max_length=7, choices=FoundKind.choices)
    external_id = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    active = models.BooleanField(default=False)
    forward = models.CharField(max_length=20, blank=True)
    bridge = models.CharField(max_length=64, blank=True)
    ranges = models.JSONField(default=list)
    members = models.JSONField(default=list)
    owner = models.CharField(max_length=6, choices=FoundOwner.choices, blank=True)

    class Meta:
        ordering: ClassVar = ["name", "uid"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["provider", "kind", "external_id"], name="found_network_once")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def forward_title(self) -> str:
        """Where it leads, in words; the hypervisor's own word where we know none."""
        return str(FORWARD_MODES.get(self.forward, self.forward))


class VnicProfile(UidModel):
    """What a NIC may be: a network with its filter. Belongs to its network's owner. ``str`` reads its network."""

    name = models.CharField(_("name"), max_length=64)
    network = models.ForeignKey(Network, on_delete=models.CASCADE, related_name="vnic_profiles")
    external_id = models.CharField(max_length=100, blank=True, db_default="")
    # Its engine does not have it any more; it stays while a card names it.
    is_gone = models.BooleanField(default=False, db_default=False)

    class Meta:
        ordering: ClassVar = ["name", "uid"]
        constraints: ClassVar = [
            # Of an engine's the id tells them apart: names move among them.
            models.UniqueConstraint(fields=["network", "name", "external_id"], name="vnic_profile_name_per_network")
        ]

    def __str__(self) -> str:
        """With its network's name: many networks have a profile of the same name."""
        return self.network.name if self.name == self.network.name else f"{self.network.name}: {self.name}"


class NetworkAssignment(UidModel):
    """Another data center that may use a network; conveys use only."""

    network = models.ForeignKey(Network, on_delete=models.CASCADE, related_name="assignments")
    data_center = models.ForeignKey(DataCenter, on_delete=models.CASCADE, related_name="network_assignments")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["network", "data_center"], name="network_assigned_once")
        ]

    def __str__(self) -> str:
        return f"{self.network_id} -> {self.data_center_id}"
