"""The pages of administrators as one sees them: people, users, events, limits, search."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.contrast import faint_texts
from tests.browser.person import SIZES, log_in, make_machine, take_picture
from tests.browser.portal_server import PortalServer
from tests.lab.browser import new_context

PAGES = ("people", "share", "quota", "users", "user-new", "events", "search", "unassigned")


def addresses(page: Page, portal: PortalServer) -> dict[str, str]:
    page.goto(f"{portal.url}/data-centers/")
    center = page.get_by_role("link", name="physics").last.get_attribute("href")
    page.goto(f"{portal.url}{center}people/")
    share = page.locator("a[href$='/share/']").first.get_attribute("href")
    places = (
        f"{center}people/",
        share,
        f"{center}quota/",
        "/users/",
        "/users/new/",
        "/events/",
        "/search/?q=i",
        "/unassigned/",
    )
    return dict(zip(PAGES, (f"{portal.url}{place}" for place in places), strict=True))


def test_nothing_runs_over_the_edge_at_320_pixels(chromium: Browser, portal: PortalServer) -> None:
    """A desk's page at 400 % is as narrow (WCAG 2.2, reflow)."""
    with new_context(chromium, size=(320, 640)) as context:
        page = context.new_page()
        log_in(page, portal, "admin")
        make_machine(page, portal, "a-name-that-is-long-" + "x" * 44)
        places = {"machine": page.url} | addresses(page, portal)
        for name in ("", "jobs/", "machines/new/", "data-centers/", "data-centers/new/", "no-such-page/"):
            places[name] = f"{portal.url}/{name}"
        for name, address in places.items():
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, name
            take_picture(page, f"narrow-{name.strip('/').replace('/', '-') or 'home'}")


@pytest.mark.parametrize(("size", "theme", "language"), [("desk", "light", "en"), ("phone", "dark", "el")])
def test_administrators_pages_fit_and_are_legible(
    chromium: Browser, portal: PortalServer, size: str, theme: str, language: str
) -> None:
    with new_context(chromium, size=SIZES[size]) as context:
        page = context.new_page()
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
        log_in(page, portal, "admin")
        for name, address in addresses(page, portal).items():
            page.goto(address)
            if page.locator("html").get_attribute("lang") != language:
                page.locator(".frame-tools details", has=page.locator("[name=language]")).locator("summary").click()
                page.locator(f"button[name=language][value={language}]").click()
                page.goto(address)
            take_picture(page, f"{name}-{size}-{theme}-{language}")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
            assert faint_texts(page) == [], name
