"""Who: users, local or from a directory, and their API tokens."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from portal.common.actor import Bounds
from portal.common.models import UidModel
from tenants.models.data_center import DataCenter
from tenants.models.directory import Directory
from tenants.permits import EVERYTHING, LASTING, Permit


class KeptOut(models.TextChoices):
    """Why a directory does not let an account in."""

    DISABLED = "disabled", pgettext_lazy("account", "disabled")
    EXPIRED = "expired", _("expired")
    LOCKED = "locked", _("locked after wrong passwords")
    MUST_CHANGE = "must_change", _("must change its password first")
    PASSWORD_EXPIRED = "password_expired", _("its password has expired")
    GONE = "gone", _("no longer there")
    GROUPS = "groups", _("is in more groups than are read")
    DIRECTORY = "directory", _("its directory is disabled here")
    UNASKED = "unasked", _("its directory was disabled here and is to be asked again first")


class User(AbstractUser):
    """A person. Rights come from grants alone: Django's staff and superuser flags and global permissions widen nothing.

    Whoever comes from a directory is known by its GUID there; his ``username`` begins with the directory's name and a
    backslash, which no local account's can hold.
    """

    uid = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    display_name = models.CharField(_("name"), max_length=150, blank=True)
    language = models.CharField(_("language"), max_length=5, choices=settings.LANGUAGES, blank=True)
    theme = models.CharField(_("theme"), max_length=5, choices=[("light", _("light")), ("dark", _("dark"))], blank=True)
    directory = models.ForeignKey(Directory, null=True, blank=True, on_delete=models.PROTECT, related_name="users")
    guid = models.CharField(max_length=36, blank=True)
    # Why the directory keeps an account out; what a super-admin disabled stays disabled without a reason here.
    kept_out = models.CharField(max_length=24, blank=True, choices=KeptOut.choices)

    # The account of a data center's own tokens, by which nobody logs in with a password.
    service_of = models.ForeignKey(DataCenter, null=True, blank=True, on_delete=models.PROTECT, related_name="+")

    REQUIRED_FIELDS: ClassVar = []

    class Meta:
        ordering: ClassVar = ["username"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["directory", "guid"],
                condition=models.Q(directory__isnull=False),
                name="user_once_per_directory",
            ),
        ]

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
    """A bearer token, shown once and stored as a keyed hash.

    ``permits`` None: all that its user holds but for ``LASTING``; with ``EVERYTHING`` these too. ``chosen``: the objects that it is for, each with kind, id and the name it
    had when the token was made; empty: all that its user reaches.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)
    scope = models.CharField(max_length=5, choices=[("read", _("read")), ("write", _("write"))], default="read")
    permits = models.JSONField(null=True, blank=True)
    chosen = models.JSONField(default=list, blank=True, db_default=models.Value([], models.JSONField()))
    maker_name = models.CharField(max_length=150, blank=True, db_default="")
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-uid"]

    def __str__(self) -> str:
        return self.name

    @property
    def bounds(self) -> Bounds:
        """To what it keeps whoever acts by it."""
        objects = frozenset(UUID(one["id"]) for one in self.chosen)
        named = frozenset(Permit) - LASTING if self.permits is None else frozenset(self.permits)
        return Bounds(None if EVERYTHING in named else named, objects or None)
