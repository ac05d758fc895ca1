"""Several providers asked side by side: all within one bound, and whoever is silent holds up no other."""

from __future__ import annotations

from threading import Barrier, Event
from typing import Any

import pytest
from django.db import connections

from portal.hypervisors import at_once
from portal.hypervisors.errors import Denied, Invalid, Unavailable
from portal.hypervisors.models import Provider

Far = tuple[Provider, Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a provider is its driver, unless that is an error: then it cannot be asked."""

    def driver_for(provider: Provider) -> str:
        if provider.name == "sealed":
            raise Denied
        return provider.name

    monkeypatch.setattr(at_once, "driver_for", driver_for)


@pytest.mark.once
@pytest.mark.long
def test_all_are_asked_at_once_and_one_that_is_late_is_not_waited_for(
    asked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, both = Event(), Barrier(2)
    monkeypatch.setattr(at_once, "IN_ALL", 1.0)

    def work(driver: Any) -> str:
        if driver == "late":
            late.wait(30)
        else:
            both.wait(30)
        return f"of {driver}"

    found = at_once.ask_at_once([(Provider(name=name), work) for name in ("a", "late", "b")])
    assert [found[0], found[2]] == ["of a", "of b"]
    assert isinstance(found[1], Unavailable)
    late.set()


@pytest.mark.once
def test_what_each_says_or_why_it_says_nothing_comes_in_the_order_of_the_asked(asked: None) -> None:
    def work(driver: Any) -> str:
        if driver == "odd":
            raise Invalid
        return f"of {driver}"

    found = at_once.ask_at_once([(Provider(name=name), work) for name in ("odd", "a", "sealed")])
    assert [type(each) for each in found] == [Invalid, str, Denied]
    assert at_once.ask_at_once([]) == []


@pytest.mark.django_db(transaction=True)
def test_a_connection_to_the_database_that_an_answer_needed_ends_with_it(asked: None) -> None:
    opened = []

    def work(_driver: Any) -> int:
        opened.append(connections["default"])
        return Provider.objects.count()

    assert at_once.ask_at_once([(Provider(name="a"), work)]) == [0]
    assert [each.connection for each in opened] == [None]
