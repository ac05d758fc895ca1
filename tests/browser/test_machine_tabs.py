"""A machine's tabs in a browser: they look right, and a list follows what happens to the machine."""

from __future__ import annotations

from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser.looking import Look, every_look
from tests.browser.person import UP_MILLISECONDS, log_in, make_machine
from tests.browser.portal_server import PortalServer

TABS = ("", "disks/", "nics/", "events/", "who/", "jobs/")


@every_look
def test_tabs_look_right(chromium: Browser, portal: PortalServer, look: Look) -> None:
    with look.of(chromium, portal, "dora") as page:
        machine = make_machine(page, portal, f"tabs-{look.size}")
        expect(page.locator(".head .state-up")).to_be_visible(timeout=UP_MILLISECONDS)
        for tab in TABS:
            page.goto(machine + tab, wait_until="load")
            look.see(page, f"machine-tab-{tab.strip('/') or 'overview'}")


def test_list_of_jobs_follows_what_is_done_on_its_page(desk: BrowserContext, portal: PortalServer) -> None:
    page = desk.new_page()
    log_in(page, portal, "dora")
    machine = make_machine(page, portal, "follow-1")
    expect(page.locator(".head .state-up")).to_be_visible(timeout=UP_MILLISECONDS)
    page.goto(f"{machine}jobs/")
    expect(page.locator("#jobs-list tbody tr")).to_have_count(1)
    loads: list[str] = []
    page.on("framenavigated", lambda frame: loads.append(frame.url))
    page.click("button[data-verb=shut_down]")
    expect(page.locator(".head .state-down")).to_be_visible(timeout=UP_MILLISECONDS)
    expect(page.locator("#jobs-list tbody tr")).to_have_count(2)
    expect(page.locator("#jobs-list tbody .state-up")).to_have_count(2, timeout=UP_MILLISECONDS)
    assert loads == []
