"""The ledger's rows. Only ``tenants.quota`` writes them."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from portal.common.models import UidModel
from tenants.models.data_center import DataCenter


class Dimension(models.TextChoices):
    """What is limited. Sizes in MiB and GiB as the name says."""

    VCPUS_RUNNING = "vcpus_running", _("vCPUs running")
    MEMORY_RUNNING_MIB = "memory_running_mib", _("memory running")
    VCPUS_DEFINED = "vcpus_defined", _("vCPUs defined")
    MEMORY_DEFINED_MIB = "memory_defined_mib", _("memory defined")
    STORAGE_GIB = "storage_gib", _("storage")
    MACHINES = "machines", _("machines")
    SNAPSHOTS = "snapshots", _("snapshots")
    ADDRESSES = "addresses", _("addresses")


class Enforcement(models.TextChoices):
    """oVirt's quota modes."""

    DISABLED = "disabled", _("disabled")
    AUDIT = "audit", _("audit")
    ENFORCED = "enforced", _("enforced")


class SubjectKind(models.TextChoices):
    """Whose share an account is: the whole data center's, a user's or a group's within it."""

    DATA_CENTER = "data_center", _("data center")
    USER = "user", _("user")
    GROUP = "group", _("group")


def group_uid(pk: int) -> UUID:
    """The uid by which the ledger knows a group, of which Django counts the keys."""
    return UUID(int=pk)


class QuotaAccount(UidModel):
    """Limit and use of one dimension, for a data center or for a user or group within it.

    ``limit`` None is unlimited; use is counted all the same, so that a limit set later is true from its first moment.
    """

    data_center = models.ForeignKey(DataCenter, on_delete=models.CASCADE, related_name="quota_accounts")
    subject_kind = models.CharField(max_length=12, choices=SubjectKind.choices, default=SubjectKind.DATA_CENTER)
    subject_uid = models.UUIDField(help_text="The data center's, user's or group's uid.")
    dimension = models.CharField(max_length=20, choices=Dimension.choices)
    limit = models.PositiveBigIntegerField(null=True, blank=True)
    used = models.BigIntegerField(default=0)
    threshold_percent = models.PositiveSmallIntegerField(default=80)
    grace_percent = models.PositiveSmallIntegerField(default=0)
    enforcement = models.CharField(max_length=8, choices=Enforcement.choices, default=Enforcement.ENFORCED)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["data_center", "subject_kind", "subject_uid", "dimension"], name="quota_one_account"
            ),
            models.CheckConstraint(condition=Q(used__gte=0), name="quota_used_not_negative"),
        ]
        ordering: ClassVar = ["data_center_id", "subject_kind", "subject_uid", "dimension"]

    def __str__(self) -> str:
        return f"{self.subject_kind} {self.dimension}: {self.used}/{self.limit}"

    @property
    def ceiling(self) -> int:
        """What is accepted at most: the limit and its grace. 0 when unlimited."""
        limit = self.limit or 0
        return limit + limit * self.grace_percent // 100

    @property
    def threshold(self) -> int:
        """Past this much it is time to warn. 0 when unlimited."""
        return (self.limit or 0) * self.threshold_percent // 100


class QuotaCharge(UidModel):
    """What one thing costs in one dimension; keyed by its consumer, so that charging twice counts once."""

    data_center = models.ForeignKey(DataCenter, on_delete=models.CASCADE, related_name="quota_charges")
    consumer_kind = models.CharField(max_length=30)
    consumer_uid = models.UUIDField()
    dimension = models.CharField(max_length=20, choices=Dimension.choices)
    amount = models.PositiveBigIntegerField()
    user_uid = models.UUIDField(null=True, blank=True, help_text="Whose share it comes from besides the data center's.")
    accounts = models.ManyToManyField(QuotaAccount, related_name="charges", help_text="On which it is booked.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["consumer_kind", "consumer_uid", "dimension"], name="quota_one_charge"),
        ]
        indexes: ClassVar = [models.Index(fields=["data_center", "dimension"], name="charge_by_data_center")]

    def __str__(self) -> str:
        return f"{self.consumer_kind} {self.consumer_uid} {self.dimension} {self.amount}"
