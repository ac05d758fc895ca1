"""A person logs in, makes a machine, watches it come up step by step, and looks at every page."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, WebSocketRoute, expect

from tests.browser.person import (
    SIZES,
    UP_MILLISECONDS,
    expect_down,
    expect_up,
    log_in,
    log_in_by_hand,
    make_machine,
    take_picture,
    uid_of,
)
from tests.browser.portal_server import REPOSITORY, PortalServer
from tests.doubles.hypervisor_state import HypervisorDouble
from tests.lab.browser import new_context, watched

PICTURE = REPOSITORY / "docs" / "images" / "machine.png"
TRY_AGAIN = 1013  # the code of a websocket's end after which one tries again (IANA's registry of them)


def test_machine_comes_up_live_and_goes_down_by_a_click(desk: BrowserContext, portal: PortalServer) -> None:
    page = desk.new_page()
    complaints = watched(page)
    log_in_by_hand(page, portal)
    loads: list[str] = []
    make_machine(page, portal, "live-1")
    page.on("framenavigated", lambda frame: loads.append(frame.url))
    expect_up(page)
    steps = page.locator(".step")
    expect(page.locator(".step[data-status=done]")).to_have_count(steps.count(), timeout=UP_MILLISECONDS)
    # Learnt by the watcher, in its own time.
    expect(page.locator("dl.facts code").first).to_contain_text(".", timeout=UP_MILLISECONDS)
    page.click("button[data-verb=shut_down]")
    expect_down(page)
    assert loads == [], "the page followed without being loaded anew"
    assert complaints == []


def test_connection_that_is_lost_is_told_and_comes_back(desk: BrowserContext, portal: PortalServer) -> None:
    page = desk.new_page()
    line = Line()
    page.route_web_socket(re.compile("/ws/"), line.take)
    log_in(page, portal)
    expect(page.locator("#offline")).to_be_hidden()
    page.route(page.url, lambda route: route.abort())  # nor can it look again, until it was seen to say so
    line.cut()
    lost = re.compile("^Connection lost, showing")
    expect(page.locator("#offline")).to_have_text(lost, timeout=UP_MILLISECONDS)
    page.unroute(page.url)
    expect(page.locator("#offline")).to_have_text(
        re.compile("^Connection lost; looking again"), timeout=UP_MILLISECONDS
    )
    line.mend()
    expect(page.locator("#offline")).to_be_hidden(timeout=UP_MILLISECONDS)


class Line:
    """Stands between a page and the portal's websockets: one that is cut ends what is open, and lets nothing through."""

    def __init__(self) -> None:
        self.whole = True
        self.open: list[WebSocketRoute] = []

    def take(self, route: WebSocketRoute) -> None:
        if not self.whole:
            route.close(code=TRY_AGAIN)
            return
        route.connect_to_server()
        self.open.append(route)

    def cut(self) -> None:
        self.whole = False
        for route in self.open:
            route.close(code=TRY_AGAIN)

    def mend(self) -> None:
        self.whole = True


def test_every_form_works_without_javascript(chromium: Browser, portal: PortalServer) -> None:
    context = chromium.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        log_in_by_hand(page, portal)
        address = make_machine(page, portal, "plain-1")
        expect(page.locator("h1")).to_have_text("plain-1")
        page.goto(f"{address}delete/")
        expect(page.locator("form button.btn-outline-danger")).to_be_visible()
    finally:
        context.close()


def test_first_load_is_small(desk: BrowserContext, portal: PortalServer) -> None:
    page = desk.new_page()
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    page.goto(f"{portal.url}/login/", wait_until="networkidle")
    assert 0 < sum(sizes) < 300_000


# Each size in each language, for how wide words are, and in each theme, for what the policy lets a theme load; each theme in
# each language. No two of them that meet have to do with the third.
@pytest.mark.parametrize(
    ("size", "theme", "language"),
    [("desk", "light", "en"), ("desk", "dark", "el"), ("phone", "light", "el"), ("phone", "dark", "en")],
)
def test_no_page_is_wider_than_its_window_or_breaks_the_policy(
    chromium: Browser, portal: PortalServer, *, language: str, theme: str, size: str
) -> None:
    with new_context(chromium, size=SIZES[size]) as context:
        context.add_cookies(
            [
                {"name": "django_language", "value": language, "url": portal.url},
                {"name": "theme", "value": theme, "url": portal.url},
            ]
        )
        page = context.new_page()
        log_in(page, portal, "bob")
        machine = make_machine(page, portal, f"a-machine-with-a-long-name-{language}-{theme}-{size}".ljust(64, "x"))
        expect_up(page)
        complaints = watched(page)
        for title, path in {
            "home": "/",
            "nothing-found": "/?q=nothing-such",
            "form": "/machines/new/",
            "machine": machine.removeprefix(portal.url),
            "delete": machine.removeprefix(portal.url) + "delete/",
            "jobs": "/jobs/",
        }.items():
            page.goto(portal.url + path, wait_until="load")
            take_picture(page, f"{title}-{size}-{theme}-{language}")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
            assert page.locator("html").get_attribute("data-bs-theme") == theme
            assert page.locator("html").get_attribute("lang") == language
        assert complaints == []
        _delete(page, machine)


def test_picture_of_the_readme(desk: BrowserContext, portal: PortalServer) -> None:
    page = desk.new_page()
    log_in(page, portal, "charlie")
    make_machine(page, portal, "web-server")
    expect_up(page)
    # Taken anew only when the old one was removed: a run of the tests leaves the checkout as it is.
    if not PICTURE.exists():
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURE)
    assert PICTURE.stat().st_size < 200_000


def test_menu_stays_open_and_focused_when_its_part_is_replaced(desk: BrowserContext, portal: PortalServer) -> None:
    page = desk.new_page()
    log_in(page, portal, "dora")
    machine = make_machine(page, portal, "menu-1")
    expect_up(page)
    page.locator(".head details summary").click()
    page.focus(".head button[data-verb=stop]")
    page.evaluate("document.querySelector('.head').dataset.old = '1'")
    # The head is replaced now, for something that the test does: what its own job had left to tell may have come before.
    HypervisorDouble(portal.hypervisor).set_vm(uid_of(machine), state="paused")
    expect(page.locator(".head .state-warning")).to_be_visible(timeout=UP_MILLISECONDS)
    expect(page.locator(".head[data-old]")).to_have_count(0)
    expect(page.locator(".head button[data-verb=stop]")).to_be_visible()
    expect(page.locator(".head button[data-verb=stop]")).to_be_focused()


def _delete(page: Page, machine: str) -> None:
    """Quota holds five machines of one person: make room for the next size."""
    page.goto(machine)
    page.locator(".head details summary").click()
    page.click("button[data-verb=stop]")
    expect_down(page)
    page.goto(f"{machine}delete/")
    page.click("form button.btn-outline-danger")
    page.wait_for_url(re.compile("/jobs/"))
    expect(page.locator(".head, main").get_by_text(re.compile("finished|ολοκληρώθηκε")).first).to_be_visible(
        timeout=UP_MILLISECONDS
    )
