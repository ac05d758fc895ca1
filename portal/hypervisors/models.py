"""Providers (one connection to one hypervisor manager each) and the portal's own mark."""

from __future__ import annotations

from uuid import uuid4

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from portal.hypervisors.upgrades import News, identity, news_of


class ProviderStatus(models.TextChoices):
    """What the watcher last saw of a provider; ``unknown`` until it looked, or when it has not for too long."""

    UNKNOWN = "unknown", pgettext_lazy("provider", "unknown")
    UP = "up", _("up")
    UNREACHABLE = "unreachable", _("unreachable")
    DENIED = "denied", _("credentials refused")


SILENT = (ProviderStatus.UNREACHABLE, ProviderStatus.DENIED)


def silent(provider: str = "provider") -> models.Q:
    """Of rows of what providers have (``Provider.is_silent``), by the path to their provider."""
    return models.Q(**{f"{provider}__status__in": SILENT}) | models.Q(**{f"{provider}__enabled": False})


class Portal(models.Model):
    """One row: the id that marks everything this portal makes on a hypervisor.

    It lives in the database, so that a portal restored from its backup knows its own machines again, and two portals
    on one hypervisor never take each other's.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    uid = models.UUIDField(default=uuid4, editable=False)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="hypervisors_portal_single_row")]

    def __str__(self) -> str:
        return str(self.uid)


class Provider(models.Model):
    """One hypervisor manager we are connected to: a libvirt URI, or an oVirt engine."""

    uid = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    kind = models.CharField(max_length=32)
    name = models.CharField(max_length=64, unique=True)
    address = models.CharField(max_length=512)
    username = models.CharField(max_length=255, blank=True)
    ca_pem = models.TextField(blank=True)
    options = models.JSONField(default=dict, blank=True)
    # A JSON object of secrets, sealed as one text; ``connect.connection_of`` alone opens it.
    sealed_secrets = models.TextField(blank=True, editable=False)
    enabled = models.BooleanField(default=True)

    status = models.CharField(max_length=16, choices=ProviderStatus, default=ProviderStatus.UNKNOWN)
    status_at = models.DateTimeField(null=True, blank=True)
    status_detail = models.CharField(max_length=255, blank=True)
    capabilities = models.JSONField(default=dict, blank=True)
    # Who answered last (``About``), and since when in that version and instance.
    about = models.JSONField(default=dict, blank=True)
    changed_at = models.DateTimeField(null=True, blank=True)
    # The version and instance that were accepted (``upgrades``).
    accepted = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    # Since when this instance answers, and of which one the ids in the rows are: of the last that was read whole.
    instance_since = models.DateTimeField(null=True, blank=True)
    written_from = models.CharField(max_length=255, blank=True, db_default="")
    # Machines of ours that the last compare lacked and did not believe; those that were never seen on this instance.
    held = models.PositiveIntegerField(default=0, db_default=0)
    unseen = models.PositiveIntegerField(default=0, db_default=0)

    # Who watches it (``leases``): one process at a time, by database time; the fence tells an old holder from the new.
    watcher_holder = models.CharField(max_length=128, blank=True)
    watcher_fence = models.BigIntegerField(default=0)
    watcher_until = models.DateTimeField(null=True, blank=True)

    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_silent(self) -> bool:
        """Whether nothing is read from it: what it has is known as it was seen before, and may be otherwise by now."""
        return not self.enabled or self.status in SILENT

    @property
    def told(self) -> dict[str, str]:
        """Version and instance as it told them last."""
        return identity(self.about)

    @property
    def news(self) -> News | None:
        """What it became since it was accepted: then nothing is removed on it until a super-admin has looked."""
        return news_of(self.accepted, self.told)

    @property
    def is_read(self) -> bool:
        """Whether the ids in the rows are those of the instance that answers, as far as both are known."""
        return self.written_from == self.told["instance"] or not (self.written_from and self.told["instance"])
