"""One matrix of statuses and actions for every provider: what a page offers, an engine's own command takes."""

from __future__ import annotations

import pytest

from compute.rules import LEGAL, verb_reasons
from portal.hypervisors.specs import VmStatus
from tests.doubles.ovirt_engine.power import ALLOWED, TICKETS

# Our verbs, and the statuses in which the engine does them: its blacklist together with what its commands check.
ENGINES = {
    "run": ALLOWED["start"],
    "stop": ALLOWED["stop"],
    "shut_down": ALLOWED["shutdown"],
    "reboot": ALLOWED["reboot"],
    "delete": ("down",),
    "connect": TICKETS,
}
# Where we refuse what an engine would take: nobody listens in a suspended machine, and one that moves is left alone.
NARROWER = {("shut_down", "suspended"), ("shut_down", "migrating"), ("stop", "migrating")}


pytestmark = pytest.mark.once


@pytest.mark.parametrize("verb", sorted(LEGAL))
def test_what_is_offered_in_a_status_is_what_the_engine_does_in_it(verb: str) -> None:
    refused_here = {status for status in VmStatus if (verb, str(status)) in NARROWER}
    assert set(LEGAL[verb]) | set(map(str, refused_here)) == set(ENGINES[verb])


@pytest.mark.parametrize("status", [each for each in VmStatus if each is not VmStatus.CREATING])
@pytest.mark.parametrize("verb", sorted(LEGAL))
def test_what_is_not_offered_names_its_reason_and_where_it_would_be(verb: str, status: VmStatus) -> None:
    reasons = verb_reasons(verb, str(status), status_text=str(status), is_absent=False)
    assert bool(reasons) == (str(status) not in LEGAL[verb])
    assert all(reason.text and reason.data["allowed_in"] == sorted(LEGAL[verb]) for reason in reasons)
