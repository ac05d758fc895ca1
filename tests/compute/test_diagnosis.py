"""What nobody foresaw: a step of a diagnosis that failed, with a sentence, and no fault of any other provider."""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from compute.models import ReadinessResult
from compute.operations import readiness
from compute.services.providers import connect_provider
from compute.services.readiness import check_readiness
from portal.hypervisors.findings import Finding, Probe
from portal.hypervisors.models import Provider
from portal.jobs.engine import run_to_end
from tests.doubles.hypervisor import DoubleDriver
from tests.doubles.hypervisor_state import HypervisorDouble
from tests.people import Institute

pytestmark = pytest.mark.django_db(transaction=True)


def garbled() -> Finding:
    """A look that nobody foresaw to end so."""
    return Finding("host_key", data={"host": b"\xff".decode()})


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    event = threading.Event()
    monkeypatch.setattr(DoubleDriver, "close", lambda _driver: event.set())
    return event


def test_a_look_that_fails_by_itself_is_a_step_that_failed_and_the_connection_is_given_back(
    institute: Institute, closed: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DoubleDriver, "reach", lambda _driver: (Probe("host_key", garbled),))
    client = Client()
    client.force_login(institute.users["root"])
    given = {"kind": "double", "address": institute.provider.address}
    answer = client.post("/api/v1/providers/test/", given, content_type="application/json")
    assert answer.status_code == HTTPStatus.OK
    [step] = answer.json()["steps"]
    assert (step["step"], step["status"], step["code"]) == ("host_key", "failed", "look_failed")
    assert step["text"]
    assert step["remedy"]
    assert closed.wait(10)


def test_the_connection_is_given_back_where_not_even_the_looks_can_be_told(
    institute: Institute, closed: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_args: Any) -> tuple[Probe, ...]:
        raise RuntimeError

    monkeypatch.setattr(DoubleDriver, "surroundings", nothing)
    assert run_to_end(check_readiness(institute.actor("root")).pk).status == "finished"
    assert closed.wait(10)


@pytest.fixture
def three(institute: Institute, tmp_path: Any) -> tuple[str, ...]:
    """Three providers, in the order in which they are looked at."""
    for name in ("alpha", "omega"):
        address = HypervisorDouble(tmp_path / name).address
        connect_provider(institute.actor("root"), name=name, kind="double", address=address)
    return tuple(Provider.objects.order_by("name").values_list("name", flat=True))


@pytest.mark.parametrize("garbles", ["the look", "what it tells"])
def test_one_providers_fault_keeps_readiness_from_no_other(
    institute: Institute, three: tuple[str, ...], garbles: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = readiness.look_around

    def look(connection: Any, neighbours: tuple[str, ...]) -> tuple[Finding, ...]:
        if connection.address.endswith("/alpha"):
            if garbles == "the look":
                raise RuntimeError
            return (Finding("clock", data={"skew_seconds": "never"}),)
        return real(connection, neighbours)

    monkeypatch.setattr(readiness, "look_around", look)
    job = run_to_end(check_readiness(institute.actor("root")).pk)
    assert job.status == "finished"
    found = {
        name: list(ReadinessResult.objects.filter(provider__name=name).values_list("step", "code")) for name in three
    }
    assert found.pop("alpha") == [("authentication", "look_failed")]
    assert all(("clock", "") in steps for steps in found.values())


def test_a_database_that_is_silent_is_no_fault_of_a_provider(
    institute: Institute, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_provider: Provider) -> list[Finding]:
        raise OperationalError

    monkeypatch.setattr(readiness, "_found", silent)
    with pytest.raises(OperationalError):
        readiness._look_at(institute.provider)
    assert not ReadinessResult.objects.exists()
