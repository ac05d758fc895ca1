"""``Idempotency-Key``: a repeated request gets the first answer; the same key with another body is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.common.errors import Conflict, Invalid, KeyReused, Reason
from portal.common.models import IdempotencyKey
from portal.common.sealed import keyed_hash

KEPT = timedelta(hours=24)
LONGEST_KEY = 128

Answer = tuple[int, dict[str, Any], str]  # status, body, location


def once(
    user_uid: UUID, key: str, body: Any, work: Callable[[], Answer], *, secret: bool = False
) -> tuple[Answer, bool]:
    """Do ``work`` once per user and key. Returns the answer and whether it is a repeat of a stored one.

    Raises ``KeyReused`` (422) for another body, ``Conflict`` while the first is under way or when its answer held a secret.
    """
    if not key:
        return work(), False
    if len(key) > LONGEST_KEY or not key.isprintable():
        text = _("An idempotency key has at most 128 printable characters.")
        raise Invalid(text, reasons=(Reason("key_invalid", text, "Idempotency-Key"),))
    digest = keyed_hash(json.dumps(body, sort_keys=True, default=str), purpose="idempotency")
    row = _claim(user_uid, key, digest, secret=secret)
    if row is not None:
        return _repeat(row, digest), True
    rows = IdempotencyKey.objects.filter(user_uid=user_uid, key=key)
    try:
        answer = work()
    except BaseException:
        # A refusal is no answer to keep: the same request may be accepted later.
        rows.delete()
        raise
    status, kept, location = answer
    rows.update(status=status, answer={} if secret else kept, location=location)
    return answer, False


def _claim(user_uid: UUID, key: str, digest: str, *, secret: bool) -> IdempotencyKey | None:
    """None when this request is the first; else the row of the first."""
    IdempotencyKey.objects.filter(user_uid=user_uid, key=key, created_at__lt=timezone.now() - KEPT).delete()
    try:
        with transaction.atomic():
            IdempotencyKey.objects.create(user_uid=user_uid, key=key, body_hash=digest, secret=secret)
    except IntegrityError:
        return IdempotencyKey.objects.filter(user_uid=user_uid, key=key).first()
    return None


def _repeat(row: IdempotencyKey, digest: str) -> Answer:
    if row.body_hash != digest:
        raise KeyReused(_("This idempotency key was used for another request. Use a new key."))
    if not row.status:
        raise Conflict(_("The first request with this key is still under way. Ask again in a moment."))
    if row.secret:
        raise Conflict(_("The answer to this request held a secret and is not kept. Use a new key."))
    return row.status, row.answer, row.location
