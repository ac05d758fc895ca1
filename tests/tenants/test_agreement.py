"""``visible``, ``permits_on``, ``explain`` and ``authorize`` say the same, and what the rules say, whatever is granted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute.models import Vm
from portal.common.actor import Actor
from portal.common.errors import NotFound, NotPermitted
from tenants import holdings, policy
from tenants.models import System
from tenants.permits import Permit
from tests.edge.world import undone
from tests.tenants.conftest import as_actor
from tests.tenants.grant_graphs import (
    CENTERS,
    OBJECTS,
    PERMITS,
    USERS,
    Grant,
    Graph,
    Ground,
    graphs,
    make_ground,
    numbers,
    worth,
    worth_anywhere,
)

FEW, MANY, ALL = 30, 400, 2000


@dataclass(frozen=True)
class Ask:
    """Who asks for which permit, about which row, and whether within one look."""

    user: int
    permit: Permit
    row: int
    is_look: bool
    few: int  # single grants that are asked for by their ids


asks = st.builds(
    Ask, numbers(USERS), st.sampled_from(PERMITS), numbers(OBJECTS),
    st.sampled_from([True, True, True, False]), st.sampled_from([holdings.FEW, 1, 0]),
)  # fmt: skip


@pytest.fixture(scope="module")
def ground(django_db_setup: None, django_db_blocker: Any) -> Iterator[Ground]:
    with django_db_blocker.unblock(), undone():
        yield make_ground()


def agree(ground: Ground, graph: Graph, ask: Ask) -> None:
    """All rows are listed; one is asked about singly."""
    asked = [row for rows in ground.of_kinds() for row in rows][ask.row]
    with undone():
        ground.lay(graph)
        actor = ground.actor(graph, ask.user)
        with patch.object(holdings, "FEW", ask.few), policy.one_look() if ask.is_look else nullcontext():
            for rows in ground.of_kinds():
                fresh = list(type(rows[0])._default_manager.filter(pk__in=[row.pk for row in rows]))
                held = policy.permits_on(actor, fresh)
                seen = set(policy.visible(actor, ask.permit, type(rows[0])._default_manager.all()))
                for row in rows:
                    rules = {permit for permit in PERMITS if worth(ground, graph, ask.user, permit, row)}
                    assert held[row.pk] & set(PERMITS) == rules, (row._meta.label, row.pk)
                    answers = {"rules": ask.permit in rules, "visible": row in seen}
                    if rows is ground.centers:
                        answers["holds_in"] = policy.holds_in(actor, ask.permit, row)
                    if type(row) is System:
                        answers["holds_everywhere"] = policy.holds_everywhere(actor, ask.permit)
                    if row == asked or type(row) is System:
                        answers["explain"] = policy.explain(actor, ask.permit, row).allowed
                        answers["authorize"] = passes(actor, ask.permit, row)
                    assert len(set(answers.values())) == 1, (row._meta.label, row.pk, answers)
            anywhere = policy.holds_anywhere(actor, ask.permit)
            assert anywhere == worth_anywhere(ground, graph, ask.user, ask.permit), "holds_anywhere"


def passes(actor: Actor, permit: Any, target: Any) -> bool:
    try:
        policy.authorize(actor, permit, target)
    except (NotFound, NotPermitted):
        return False
    return True


every = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@settings(every, max_examples=FEW)
@given(graphs, asks)
def test_all_ways_to_ask_agree_on_some_graphs(ground, db, graph, ask):
    agree(ground, graph, ask)


@pytest.mark.long
@pytest.mark.once
@pytest.mark.timeout(600)
def test_all_ways_to_ask_agree_on_hundreds_of_graphs(ground, db, pytestconfig):
    """On thousands with ``--full``."""

    @settings(every, max_examples=ALL if pytestconfig.getoption("--full") else MANY)
    @given(graphs, asks)
    def look(graph: Graph, ask: Ask) -> None:
        agree(ground, graph, ask)

    look()


def test_few_single_shares_are_asked_for_by_their_ids_and_many_are_not(ground, db):
    """Else the database looks through everybody's machines for the few, or is sent thousands of ids."""
    nobody: frozenset[Any] = frozenset()
    on_vm = Grant(0, 0, 1 + CENTERS, None)
    graph = Graph([frozenset({"VM_VIEW"})] * 3, [on_vm], nobody, nobody, nobody, nobody, "write", None, None)
    with undone():
        ground.lay(graph)
        asked = {}
        for few in (1, 0):
            with patch.object(holdings, "FEW", few):
                rows = policy.visible(as_actor(ground.users[0]), Permit.VM_VIEW, Vm.objects.all())
                assert list(rows) == ground.objects["vm"][:1]
            asked[few] = str(rows.query)
        assert {few: "usergrant" in sql for few, sql in asked.items()} == {1: False, 0: True}
