"""Between a phone and a desk: nothing runs over the window's edge, and no table has to be pushed sideways."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.browser.looking import Look
from tests.browser.person import make_machine
from tests.browser.portal_server import PortalServer

PAGES = ("/", "/machines/new/", "/storage/", "/events/", "/clusters/", "/users/", "/templates/", "/data-centers/")
WIDER = """[document.documentElement, ...document.querySelectorAll('.table-responsive')]
    .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => `${one.scrollWidth} > ${one.clientWidth}`)"""


@pytest.mark.parametrize("size", ["tablet", "laptop"])
def test_no_page_is_wider_than_its_window(chromium: Browser, portal: PortalServer, size: str) -> None:
    with Look(size, "light", "el").of(chromium, portal, "admin") as page:
        make_machine(page, portal, f"wide-enough-to-be-seen-in-a-table-{size}")
        found = {}
        for path in PAGES:
            page.goto(f"{portal.url}{path}")
            if wider := page.evaluate(WIDER):
                found[path] = wider
        assert found == {}
