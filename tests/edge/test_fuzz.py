"""The whole API, walked by its own documentation: no answer is a fault of ours, and none is undocumented."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup

from tests.people import PASSWORD, Institute

pytestmark = [pytest.mark.long, pytest.mark.once]

SCHEMA = "/api/v1/schema/?format=json"
EXAMPLES, ALL_EXAMPLES = 8, 40  # of each operation; the latter with --full
TAKES_NOTHING = [
    "GET /api/v1/factor/",
    "GET /api/v1/factor-ranks/",
    "GET /api/v1/me/",
    "GET /api/v1/readiness/",
]  # so that nothing can be wrong with it
# Our own token goes with every request, and rules beyond a schema (names, sizes, cursors) may refuse what it allows.
OFF = {"ignored_auth": {"enabled": False}, "positive_data_acceptance": {"enabled": False}}
CONFIG = SchemathesisConfig.from_dict({"seed": 1, "generation": {"with-security-parameters": False}, "checks": OFF})


@dataclass
class Walk:
    """A client that tries everything. ``ids``: those that exist, by the noun of the path or the field of a body."""

    token: str
    ids: dict[str, str]
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)
    examples: int = EXAMPLES

    def walk(self, operation: Any, mode: GenerationMode) -> None:
        """Ask this operation for as many answers as there are examples; every other time of something that exists."""
        real = st.booleans() if mode is GenerationMode.POSITIVE else st.just(value=False)

        @settings(
            max_examples=self.examples,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode), real)
        def ask(case: Any, is_real: bool) -> None:
            if is_real:
                self._aim(case)
            self._ask(case)

        try:
            ask()
        except Unsatisfiable:
            self.untried.append(operation.label)

    def _aim(self, case: Any) -> None:
        noun = case.path.split("/")[3]
        if noun in self.ids and "uid" in (case.path_parameters or {}):
            case.path_parameters["uid"] = self.ids[noun]
        if isinstance(case.body, dict):
            case.body |= {name: self.ids[name] for name in ("data_center", "template") if name in case.body}

    def _ask(self, case: Any) -> None:
        response = case.call(headers={"Authorization": f"Bearer {self.token}"})
        self.statuses[response.status_code] += 1
        try:
            case.validate_response(response)
        except FailureGroup as group:
            why = "\n".join(map(str, group.exceptions))
            self.failures.append(f"{case.as_curl_command()}\n{response.status_code} {response.text}\n{why}")


@contextmanager
def on_this_connection() -> Iterator[None]:
    """Requests neither open nor close connections, as with Django's own test client: they see the test's transaction."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in signals:
            signal.connect(close_old_connections)


def make_walk(institute: Institute) -> Walk:
    """Alice with a machine, a job and a token of hers."""
    client = Client()

    def post(path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        return client.post(f"/api/v1/{path}/", body, content_type="application/json", headers=headers).json()

    made = post("tokens", {"username": "alice", "password": PASSWORD, "name": "walk", "scope": "write"})
    ids = {"data_center": str(institute.centers["physics"].pk), "template": str(institute.template.pk)}
    vm = post("vms", {"name": "web-1", **ids}, Authorization=f"Bearer {made['token']}")
    return Walk(made["token"], ids | {"vms": vm["vm"]["id"], "jobs": vm["job"]["id"]})


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_request_is_answered_by_a_fault_or_by_anything_undocumented(
    institute: Institute, mode: GenerationMode, pytestconfig: pytest.Config
) -> None:
    walk = make_walk(institute)
    walk.examples = ALL_EXAMPLES if pytestconfig.getoption("--full") else EXAMPLES
    with on_this_connection():
        schema = schemathesis.openapi.from_wsgi(SCHEMA, get_wsgi_application(), config=CONFIG)
        for operation in schema.get_all_operations():
            walk.walk(operation.ok(), mode)
    assert not walk.failures, "\n\n".join(walk.failures)
    # What is well formed gets somewhere, and what is not gets nowhere.
    assert {200, 202, 404, 409} <= set(walk.statuses) if mode is GenerationMode.POSITIVE else walk.statuses[400]
    assert walk.untried == ([] if mode is GenerationMode.POSITIVE else TAKES_NOTHING)
