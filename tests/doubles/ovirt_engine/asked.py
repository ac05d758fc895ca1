"""A request as the engine sees it, and what it may answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

from tests.doubles.ovirt_engine.shape import Follow, Item, Tree, parse_follow

XML = "application/xml;charset=UTF-8"
LONGEST_CORRELATION = 50


class Refused(Exception):
    """The engine refuses: the status, and the reason and detail of its fault; no body at all where both are empty."""

    def __init__(self, status: int, detail: str = "", reason: str = "Operation Failed") -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.reason = reason if detail else ""


class Misused(Exception):
    """The double was asked for what the API does not have, or what it has not learned: a violation."""


def not_allowed(what: str) -> Refused:
    """The refusal of a command's validation, with the engine's words."""
    return Refused(409, f"[{what}]")


def no_such(key: str) -> Refused:
    """Something that a request refers to is not there."""
    return Refused(404, f"Entity not found: {key}")


class Given:
    """The XML of a request, read by paths of element names."""

    def __init__(self, element: ET.Element | None) -> None:
        self.element = element

    def text(self, path: str) -> str | None:
        """The text of an element as it is: None where it is not there, empty where it is empty."""
        found = self.element.find(path) if self.element is not None else None
        return None if found is None else (found.text or "")

    def number(self, path: str) -> int | None:
        """A whole number. Raises ``Refused`` where it is none."""
        text = self.text(path)
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise Refused(400, f"For input string: {text!r}", "Malformed value") from None

    def flag(self, path: str, *, default: bool = False) -> bool:
        text = self.text(path)
        return default if text is None else text.lower() == "true"

    def key(self, path: str) -> str:
        """The id of what an element refers to, or nothing."""
        found = self.element.find(path) if self.element is not None else None
        return "" if found is None else found.get("id", "")

    def all(self, path: str) -> list[Given]:
        return [Given(one) for one in self.element.findall(path)] if self.element is not None else []

    def one(self, path: str) -> Given | None:
        found = self.element.find(path) if self.element is not None else None
        return None if found is None else Given(found)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. ``user``: the id of whose token it bears. ``names``: what stood for the names in the route's path."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    user: str
    names: dict[str, str] = field(default_factory=dict)

    @property
    def given(self) -> Given:
        """Its body. Raises ``Refused`` where that is not XML."""
        if not self.body.strip():
            return Given(None)
        try:
            return Given(ET.fromstring(self.body))
        except ET.ParseError as error:
            raise Refused(400, str(error), "Malformed XML") from None

    @property
    def correlation(self) -> str:
        """The Correlation-Id, or nothing. Raises ``Refused`` for one that is too long."""
        text = self.headers.get("correlation-id", "")
        if len(text) > LONGEST_CORRELATION:
            raise Refused(400, "[Correlation ID: size must be between 1 and 50]")
        return text

    @property
    def follow(self) -> Follow:
        return parse_follow(self.query.get("follow", ""))

    @property
    def filters(self) -> bool:
        """Whether it asks as a user would: for what that user may see alone."""
        return "true" in (self.query.get("filter", "").lower(), self.headers.get("filter", "").lower())

    def flag(self, name: str) -> bool:
        """A parameter of the query: present without a value is true."""
        return self.query.get(name, "false").lower() in ("", "true")

    def count(self, name: str) -> int | None:
        """A number of the query. Raises ``Refused`` where it is none."""
        text = self.query.get(name)
        if text is None:
            return None
        if not text.lstrip("-").isdigit():
            raise Refused(400, f"{name}: {text}", "Malformed value")
        return int(text)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine says: one thing, a collection (``tag`` and ``items``), or nothing."""

    status: int = 200
    one: Item | None = None
    tag: str = ""
    items: list[Item] = field(default_factory=list)


def action(**elements: Any) -> Answer:
    """The answer of an action that was accepted."""
    tree: Tree = {**elements, "status": "complete"}
    return Answer(one=("action", {name: tree[name] for name in sorted(tree)}))
