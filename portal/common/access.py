"""Rights that end reach open sockets: a version row per user, and a push to the user's group.

The row is the truth (sockets look at it every 10 s); the push makes it fast. A dead channel layer delays, no more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from uuid import UUID

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from django.db.models import F

from portal.common.models import AccessVersion

log = logging.getLogger(__name__)


def access_group(user_uid: UUID) -> str:
    """The channel-layer group of all sockets of a user."""
    return f"access.{user_uid.hex}"


def access_changed(user_uids: Iterable[UUID]) -> None:
    """Tell every open socket of these users to authorize anew. Call inside the transaction that changes the rights."""
    uids = sorted(set(user_uids))
    for uid in uids:
        if not AccessVersion.objects.filter(user_uid=uid).update(version=F("version") + 1):
            _, created = AccessVersion.objects.get_or_create(user_uid=uid, defaults={"version": 1})
            if not created:
                AccessVersion.objects.filter(user_uid=uid).update(version=F("version") + 1)
    transaction.on_commit(lambda: _push(uids), robust=True)


def access_version(user_uid: UUID) -> int:
    """The present version of a user's rights; 0 when they never changed."""
    return AccessVersion.objects.filter(user_uid=user_uid).values_list("version", flat=True).first() or 0


def _push(uids: list[UUID]) -> None:
    layer = get_channel_layer()
    if layer is None:
        return
    for uid in uids:
        try:
            async_to_sync(layer.group_send)(access_group(uid), {"type": "access.changed"})
        except Exception:
            log.warning("could not push a change of rights; sockets will see it within 10 s", exc_info=True)
            return
