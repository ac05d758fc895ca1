"""The log as operators get it: through the portal's own formatter, at its most talkative."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest

from portal.common.logs import JsonFormatter
from tests.edge.world import World, the_world, undone

CLIENTS = ("websockets.client", "urllib3")  # the tests' own, in the same process


class Log:
    """What was logged, as text and line by line."""

    def __init__(self) -> None:
        self._stream = StringIO()
        self.handler = logging.StreamHandler(self._stream)
        self.handler.setFormatter(JsonFormatter())
        self.handler.addFilter(lambda record: not record.name.startswith(CLIENTS))

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    def lines(self) -> list[dict[str, Any]]:
        """Every line; each is a JSON object of its own."""
        return [json.loads(line) for line in self.text.split("\n") if line]


@pytest.fixture
def log() -> Iterator[Log]:
    log, root = Log(), logging.getLogger()
    before = root.level
    root.addHandler(log.handler)
    root.setLevel(logging.DEBUG)
    yield log
    root.setLevel(before)
    root.removeHandler(log.handler)


@pytest.fixture(scope="module")
def one_world(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """One world for all tests of a module, in a transaction around them. Not where a server looks at the rows as well."""
    with django_db_blocker.unblock(), undone():
        yield the_world(tmp_path_factory.mktemp("institute"))


@pytest.fixture
def world(one_world: World, db: None) -> World:
    """The same for each test, in a transaction of its own."""
    return one_world
