"""The pages of data centers fit their windows, in both languages and themes."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.browser.person import SIZES, log_in, take_picture
from tests.browser.portal_server import PortalServer
from tests.lab.browser import new_context, watched


@pytest.mark.parametrize(("size", "theme", "language"), [("desk", "light", "en"), ("phone", "dark", "el")])
def test_pages_of_data_centers_fit_and_keep_the_policy(
    chromium: Browser, portal: PortalServer, *, size: str, theme: str, language: str
) -> None:
    with new_context(chromium, size=SIZES[size]) as context:
        cookies = {"django_language": language, "theme": theme}
        context.add_cookies([{"name": name, "value": value, "url": portal.url} for name, value in cookies.items()])
        page = context.new_page()
        complaints = watched(page)
        log_in(page, portal, "admin")
        page.goto(f"{portal.url}/data-centers/")
        take_picture(page, f"data-centers-{size}-{theme}-{language}")
        page.get_by_role("link", name="physics").click()
        page.wait_for_load_state()
        take_picture(page, f"data-center-{size}-{theme}-{language}")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.goto(f"{portal.url}/data-centers/new/")
        page.fill("#name", "not a name")
        page.click("main button[type=submit]")
        page.wait_for_selector("#name-error")
        take_picture(page, f"data-center-form-{size}-{theme}-{language}")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert [each for each in complaints if "400" not in each] == []
