"""Images: uploaded files from which templates are made."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from compute.choices import ImageFormat, ImageStatus
from portal.common.models import UidModel
from tenants.models import DataCenter, User


class Image(UidModel):
    """An uploaded disk image. ``owner`` None: the institute's. Its bytes are in the spool (``compute.spool``).

    ``format`` is what the uploader said; ``sha256`` what he said too, or what was counted. ``virtual_bytes`` is known once it
    was inspected. ``reason`` says by a code why it was refused.
    """

    name = models.CharField(_("name"), max_length=64)
    owner = models.ForeignKey(DataCenter, null=True, blank=True, on_delete=models.PROTECT, related_name="images")
    uploader = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="images")
    format = models.CharField(max_length=8, choices=ImageFormat.choices)
    size_bytes = models.PositiveBigIntegerField()
    received_bytes = models.PositiveBigIntegerField(default=0)
    virtual_bytes = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=12, choices=ImageStatus.choices, default=ImageStatus.UPLOADING)
    reason = models.CharField(max_length=40, blank=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name", "uid"]
        indexes: ClassVar = [models.Index(fields=["status", "changed_at"], name="image_by_status")]

    def __str__(self) -> str:
        return self.name
