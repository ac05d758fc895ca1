"""One matrix of statuses and actions for every provider: what a page offers, an engine's own command takes."""

from __future__ import annotations

import pytest

from compute.rules import LEGAL, verb_reasons
from portal.hypervisors.specs import VmStatus
from tests.hypervisors import matrix

ENGINES = {"connect": matrix.TICKETS} | {verb: matrix.statuses_of(verb) for verb in matrix.VERBS}
# Where we refuse what an engine would take; why is told where the rule is.
NARROWER = {"shut_down": {"suspended"}}


pytestmark = pytest.mark.once


def test_every_status_has_its_row() -> None:
    assert set(matrix.DOES) - {"unassigned"} == {str(status) for status in VmStatus} - {"creating"}


@pytest.mark.parametrize("verb", sorted(LEGAL))
def test_what_is_offered_in_a_status_is_what_the_engine_does_in_it(verb: str) -> None:
    assert LEGAL[verb] == ENGINES[verb] - NARROWER.get(verb, set())


@pytest.mark.parametrize("status", [each for each in VmStatus if each is not VmStatus.CREATING])
@pytest.mark.parametrize("verb", sorted(LEGAL))
def test_what_is_not_offered_names_its_reason_and_where_it_would_be(verb: str, status: VmStatus) -> None:
    reasons = verb_reasons(verb, str(status), status_text=str(status), is_absent=False)
    assert bool(reasons) == (str(status) not in LEGAL[verb])
    assert all(reason.text and reason.data["allowed_in"] == sorted(LEGAL[verb]) for reason in reasons)
