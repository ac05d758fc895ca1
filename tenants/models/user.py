"""Who: users, local or from a directory, and their API tokens."""

from __future__ import annotations

from typing import ClassVar
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _

from portal.common.models import UidModel


class User(AbstractUser):
    """A person. Rights come from grants alone: Django's staff and superuser flags and global permissions widen nothing."""

    uid = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    display_name = models.CharField(_("name"), max_length=150, blank=True)
    language = models.CharField(_("language"), max_length=5, choices=settings.LANGUAGES, blank=True)
    theme = models.CharField(_("theme"), max_length=5, choices=[("light", _("light")), ("dark", _("dark"))], blank=True)

    REQUIRED_FIELDS: ClassVar = []

    class Meta:
        ordering: ClassVar = ["username"]

    def __str__(self) -> str:
        return self.display_name or self.username


class LoginTries(models.Model):
    """How many log-ins were tried in a window of time, by a keyed hash of the name or of the address.

    Rows, not a cache: every process counts the same tries, and forging a header resets nothing.
    """

    key = models.CharField(primary_key=True, max_length=64)
    tries = models.PositiveIntegerField(default=0)
    since = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.tries} since {self.since:%H:%M:%S}"


class ApiToken(UidModel):
    """A bearer token, shown once and stored as a keyed hash."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)
    scope = models.CharField(max_length=5, choices=[("read", _("read")), ("write", _("write"))], default="read")
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-uid"]

    def __str__(self) -> str:
        return self.name
