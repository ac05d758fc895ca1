"""Answers of real engines and their API's schema, where a run is given a folder with them: none of it is ours.

The folder holds ``ovirt-engine-api-schema.xsd`` and ``recordings/*.json``: lists of ``{method, path, query, responses:
[{status, date, body}]}``, of which the n-th call of an address got the n-th response.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

NAMED_BY = "STEGI_REFERENCE"  # the variable of the environment that names the folder
SCHEMA = "ovirt-engine-api-schema.xsd"
BASE = "/ovirt-engine/api"


@dataclass(frozen=True, slots=True)
class Recording:
    """What one address answered, in turn. ``path``: below the API's root; ``source``: the file it is from."""

    source: str
    method: str
    path: str
    query: dict[str, str]
    bodies: tuple[str, ...]
    year: int


def schema(folder: Path) -> str:
    """The file of the schema. Raises ``FileNotFoundError``."""
    path = folder / SCHEMA
    if not path.is_file():
        raise FileNotFoundError(path)
    return str(path.resolve())


def recordings(folder: Path) -> list[Recording]:
    """All that was answered with success, by file and in the order in which it was asked."""
    found = []
    for path in sorted((folder / "recordings").glob("*.json")):
        for one in json.loads(path.read_text()):
            bodies = tuple(answer["body"] for answer in one["responses"] if answer["status"] == 200 and answer["body"])
            if bodies:
                below = one["path"].removeprefix(BASE)
                dated = one["responses"][0]["date"].split()  # "Tue, 20 Aug 2019 12:57:43 GMT"
                year = int(dated[3]) if dated else 0
                found.append(Recording(path.name, one["method"], below, dict(one["query"] or {}), bodies, year))
    return found
