"""The hallway of what a screen shows: for those who may sit down at it."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from compute import rules, selectors
from compute.models import Screen
from portal.common.actor import Actor
from tenants import policy
from tenants.permits import Permit

WANT_AGAIN = timedelta(seconds=20)
TOO_OLD = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture (WebP), empty where there is none yet or none any more, and the version of it for this actor."""

    image: bytes
    version: str


def shown_screen(actor: Actor, vm_uid: UUID) -> Shown:
    """What a machine's screen showed a moment ago; asking for it has the next picture taken.

    Raises ``NotFound`` or ``NotPermitted`` for whoever may not sit at its console.
    """
    vm = selectors.get_vm(actor, vm_uid)
    policy.authorize(actor, Permit.VM_CONNECT, vm)
    if actor.real_user is not None:
        return _shown(actor, b"")  # whoever only looks as somebody else has no picture taken, and sees none
    if vm.status not in rules.LEGAL["connect"]:
        return _shown(actor, b"")
    screen = Screen.objects.filter(pk=vm.pk).first()
    now = timezone.now()
    if screen is None or screen.wanted_at < now - WANT_AGAIN:
        with suppress(OperationalError):  # busy: whoever looks asks again in a moment
            Screen.objects.update_or_create(vm=vm, defaults={"wanted_at": now})
    is_fresh = screen is not None and screen.taken_at is not None and screen.taken_at > now - TOO_OLD
    return _shown(actor, bytes(screen.image) if screen and is_fresh else b"")


def _shown(actor: Actor, image: bytes) -> Shown:
    # Another user's version is another one, so that no cache takes one for the other's.
    key = f"{actor.uid}{settings.SECRET_KEY}".encode()
    return Shown(image, hmac.new(key, image, hashlib.sha256).hexdigest()[:32])
