"""Directories (OpenLDAP, Active Directory) from which people come, and those of their groups that hold roles here."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import Group
from django.db import models
from django.utils.translation import gettext_lazy as _

from portal.common.models import UidModel


class DirectoryKind(models.TextChoices):
    """Whose ways of naming, disabling and nesting a directory follows."""

    OPENLDAP = "openldap", "OpenLDAP"
    ACTIVE_DIRECTORY = "active_directory", "Active Directory"


class Directory(UidModel):
    """One directory and how to reach it: always over TLS, by an account that may read it.

    ``name`` is the short name that log-ins may begin with (``PHYSICS\\alice``); ``domains`` are more of them, good before a
    backslash or after an at sign alike.
    """

    name = models.CharField(_("name"), max_length=32, unique=True)
    kind = models.CharField(_("kind"), max_length=16, choices=DirectoryKind.choices)
    urls = models.JSONField(_("servers"), default=list, help_text="Tried in this order.")
    starts_tls = models.BooleanField(default=False, help_text="StartTLS on ldap://; otherwise ldaps://.")
    ca_pem = models.TextField(
        blank=True, help_text="Who signed the servers' certificates; empty: the machine's own list."
    )
    bind_dn = models.CharField(max_length=512)
    sealed_password = models.TextField(blank=True, editable=False)  # ``directory.address`` alone opens it
    base_dn = models.CharField(max_length=512)
    group_base_dn = models.CharField(max_length=512, blank=True, help_text="Empty: the base of people.")
    domains = models.JSONField(default=list, blank=True)
    login_attribute = models.CharField(max_length=64, blank=True, help_text="Empty: the kind's own.")
    is_default = models.BooleanField(default=False, help_text="Whom a log-in means that names no directory.")
    enabled = models.BooleanField(_("enabled"), default=True)

    # Of the sync: when it last read the directory, what kept it from that (a code), and how many people's loss it holds back.
    brake_percent = models.PositiveSmallIntegerField(
        default=30, help_text="A sync that takes something from a larger share of the people it looks at is held."
    )
    sync_begun_at = models.DateTimeField(null=True, blank=True)
    synced_at = models.DateTimeField(null=True, blank=True)
    sync_error = models.CharField(max_length=64, blank=True)
    held_people = models.PositiveIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="directory_one_default"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class DirectoryGroup(UidModel):
    """A directory's group that holds roles here, known by its GUID; ``name`` is for display and follows the directory.

    Its ``group`` is the subject of the grants. Who is in it is what the directory said last.
    """

    directory = models.ForeignKey(Directory, on_delete=models.PROTECT, related_name="groups")
    guid = models.CharField(max_length=36)
    name = models.CharField(max_length=256)
    group = models.OneToOneField(Group, on_delete=models.CASCADE, related_name="of_directory")

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["directory", "guid"], name="directory_group_once"),
        ]

    def __str__(self) -> str:
        return self.name
