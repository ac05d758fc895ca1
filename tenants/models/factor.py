"""The second factor of a log-in: a code of six digits that an app on a telephone tells (TOTP), and codes for when it is lost."""

from __future__ import annotations

from django.db import models

from portal.common.models import UidModel
from tenants.models.user import User


class SecondFactor(UidModel):
    """A person's. ``last_step`` is the half minute whose code was taken last: none is taken twice."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="second_factor")
    sealed_secret = models.TextField()
    last_step = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"of {self.user_id}"


class RecoveryCode(UidModel):
    """Opens once, instead of a code of the app; kept as a keyed hash."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="recovery_codes")
    hash = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"of {self.user_id}"
