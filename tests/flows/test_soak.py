"""The random run in short; ``python -m tests.flows.soak`` is the long one."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.flows.place import Place
from tests.flows.soak import Plan, soak
from tests.jobs.workers import Workers

pytestmark = [pytest.mark.long, pytest.mark.django_db(transaction=True)]


@pytest.mark.turns
@pytest.mark.timeout(700)  # minutes where others are at work, for it is work and not waiting
def test_tf24_60_random_operations_among_kills_and_faults_lose_nothing(
    place: Place, workers: Workers, tmp_path: Path, settings: Any
):
    (tmp_path / "faults").mkdir()
    settings.FAULT_POINTS_DIR = str(tmp_path / "faults")
    plan = Plan(operations=60, seed=random.SystemRandom().randrange(10**6), patience=600)
    print(f"seed {plan.seed}")  # pytest shows it when the test fails

    figures = soak(place, workers, plan)

    assert figures["operations"] == 60
    assert figures["workers killed at random"] > 0
    assert figures["calls that failed"] > 0
    assert figures["calls whose answer was lost"] > 0
