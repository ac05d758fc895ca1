"""How an answer is written: trees of plain values in the order of the API's schema, as XML, with ``follow``.

A tree is a dictionary in the order of the schema. Keys beginning with ``@``: ``@href`` and ``@id`` are attributes,
``@actions`` the names of its actions. Values: text, numbers, truth, None (left out), a tree, ``Many``, ``Ref`` (a link to
another thing: its body where followed) and ``Sub`` (a collection of the thing itself: a link at the head, its items in
this place where followed).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

BASE = "/ovirt-engine/api"
HEAD = ("name", "description", "comment")
INVENTED = "<invented_later><of_no_meaning>7</of_no_meaning></invented_later>"  # of a schema that is still to come
Tree = dict[str, Any]
Follow = dict[str, Any]
Item = tuple[str, Tree]


class Ref(NamedTuple):
    """A thing elsewhere, by kind (the name of its collection) and id."""

    kind: str
    id: str

    @property
    def href(self) -> str:
        return f"{BASE}/{self.kind}/{self.id}"


class Many(NamedTuple):
    """Several elements of one name within the element of the tree's key."""

    tag: str
    values: list[Any]


@dataclass(frozen=True, slots=True)
class Sub:
    """A collection that belongs to a thing. ``load`` gives its items, for ``follow``; None: never followed here."""

    rel: str
    load: Callable[[Any, str], list[Item]] | None = None


class Unfollowable(Exception):
    """A ``follow`` asked for what the double does not have."""


def stamp(when: float | None) -> str | None:
    """A moment (seconds since 1970) as the engine writes it."""
    if when is None:
        return None
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")


def parse_follow(text: str) -> Follow:
    """``nics,disk_attachments.disk`` as nested names."""
    found: Follow = {}
    for path in filter(None, (part.strip() for part in text.split(","))):
        here = found
        for name in path.split("."):
            here = here.setdefault(name.strip(), {})
    return found


class Writer:
    """Writes trees as XML. ``resolve`` gives the body of what a ``Ref`` points to, None where it is gone."""

    def __init__(self, world: Any, resolve: Callable[[Ref], Tree | None]) -> None:
        self._world = world
        self._resolve = resolve
        self.unknown_fields = False
        self._out: list[str] = ['<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n']

    def text(self) -> str:
        return "".join(self._out)

    def collection(self, tag: str, items: list[Item], follow: Follow) -> None:
        if not items:
            self._out.append(f"<{tag}/>\n")
            return
        self._out.append(f"<{tag}>\n")
        for name, tree in items:
            self.thing(name, tree, follow)
        self._out.append(f"</{tag}>\n")

    def thing(self, tag: str, tree: Tree, follow: Follow) -> None:
        out = self._out
        href, key = tree.get("@href"), tree.get("@id")
        out.append(f"<{tag}")
        if href is not None:
            out.append(f" href={quoteattr(href)}")
        if key is not None:
            out.append(f" id={quoteattr(key)}")
        out.append(">")
        self._actions(href, tree.get("@actions"))
        head = HEAD if href is not None else ()
        for name in head:
            if tree.get(name) is not None:
                self._value(name, tree[name], follow)
        self._links(href, tree, follow)
        for name, value in tree.items():
            if type(value) is Sub:
                if name in follow:
                    self._sub(name, value, str(key), follow[name])
            elif value is not None and name[0] != "@" and name not in head:
                self._value(name, value, follow)
        if self.unknown_fields and key is not None:
            out.append(INVENTED)
        out.append(f"</{tag}>\n")

    def _actions(self, href: str | None, names: Any) -> None:
        if names is None:
            return
        links = "".join(f'<link href="{href}/{name}" rel="{name}"/>' for name in names)
        self._out.append(f"<actions>{links}</actions>" if links else "<actions/>")

    def _links(self, href: str | None, tree: Tree, follow: Follow) -> None:
        for rel, where in tree.get("@links", ()):
            self._out.append(f"<link href={quoteattr(where)} rel={quoteattr(rel)}/>")
        for name, value in tree.items():
            if type(value) is Sub and name not in follow:
                self._out.append(f'<link href="{href}/{value.rel}" rel="{value.rel}"/>')

    def _value(self, tag: str, value: Any, follow: Follow) -> None:
        out = self._out
        if isinstance(value, str):
            out.append(f"<{tag}>{escape(value)}</{tag}>")
        elif isinstance(value, bool):
            out.append(f"<{tag}>{'true' if value else 'false'}</{tag}>")
        elif isinstance(value, (int, float)):
            out.append(f"<{tag}>{value}</{tag}>")
        elif isinstance(value, Ref):
            self._ref(tag, value, follow)
        elif isinstance(value, Many):
            out.append(f"<{tag}>")
            for one in value.values:
                self._value(value.tag, one, follow.get(tag, {}))
            out.append(f"</{tag}>")
        elif value.keys() - {"@id", "@href"}:
            self.thing(tag, value, follow.get(tag, {}))
        else:
            self._bare(tag, value)

    def _bare(self, tag: str, value: Tree) -> None:
        attributes = "".join(f" {name[1:]}={quoteattr(text)}" for name, text in value.items())
        self._out.append(f"<{tag}{attributes}/>")

    def _ref(self, tag: str, ref: Ref, follow: Follow) -> None:
        tree = self._resolve(ref) if tag in follow else None
        if tree is not None:
            self.thing(tag, tree, follow[tag])
        else:
            self._out.append(f'<{tag} href="{ref.href}" id="{ref.id}"/>')

    def _sub(self, tag: str, sub: Sub, owner: str, follow: Follow) -> None:
        if sub.load is None:
            raise Unfollowable(tag)
        self.collection(tag, sub.load(self._world, owner), follow)
