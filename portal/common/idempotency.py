"""A request that comes again under its key is done once; pages and API both ask here.

Key, work and answer are one transaction: either all of them are there or none is, whenever the process dies. Who comes
second while the first is at work waits for the key's row, and gets the first's answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, KeyReused, PortalError, Reason
from portal.common.models import IdempotencyKey
from portal.common.sealed import keyed_hash

KEPT = timedelta(hours=24)
LONGEST_KEY = 128
FORM_KEY = re.compile(r"[A-Za-z0-9_-]{16,128}")
PURGED_AT_ONCE = 1000


class Answer(NamedTuple):
    """What a door answers: the HTTP status, the body, and the address that it leads to."""

    status: int
    body: dict[str, Any]
    location: str


def form_key(value: str) -> str:
    """The key that a form carries. Raises ``Invalid`` for a form without one: it was not sent from its page."""
    if not FORM_KEY.fullmatch(value):
        raise Invalid(_("The form is not complete. Open it again."))
    return value


def once(actor: Actor, key: str, body: Any, work: Callable[[], Answer], *, secret: bool = False) -> tuple[Answer, bool]:
    """Do ``work`` once per user and key, or at every call when the key is empty. The answer, and whether it is a repeat.

    ``work`` is whole by itself, as services are: its refusal (a ``PortalError``) frees the key, for the same request may
    be accepted later, and what it wrote about the refusal stays. Raises ``KeyReused`` (422) for another body, and for a
    log-in that is kept to something else than the first: the answer is nothing for a token that could not have asked.
    ``Conflict`` for a repeat when the answer held a secret, which is not kept.
    """
    if not key:
        return work(), False
    refuse_bad_key(key)
    asked = json.dumps([body, *_kept_to(actor)] if _kept_to(actor) else body, sort_keys=True, default=str)
    digest = keyed_hash(asked, purpose="idempotency body")
    with transaction.atomic():
        row, is_new = _claim(actor.user.pk, keyed_hash(key, purpose="idempotency key"), digest)
        answer = _first(row, work, secret=secret) if is_new else _repeat(row, digest)
    if isinstance(answer, PortalError):
        raise answer
    return answer, not is_new


def purge_keys() -> int:
    """Forget the keys that are too old to be answered, some at a time; how many they were."""
    old = list(_too_old().order_by("created_at").values_list("pk", flat=True)[:PURGED_AT_ONCE])
    return IdempotencyKey.objects.filter(pk__in=old).delete()[0]


def refuse_bad_key(key: str) -> None:
    """Raise ``Invalid`` for what is no key."""
    if not 0 < len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        text = _("An idempotency key has 1 to 128 printable ASCII characters.")
        raise Invalid(text, reasons=(Reason("key_invalid", text, "Idempotency-Key"),))


def _kept_to(actor: Actor) -> list[Any]:
    """What a token may do at most, not which it is: one that takes another's place goes on with its requests."""
    bounds = actor.bounds
    kept = [None if each is None else sorted(map(str, each)) for each in (bounds.permits, bounds.objects)]
    return [actor.scope, *kept] if bounds or actor.scope != "write" else []


def _too_old() -> QuerySet[IdempotencyKey]:
    return IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEPT)


def _claim(user_uid: UUID, key: str, digest: str) -> tuple[IdempotencyKey, bool]:
    """The key's row, and whether it is new. Waits while another request with this key is at work."""
    _too_old().filter(user_uid=user_uid, key=key).delete()
    return IdempotencyKey.objects.get_or_create(user_uid=user_uid, key=key, defaults={"body_hash": digest})


def _first(row: IdempotencyKey, work: Callable[[], Answer], *, secret: bool) -> Answer | PortalError:
    try:
        answer = work()
    except PortalError as error:
        row.delete()
        return error
    row.secret, row.status, row.location = secret, answer.status, answer.location
    row.answer = {} if secret else answer.body
    row.save(update_fields=["secret", "status", "location", "answer"])
    return answer


def _repeat(row: IdempotencyKey, digest: str) -> Answer:
    if row.body_hash != digest:
        raise KeyReused(
            _(
                "This request was sent before with other values, or by a token that may do other things. "
                "Open the form again, or choose a new idempotency key."
            )
        )
    if row.secret:
        raise Conflict(
            _(
                "This was done already, and its answer held a secret, which is shown once and not kept. "
                "Open the form again, or choose a new idempotency key."
            )
        )
    return Answer(row.status, row.answer, row.location)
