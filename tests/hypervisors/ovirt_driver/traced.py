"""Answers of an engine that remember what was read of them, and told something."""

from __future__ import annotations

from typing import Any

from ovirtsdk4 import Struct
from ovirtsdk4.service import Service

Paths = set[str]


def traced(value: Any, path: str, paths: Paths) -> Any:
    """A value of the SDK's as it is, but for things: what is read of these is added to ``paths``, by its path, unless it is nothing."""
    if isinstance(value, Struct):
        return _Thing(value, path, paths)
    if isinstance(value, list):
        return [traced(one, path, paths) for one in value]
    return value


class _Thing:
    def __init__(self, thing: Struct, path: str, paths: Paths) -> None:
        self._thing, self._path, self._paths = thing, path, paths

    def __getattr__(self, name: str) -> Any:
        value, path = getattr(self._thing, name), f"{self._path}.{name}"
        if value is not None and value != []:
            self._paths.add(path)
        return traced(value, path, self._paths)


class TracedService:
    """A service of the SDK's, and those below it; answers are traced under the addresses' names."""

    def __init__(self, service: Service, paths: Paths) -> None:
        self._service, self._paths = service, paths

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._service, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            found = method(*args, **kwargs)
            if isinstance(found, Service):
                return TracedService(found, self._paths)
            return traced(found, self._service._path.strip("/"), self._paths)

        return call


class TracedSession:
    """A session of the driver's, whose answers are traced."""

    def __init__(self, session: Any, paths: Paths) -> None:
        self.portal_id, self.connection = session.portal_id, session.connection
        self._system = TracedService(session.system(), paths)

    def system(self) -> Any:
        """The root of the services."""
        return self._system
