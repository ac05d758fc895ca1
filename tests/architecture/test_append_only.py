"""What the audit log holds stays as it was written: the model refuses, and so does the database, whoever asks it."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet

from portal.common.actor import system_actor
from portal.events.codes import Outcome
from portal.events.models import AppendOnly, Event
from portal.events.record import Subject, record
from tests.lab.audit import opened

STATEMENTS = ("UPDATE events_event SET actor_name = 'nobody'", "DELETE FROM events_event")


@pytest.fixture
def event(db: None) -> Event:
    return record(system_actor(), "TOY", outcome=Outcome.DONE, subject=Subject("toy", None, "it"))


@pytest.mark.once
@pytest.mark.parametrize(
    "act",
    [
        lambda event: event.save(),
        lambda event: event.delete(),
        lambda event: Event.objects.update(actor_name="nobody"),
        lambda event: Event.objects.filter(pk=event.pk).delete(),
        lambda event: Event.objects.bulk_update([event], ["actor_name"]),
        lambda event: Event.objects.bulk_create(
            [event], update_conflicts=True, update_fields=["actor_name"], unique_fields=["uid"]
        ),
        lambda event: Event.objects.update_or_create(defaults={"actor_name": "nobody"}, pk=event.pk),
    ],
    ids=["save", "delete", "update", "delete of many", "bulk update", "upsert", "update or create"],
)
def test_the_model_changes_and_forgets_nothing(event, act):
    with pytest.raises(AppendOnly):
        act(event)
    assert Event.objects.get().actor_name == "portal"


def test_the_database_changes_and_forgets_nothing(event):
    own = {
        "postgresql": "TRUNCATE events_event",
        "sqlite": "INSERT OR REPLACE INTO events_event SELECT * FROM events_event",
    }
    statements = (*STATEMENTS, own[connection.vendor])
    for statement in statements:
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        QuerySet(Event).delete()
    assert Event.objects.get().actor_name == "portal"


def test_it_is_opened_on_purpose_and_shut_again(event):
    with opened(), connection.cursor() as cursor:
        cursor.execute(STATEMENTS[0])
        assert Event.objects.get().actor_name == "nobody"
        cursor.execute(STATEMENTS[1])
    assert not Event.objects.exists()
    later = record(system_actor(), "TOY", outcome=Outcome.DONE, subject=Subject("toy", None))
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        QuerySet(Event).filter(pk=later.pk).update(actor_name="nobody")
