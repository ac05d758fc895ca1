"""What every model of ours starts from, and the version row by which rights reach open sockets."""

from __future__ import annotations

from typing import ClassVar
from uuid import uuid4

from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils import timezone


class UidModel(models.Model):
    """A row known by a UUID of ours, with the time it was made."""

    uid = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True


class AccessVersion(models.Model):
    """A number per user that goes up whenever that user's rights may have changed; open sockets compare it."""

    user_uid = models.UUIDField(primary_key=True)
    version = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.user_uid}: {self.version}"


class Session(AbstractBaseSession):
    """A browser's log-in (``portal.common.sessions``): whose, since when, last used when, from where and by what."""

    uid = models.UUIDField(unique=True, default=uuid4, editable=False)
    user_uid = models.UUIDField(null=True, db_index=True)
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now, db_index=True)
    client_address = models.CharField(max_length=45, blank=True)
    browser = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return f"of {self.user_uid} since {self.started_at:%Y-%m-%d %H:%M}"


class KeptForm(models.Model):
    """A form that was not sent to its end (``portal.common.kept_forms``): whose, which, and sealed what was typed into it."""

    user_uid = models.UUIDField()
    form = models.CharField(max_length=60)
    sealed_values = models.TextField()
    changed_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user_uid", "form"], name="kept_form_one_per_user")]

    def __str__(self) -> str:
        return f"{self.form} of {self.user_uid}"


class IdempotencyKey(models.Model):
    """A repeated request gives the first answer: keyed hashes of key and body, the stored answer, kept 24 h per user.

    Written in the transaction of the work, so a committed row has its answer. One that holds a secret is never stored
    (``secret``): a repeat is refused instead.
    """

    user_uid = models.UUIDField()
    key = models.CharField(max_length=128)
    body_hash = models.CharField(max_length=64)
    secret = models.BooleanField(default=False)
    status = models.PositiveSmallIntegerField(default=0)
    location = models.CharField(max_length=300, blank=True)
    answer = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user_uid", "key"], name="idempotency_one_per_user")]

    def __str__(self) -> str:
        return f"{self.user_uid} {self.key}"
