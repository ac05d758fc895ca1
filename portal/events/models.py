"""The audit log: append-only, one record per attempted change and at most one of its outcome."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.db import models

from portal.common.models import UidModel
from portal.events.codes import Outcome, Severity


class AppendOnly(TypeError):
    """Something would change or forget what the log holds. The database refuses it too (docs/decisions/0046)."""


class Events(models.QuerySet["Event"]):
    """Rows of the log: read, and added to."""

    def update(self, **kwargs: Any) -> NoReturn:
        """Refused."""
        raise AppendOnly("an event is not changed")

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        raise AppendOnly("an event is not changed")

    def delete(self) -> NoReturn:
        """Refused."""
        raise AppendOnly("an event is not deleted")

    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> Any:
        """As Django does; nothing that is there is changed by it."""
        if kwargs.get("update_conflicts"):
            raise AppendOnly("an event is not changed")
        return super().bulk_create(objs, *args, **kwargs)


class Event(UidModel):
    """Who did what to which object, by which door, and how it ended. Names are kept as they were at that time."""

    at = models.DateTimeField(auto_now_add=True)
    code = models.CharField(max_length=60)
    severity = models.CharField(max_length=8, choices=[(s.value, s.value) for s in Severity], default=Severity.NORMAL)
    outcome = models.CharField(max_length=10, choices=[(o.value, o.value) for o in Outcome])
    actor_uid = models.UUIDField(null=True, blank=True)
    actor_name = models.CharField(max_length=150)
    door = models.CharField(max_length=8)
    client_address = models.CharField(max_length=45, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    correlation_id = models.UUIDField(null=True, blank=True, help_text="The job that carries the act.")
    object_kind = models.CharField(max_length=30, blank=True)
    object_uid = models.UUIDField(null=True, blank=True)
    object_name = models.CharField(max_length=150, blank=True)
    data_center_uid = models.UUIDField(null=True, blank=True)
    message = models.CharField(max_length=500, blank=True)
    data = models.JSONField(default=dict)

    objects = Events.as_manager()

    class Meta:
        ordering: ClassVar = ["-at", "-uid"]
        indexes: ClassVar = [
            models.Index(fields=["-at", "-uid"], name="event_newest"),
            models.Index(fields=["data_center_uid", "-at"], name="event_by_data_center"),
            models.Index(fields=["object_uid", "-at"], name="event_by_object"),
            models.Index(fields=["actor_uid", "-at"], name="event_by_actor"),
            models.Index(fields=["correlation_id"], name="event_by_correlation"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.code} {self.object_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Once, when it is written."""
        if not self._state.adding and not kwargs.get("force_insert"):
            raise AppendOnly("an event is not changed")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        raise AppendOnly("an event is not deleted")
