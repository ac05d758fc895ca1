"""What holds the double to the API: its schema and the official SDK, for every body it sends."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from lxml import etree
from ovirtsdk4 import Error
from ovirtsdk4.reader import Reader
from ovirtsdk4.services import SystemService
from ovirtsdk4.writer import Writer

Seen = Counter[tuple[str, str]]


class Check:
    """Checks bodies, and keeps what was violated. ``schema``: the file of the API's schema; nothing: by the SDK alone."""

    def __init__(self, schema: str = "") -> None:
        self._schema = etree.XMLSchema(etree.parse(schema)) if schema else None
        self.violations: list[str] = []

    def body(self, body: bytes) -> str:
        """What is wrong with a body, or nothing."""
        document = etree.fromstring(body)
        if self._schema is not None and not self._schema.validate(document):
            return f"not of the schema: {self._schema.error_log}"
        return lost(document, body)

    @staticmethod
    def known_path(path: str) -> bool:
        """Whether the API has an address at all."""
        return _service(path) is not None


def _service(path: str) -> Any:
    parts = path.strip("/")
    try:
        return SystemService(None, "").service(parts) if parts else SystemService(None, "")
    except Error:
        return None


def lost(document: Any, body: bytes) -> str:
    """What the SDK loses of a body that it reads and writes back: elements that hold something."""
    read = Reader.read(body)
    if isinstance(read, list):
        back = etree.fromstring(Writer.write(read, root=document.tag))
    else:
        back = etree.fromstring(Writer.write(read, root=document.tag))
    before, after = Counter(_leaves(document)), Counter(_leaves(back))
    missing = before - after
    return f"the SDK loses {dict(missing)}" if missing else ""


def _leaves(element: Any, path: str = "") -> list[tuple[str, str]]:
    """All texts and ids in a document by their paths, without the links and actions, which are the SDK's own affair."""
    found: list[tuple[str, str]] = []
    here = f"{path}/{element.tag}"
    if element.get("id"):
        found.append((f"{here}@id", element.get("id")))
    text = (element.text or "").strip()
    if text:
        found.append((here, _plain(text)))
    for child in element:
        if child.tag not in ("link", "actions"):
            found.extend(_leaves(child, here))
    return found


def _plain(text: str) -> str:
    """A value as both write it: moments to the second, numbers without a point."""
    moment = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)[\d.:+-]*", text)
    if moment:
        return moment.group(1)
    return re.sub(r"\.0+$", "", text) if re.fullmatch(r"-?\d+\.0+", text) else text
