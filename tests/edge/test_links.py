"""Every link that a page shows leads somewhere for whoever is shown it."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape
from http import HTTPStatus
from urllib.parse import urljoin

import pytest
from django.test import Client

from tests.edge.world import World

LINK = re.compile(r'<a\b[^>]*\shref="([^"]+)"[^>]*>')
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|(?<==)[^&#]+")
ALIKE = 4  # of addresses that differ in ids and values alone so many are followed


def links_of(path: str, text: str) -> list[str]:
    """Where the page's links lead inside the portal, greyed ones left out."""
    shown = [tag for tag in LINK.finditer(text) if "aria-disabled" not in tag.group()]
    led = [urljoin(path, unescape(tag.group(1))).partition("#")[0] for tag in shown]
    return [each for each in led if each.startswith("/") and not each.startswith(("/static/", "/api/"))]


def dead_links(client: Client) -> list[tuple[str, str, int]]:
    """From the first page on: on which page, where to, and what it answers."""
    waiting, seen, alike, dead = [("", "/")], {"/"}, Counter[str](), []
    while waiting:
        source, path = waiting.pop(0)
        answer = client.get(path)
        if answer.status_code not in {HTTPStatus.OK, HTTPStatus.FOUND}:
            dead.append((source, path, answer.status_code))
            continue
        for led in links_of(path, answer.content.decode()) if answer.status_code == HTTPStatus.OK else ():
            kind = ID.sub("", led)
            if led not in seen and alike[kind] < ALIKE:
                seen.add(led)
                alike[kind] += 1
                waiting.append((path, led))
    assert len(seen) > 20, "pages were walked"
    return dead


@pytest.mark.long
@pytest.mark.turns
@pytest.mark.parametrize("rank", ["peer", "owner", "admin", "other_admin", "root"])
def test_no_link_is_dead_for_whoever_is_shown_it(world: World, rank: str):
    assert dead_links(world.browser(rank)) == []
