"""A disk's removal is asked for as often as it helps, and no hypervisor that gives up on it is asked without end."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from compute.operations import removal
from compute.operations.removal import MOST_ASKED, remove_disks
from portal.hypervisors.errors import NotFound, RemovalFailed
from portal.hypervisors.specs import DiskFound, DiskRef
from portal.jobs.operation import Wait

pytestmark = pytest.mark.once

REF = DiskRef(uuid4(), "pool")


class Step:
    """A step's memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def output(self, step: str) -> dict[str, Any]:
        return self.kept if step == "delete_disks" else {}

    def remember(self, **output: Any) -> None:
        self.kept |= output

    def fault_point(self, name: str) -> None: ...


class Hypervisor:
    """One disk, of this status whenever it is looked at; None: gone."""

    def __init__(self, *statuses: str | None) -> None:
        self._statuses = list(statuses)
        self.asked = 0

    def delete_disk(self, ref: DiskRef) -> None:
        self.asked += 1

    def find_disk(self, ref: DiskRef) -> DiskFound | None:
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        if status == "no domain":
            raise NotFound
        return DiskFound(ref, "d", 1, 1, status=status) if status else None


def look(step: Step, hypervisor: Hypervisor) -> Wait | None:
    return remove_disks(step, hypervisor, [REF], step="delete_disks")  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [None, "no domain"])
def test_what_is_gone_is_asked_for_once(status: str | None) -> None:
    hypervisor = Hypervisor(status)
    assert look(Step(), hypervisor) is None
    assert hypervisor.asked == 1


def test_what_is_being_removed_is_waited_for() -> None:
    step, hypervisor = Step(), Hypervisor("locked")
    assert all(isinstance(look(step, hypervisor), Wait) for _ in range(5))
    assert hypervisor.asked == 1


@pytest.mark.parametrize(("status", "asked"), [("illegal", 1), ("ok", MOST_ASKED)])
def test_what_stays_is_told_and_asked_for_anew_by_the_next_try(
    status: str, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "ASK_SECONDS", 0)
    step, hypervisor = Step(), Hypervisor(status)
    for _ in range(asked):
        look(step, hypervisor)
    with pytest.raises(RemovalFailed) as told:
        look(step, hypervisor)
    assert str(REF.uid) in told.value.public
    assert not told.value.can_retry
    assert hypervisor.asked == asked
    look(step, hypervisor)
    assert hypervisor.asked == asked + 1


def test_however_often_it_is_looked_at_it_is_asked_for_once_a_second_at_most() -> None:
    step, hypervisor = Step(), Hypervisor("ok")
    assert all(isinstance(look(step, hypervisor), Wait) for _ in range(2 * MOST_ASKED))
    assert hypervisor.asked <= 2
