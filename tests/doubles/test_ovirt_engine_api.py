"""The engine double is held to the official SDK: every address, verb and parameter that it takes is one of the API."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from ovirtsdk4 import Error
from ovirtsdk4.reader import Reader
from ovirtsdk4.services import SystemService

from tests.doubles.ovirt_engine import reference
from tests.doubles.ovirt_engine.routes import ROUTES, Route
from tests.doubles.ovirt_engine.strict import Check

pytestmark = pytest.mark.once

FIRST_OF_THE_SCHEMA = 2019
OF_EVERY_METHOD = {"self", "headers", "query", "wait", "kwargs"}


def method(route: Route) -> Any:
    """The SDK's method for a route. Raises ``Error`` or ``AttributeError`` where there is none."""
    parts = [part if not part.startswith("{") else "x" for part in route.path.strip("/").split("/")]
    root = SystemService(None, "")
    path = "/".join(part for part in parts if part)
    if route.method == "POST":
        try:
            return root.service(path).add
        except Error:
            return getattr(root.service("/".join(parts[:-1])), parts[-1])
    service = root.service(path) if path else root
    if route.method == "GET":
        return getattr(service, "list", None) or service.get
    return {"PUT": lambda: service.update, "DELETE": lambda: service.remove}[route.method]()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_what_it_takes_is_of_the_api(route: Route) -> None:
    known = {name.rstrip("_") for name in inspect.signature(method(route)).parameters} - OF_EVERY_METHOD

    assert set(route.query) <= known


def test_what_the_sdk_would_lose_is_seen() -> None:
    check = Check()

    assert not check.body(b'<vm id="1"><name>web</name><memory>1024</memory></vm>')
    assert "brand" in check.body(b'<vm id="1"><name>web</name><brand>new</brand></vm>')
    assert check.known_path("/vms/1/nics")
    assert not check.known_path("/machines")


def test_what_the_schema_does_not_have_is_seen(reference_folder: Path) -> None:
    check = Check(reference.schema(reference_folder))

    assert not check.body(b'<vm id="1"><name>web</name><status>up</status></vm>')
    assert "not of the schema" in check.body(b'<vm id="1"><status>up</status><name>web</name></vm>')
    assert "not of the schema" in check.body(b"<vm><status>asleep</status></vm>")


def test_recordings_are_read_by_the_sdk_and_are_of_the_schema(reference_folder: Path) -> None:
    found = reference.recordings(reference_folder)
    check = Check(reference.schema(reference_folder))

    assert {"/vms", "/hosts", "/disks", "/templates"} <= {one.path for one in found}
    for one in found:
        for body in one.bodies:
            assert Reader.read(body) is not None, (one.source, one.path)
            assert one.year < FIRST_OF_THE_SCHEMA or "not of the schema" not in check.body(body.encode()), (
                one.source,
                one.path,
            )
