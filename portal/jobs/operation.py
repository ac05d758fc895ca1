"""What an operation is: code with a stable name, typed parameters, ordered steps, and undos where something is made.

A step's ``do`` is repeatable: it looks before it makes, and "already done" is success. It returns ``None`` or
``Done(output)`` when finished, or ``Wait(seconds)`` when it must look again later; nobody sleeps. It raises an error with
a true ``can_retry`` to be tried again with growing pauses, any other error to fail the job, which is then undone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from uuid import UUID

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    from portal.common.actor import Actor


@dataclass(frozen=True, slots=True)
class Done:
    """The step is finished; ``output`` is small JSON that later steps and undos read. Never a secret.

    ``skipped``: there was nothing to do, and nobody is told that anything was done.
    """

    output: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet: look again in ``seconds`` at the latest, sooner while the step is young. ``give_up_after`` seconds since the
    step was first tried it fails.

    ``is_before``: the step may not begin yet, and is looked at in ``seconds``. Whatever patience it has itself counts from
    when it may.
    """

    seconds: float
    message: str = ""
    progress: int | None = None
    give_up_after: float = 600.0
    is_before: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """What an undo answers where the step's work is whole and of use by itself: it stays, and the step stays done."""


class StepFailed(Exception):
    """A step failed for a reason of its own; ``public`` is a sentence for the user that says what helps."""

    def __init__(self, public: str, *, code: str = "step_failed", can_retry: bool = False, detail: str = "") -> None:
        self.public = public
        self.code = code
        self.can_retry = can_retry
        self.detail = detail
        super().__init__(public)


class StepContext(Protocol):
    """What a step sees of its job."""

    @property
    def job_uid(self) -> UUID: ...
    @property
    def target_uid(self) -> UUID: ...
    @property
    def actor_uid(self) -> UUID | None: ...
    @property
    def actor(self) -> Actor: ...
    @property
    def params(self) -> dict[str, Any]: ...

    def output(self, step: str) -> dict[str, Any]:
        """What an earlier step left; empty when it left nothing."""

    def report(self, message: str, *, progress: int | None = None) -> None:
        """Tell the watchers how far the step is (saved under the fence, pushed to the page)."""

    def is_cancelled(self) -> bool:
        """Whether somebody wants the job to end: a long step looks now and then, and comes back early with a ``Wait``."""

    def remember(self, **output: Any) -> None:
        """Keep something as the step's output before it is done: what a second try must know of the first."""

    def fault_point(self, name: str) -> None:
        """A place of the step's own where tests may kill the worker; a no-op in production."""


Act = Callable[[Any], "Done | Wait | Kept | None"]


@dataclass(frozen=True, slots=True)
class StepDef:
    """One step: its stable name, its title for people, what it does and how that is undone."""

    name: str
    title: _StrPromise | str
    do: Act
    undo: Act | None = None
    destructive: bool = False  # the gate is asked again before it
    give_up_after: float = 120.0  # seconds of retrying before a retryable error is final


class Operation:
    """Base class. Subclasses are registered by name in ``AppConfig.ready()`` through ``register``.

    The two hooks are static methods that get the job's ``StepContext``. They run in the transaction that makes the job
    final, so they touch rows only and may run again when that transaction fails.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    title: ClassVar[Any]  # gettext_lazy
    audit_verb: ClassVar[str] = ""
    steps: ClassVar[tuple[StepDef, ...]]
    point_of_no_return: ClassVar[str] = ""  # the step before whose start a cancel is still possible; empty: all the way
    # What a failure means to the user, in a sentence each (gettext_lazy): while it is being undone, and at the end.
    while_undone: ClassVar[Any] = ""
    when_failed: ClassVar[Any] = ""
    # Static methods that take the job's context, in the transaction that makes the job final.
    on_finished: ClassVar[Any] = None
    on_failed: ClassVar[Any] = None  # after everything was undone (or closed)
    # Static method (job, name of a step that is not undone): sentences that say what it may have left, and where.
    left_behind: ClassVar[Any] = None


_REGISTRY: dict[str, type[Operation]] = {}


def register(operation: type[Operation]) -> None:
    """Make an operation known under its name. Registering another class under a taken name is an error."""
    known = _REGISTRY.setdefault(operation.name, operation)
    if known is not operation:
        raise ValueError(f"two operations are named {operation.name}")


def operation_named(name: str) -> type[Operation]:
    """The operation of that name; ``KeyError`` when no code of this version knows it."""
    return _REGISTRY[name]


def all_operations() -> tuple[type[Operation], ...]:
    """Every registered operation, by name."""
    return tuple(_REGISTRY[name] for name in sorted(_REGISTRY))


def title_of(name: str) -> Any:
    """The title for people of the operation of that name; the name itself when no code of this version knows it."""
    return _REGISTRY[name].title if name in _REGISTRY else name


def step_named(operation: type[Operation], name: str) -> StepDef:
    """The step of that name; ``LookupError`` when this version of the operation has none."""
    for step in operation.steps:
        if step.name == name:
            return step
    raise LookupError(f"{operation.name} has no step {name}")
