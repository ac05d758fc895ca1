"""Consoles: a one-time right to sit at a machine's screen, and the record of sitting there."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from compute.models.vm import Vm
from portal.common.models import UidModel
from tenants.models import User


class Console(UidModel):
    """One opening of a console. The ticket is kept as a keyed hash and is spent by the first socket."""

    vm = models.ForeignKey(Vm, on_delete=models.CASCADE, related_name="consoles")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="consoles")
    protocol = models.CharField(max_length=6, default="vnc")
    ticket_hash = models.CharField(max_length=64)
    session_hash = models.CharField(max_length=64, blank=True)
    # The session that asked, so that a console ends with it also where the socket came by ticket alone.
    sealed_session = models.TextField(blank=True)
    token_uid = models.UUIDField(null=True, blank=True)
    expires_at = models.DateTimeField()
    spent_at = models.DateTimeField(null=True, blank=True)
    opened_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_reason = models.CharField(max_length=40, blank=True)
    client_address = models.CharField(max_length=45, blank=True)
    bytes_up = models.PositiveBigIntegerField(default=0)
    bytes_down = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["-created_at", "-uid"]

    def __str__(self) -> str:
        return f"{self.protocol} of {self.vm_id}"
