"""What the walk over every address looks for around each request that would change something: its record."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from portal.events.codes import Outcome
from portal.events.models import Event
from tests.edge.access_bodies import body
from tests.edge.world import PEOPLE, World

REFUSED = {403, 404, 409, 412, 503}  # 400 is no request of that kind, and 401 is nobody's
NOBODY = {"nobody", "disabled"}
# What changes nothing, so that neither its refusal nor its answer is on record; and why.
LOOKS = {
    "POST /api/v1/factor/begin/": "draws a secret that is kept nowhere before its first code",
    "POST /api/v1/directories/{uid}/simulate/": "reads what a log-in would come to, as the page does by GET",
}
# What is on record when it is refused, and not when it is done; and why.
UNTOLD = {
    "PUT /api/v1/images/{uid}/content/": "a part of an upload, whose beginning and end are on record",
    "POST /unassigned/": "the review before an adoption",
    "POST /language/": "a cookie of one's own browser",
    "POST /theme/": "the same",
    "POST /view/end/": "there is no view to end",
}
# Objects whose names are told to those alone who look after all of them.
HIDDEN = {"user", "directory", "provider"}


class Trail:
    """The records that a world had, and what is wrong with those that came since."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._last = Event.objects.latest("at").at
        self.gaps: list[tuple[str, str, str]] = []

    def look(self, operation: str, rank: str, answer: Any) -> None:
        """Note what the records lack that this request left."""
        method, *asked = operation.split()
        if method == "GET" or len(asked) > 1 or rank in NOBODY or operation in LOOKS:
            return
        new = list(Event.objects.filter(at__gt=self._last))
        refused = [event for event in new if event.outcome == Outcome.REFUSED]
        if answer.status_code in REFUSED:
            faults = self._faults(operation, rank, answer, refused)
        else:
            is_silent = not new and answer.status_code < 400 and operation not in UNTOLD
            faults = ["done, and not on record"] if is_silent else []
        self.gaps += [(operation, rank, fault) for fault in faults]

    def _faults(self, operation: str, rank: str, answer: Any, refused: list[Event]) -> list[str]:
        if len(refused) != 1:
            return [f"{answer.status_code} with records {[event.code for event in refused]}"]
        [event], name = refused, PEOPLE.get(rank, "alice")
        is_told_whole = event.request_id == answer["X-Request-Id"] and event.client_address == "127.0.0.1"
        wrong = {
            "is not called a refusal": not event.code.endswith("_REFUSED"),
            "names another actor": event.actor_name != name,
            "lacks request or address": not is_told_whole,
            f"tells of {event.object_name!r}": self._tells(operation, rank, answer, event),
        }
        return [f"{event.code} {fault}" for fault, is_so in wrong.items() if is_so]

    def _tells(self, operation: str, rank: str, answer: Any, event: Event) -> bool:
        """Whether it names what this person may not see: by his own log he would learn of it."""
        said = {"", PEOPLE.get(rank, "alice"), *map(str, _values(body(self._world, operation)))}
        if rank == "root" or (event.object_name in said and not event.data_center_uid):
            return False
        return answer.status_code == 404 or event.object_kind in HIDDEN


def _values(sent: dict[str, Any]) -> list[Any]:
    return [value for value in sent.values() if isinstance(value, (str, UUID))]
