"""What of a job is not undone yet, which is also what a stuck one may leave behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from portal.jobs.models import Job, Step
from portal.jobs.operation import Act, Operation, StepDef, operation_named

log = logging.getLogger(__name__)


def not_undone(job: Job, steps: Sequence[Step], operation: type[Operation]) -> Iterator[tuple[Step, StepDef, Act]]:
    """The steps that were ever started and are not undone, the last first; finished or not, each may have made something."""
    settled = {*job.error.get("undone", []), *job.error.get("kept", [])}
    known = {step.name: step for step in operation.steps}
    for step in reversed(steps):
        definition = known.get(step.name)
        undo = definition.undo if definition else None
        if definition and undo and step.started_at is not None and step.name not in settled:
            yield step, definition, undo


@dataclass(frozen=True, slots=True)
class Leftover:
    """A step that may have left something: its name, its title for people, and where to look, a sentence each."""

    step: str
    title: str
    places: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """As the audit log keeps it."""
        return {"step": self.step, "places": list(self.places)}


def leftovers(job: Job) -> list[Leftover]:
    """What a stuck job may leave behind when it is closed; by rows alone, for its hypervisor may well be away.

    Empty also where no code of this version knows the operation.
    """
    try:
        operation = operation_named(job.operation)
    except KeyError:
        return []
    steps = list(job.steps.all())
    return [
        Leftover(step.name, str(definition.title), _places(job, step.name, operation))
        for step, definition, _undo in not_undone(job, steps, operation)
    ]


def _places(job: Job, step: str, operation: type[Operation]) -> tuple[str, ...]:
    if operation.left_behind is None:
        return ()
    try:
        return tuple(operation.left_behind(job, step))
    except Exception:
        # A row that is gone may be the very reason why the job is stuck; its steps are told all the same.
        log.exception("what job %s left behind cannot be told", job.uid)
        return ()
