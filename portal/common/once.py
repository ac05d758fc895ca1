"""A form that is posted twice with one key does its work once."""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import UUID

from django.db import transaction
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from portal.common.errors import Invalid, KeyReused
from portal.common.models import IdempotencyKey

KEY = re.compile(r"[A-Za-z0-9_-]{16,128}")
SALT = "portal.common.once"
SEE_OTHER = 303


def once(user_uid: UUID, *, key: str, body: str, work: Callable[[], str]) -> str:
    """Do ``work`` unless this user did it with this key before; the address it led to, then or now.

    The key, the work and the address are one transaction: who comes second waits for the first and gets its address,
    and work that fails leaves the key unused. Raises ``KeyReused`` for another body under the same key.
    """
    if not KEY.fullmatch(key):
        raise Invalid(_("The form is not complete. Open it again."))
    digest = salted_hmac(SALT, body, algorithm="sha256").hexdigest()
    with transaction.atomic():
        row, is_new = IdempotencyKey.objects.get_or_create(
            user_uid=user_uid, key=key, defaults={"body_hash": digest, "status": SEE_OTHER}
        )
        if is_new:
            row.location = work()
            row.save(update_fields=["location"])
        elif row.body_hash != digest:
            raise KeyReused(_("This form was sent before with other values. Open it again."))
    return row.location
