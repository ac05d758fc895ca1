"""Toy operations with real effects (files), for the engine's own tests."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.db import transaction

from portal.common.actor import system_actor
from portal.jobs.operation import Done, Operation, StepDef, Wait, register
from portal.jobs.start import JobRequest, Lock, Target, start_job
from tests.jobs.world import World


def world_of(context: Any) -> World:
    return World(Path(context.params["world"]))


def do(context: Any, name: str) -> Done:
    """Makes a thing; a fault point between the effect and everything that is said of it."""
    world_of(context).call(f"do {name}")
    world_of(context).make(name)
    context.fault_point("made")
    return Done({"thing": name})


def undo(context: Any, name: str) -> None:
    world_of(context).call(f"undo {name}")
    world_of(context).remove(name)
    context.fault_point("removed")


def wait_once(context: Any) -> Wait | None:
    """Waits until the test says go."""
    if (Path(context.params["world"]) / "go").exists():
        return None
    return Wait(2, message="Waiting for the word.", progress=40)


def read_earlier(context: Any) -> Done:
    world_of(context).note(f"saw {context.output('disk')['thing']}")
    return Done()


class Toy(Operation):
    """Makes three things; each is undone by removing it."""

    name = "toy.make"
    title = "Make three things"
    audit_verb = "TOY_MAKE"
    steps = tuple(StepDef(name, f"Make the {name}", partial(do, name=name), partial(undo, name=name))
                  for name in ("disk", "nic", "vm"))  # fmt: skip

    @staticmethod
    def on_finished(context: Any) -> None:
        world_of(context).note("finished")

    @staticmethod
    def on_failed(context: Any) -> None:
        world_of(context).note("failed")


class Waiting(Operation):
    """Makes a disk, waits, looks at what the first step left."""

    name = "toy.wait"
    title = "Wait for something"
    steps = (
        StepDef("disk", "Make the disk", partial(do, name="disk"), partial(undo, name="disk")),
        StepDef("wait", "Wait", wait_once),
        StepDef("look", "Look", read_earlier),
    )


class Irreversible(Operation):
    """Its second step cannot be taken back and asks the gate again."""

    name = "toy.destroy"
    title = "Destroy something"
    audit_verb = "TOY_DESTROY"
    point_of_no_return = "destroy"
    steps = (
        StepDef("mark", "Mark it", partial(do, name="mark"), partial(undo, name="mark")),
        StepDef("destroy", "Destroy it", partial(do, name="rubble"), destructive=True),
        StepDef("sweep", "Sweep up", partial(do, name="dust")),
    )


def start_toy(world: str) -> None:
    """Starts a job, as a web process does."""
    uid = uuid4()
    asked = JobRequest(Toy, Target("thing", uid), None, (Lock("thing", uid),), {"world": world})
    with transaction.atomic():
        start_job(system_actor(), asked)


for operation in (Toy, Waiting, Irreversible):
    register(operation)
