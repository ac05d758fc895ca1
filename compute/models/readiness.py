"""What the last look at each provider, and at the portal itself, found: whether they are ready for machines."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from portal.common.models import UidModel
from portal.hypervisors.models import Provider


class ReadinessResult(UidModel):
    """One check of a provider. ``code`` is empty where all is well; the sentences are made when somebody reads."""

    # None: of the portal itself.
    provider = models.ForeignKey(Provider, null=True, blank=True, on_delete=models.CASCADE, related_name="readiness")
    position = models.PositiveSmallIntegerField()
    step = models.CharField(max_length=30)
    code = models.CharField(max_length=40, blank=True)
    is_warning = models.BooleanField(default=False)
    data = models.JSONField(default=dict)
    checked_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["provider", "position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["provider", "position"], name="readiness_once"),
            models.UniqueConstraint(fields=["position"], condition=Q(provider=None), name="readiness_of_portal_once"),
        ]

    def __str__(self) -> str:
        return f"{self.step}: {self.code or 'ok'}"
