"""A long form that was not sent to its end waits for who filled it in: a reload, another browser or a log-in loses nothing.

Kept sealed, one for each person and form, for ``KEPT``; its view drops it when it is done. Secrets are never in it: what a
view gives is kept, and it leaves them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from portal.common.actor import Actor
from portal.common.drafts import MOST_CHARACTERS
from portal.common.models import KeptForm
from portal.common.sealed import SealBroken, seal_json, unseal_json

KEPT = timedelta(days=7)

Typed = dict[str, list[str]]


def keep_form(actor: Actor, form: str, typed: Mapping[str, Sequence[str]]) -> None:
    """Keep what was typed into a form so far; nothing where it is too long, or one sees the portal as somebody else."""
    whose = _whose(actor)
    if whose is None or sum(len(text) for texts in typed.values() for text in texts) > MOST_CHARACTERS:
        return
    sealed = seal_json({name: list(texts) for name, texts in typed.items()})
    values = {"sealed_values": sealed, "changed_at": timezone.now()}
    KeptForm.objects.update_or_create(user_uid=whose, form=form, defaults=values)


def kept_form(actor: Actor, form: str) -> tuple[Typed, datetime] | None:
    """What this person had typed into it, and when; None where nothing is kept any more."""
    row = _own(actor, form).filter(changed_at__gt=timezone.now() - KEPT).first()
    if row is None:
        return None
    try:
        found = unseal_json(row.sealed_values)
    except SealBroken:  # its key was put away
        return None
    return {str(name): [str(text) for text in texts] for name, texts in found.items()}, row.changed_at


def drop_form(actor: Actor, form: str) -> None:
    """It is done, or to be begun anew."""
    _own(actor, form).delete()


def forget_forms() -> int:
    """Remove those that nobody came back to; how many."""
    return KeptForm.objects.filter(changed_at__lt=timezone.now() - KEPT).delete()[0]


def _own(actor: Actor, form: str) -> QuerySet[KeptForm]:
    whose = _whose(actor)
    return KeptForm.objects.none() if whose is None else KeptForm.objects.filter(user_uid=whose, form=form)


def _whose(actor: Actor) -> UUID | None:
    """Of whoever really sits there; nobody's while he sees the portal as somebody else."""
    return None if actor.real_user is not None else actor.uid
