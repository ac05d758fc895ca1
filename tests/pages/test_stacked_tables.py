"""On a phone the rows of a table are stacked without their head: each cell says itself what it is."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings

ROW = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
CELL = re.compile(r"(<td\b(?:{%.*?%}|[^>{])*>)(.{0,40})", re.DOTALL)


def silent_cells(text: str) -> list[str]:
    """The cells without a label; the first of a row is its heading, and what one can do speaks for itself."""
    return [
        cell
        for row in ROW.findall(text)
        for cell, content in CELL.findall(row)[1:]
        if "data-label=" not in cell and "row-menu" not in cell and not content.startswith('<div class="actions')
    ]


def test_every_cell_of_a_stacked_table_has_its_label() -> None:
    pages = list((Path(settings.BASE_DIR) / "templates").rglob("*.html"))
    stacked = [path for path in pages if "table-stack" in (text := path.read_text()) or "<tr id=" in text]
    assert len(stacked) > 15
    assert {path.name: silent_cells(path.read_text()) for path in stacked if silent_cells(path.read_text())} == {}


def test_a_cell_that_is_silent_is_found() -> None:
    row = '<tr><td>name</td><td data-label="{% translate \'Status\' %}">up</td><td class="text-end">5</td></tr>'
    assert silent_cells(row) == ['<td class="text-end">']
