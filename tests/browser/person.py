"""What a person does in the browser, and what is kept for people to look at."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.portal_server import PortalServer
from tests.lab.browser import OUTPUT

SIZES = {"desk": (1440, 900), "phone": (390, 844)}
UP_MILLISECONDS = 30_000


def log_in(page: Page, portal: PortalServer, username: str = "alice") -> None:
    page.goto(f"{portal.url}/login/")
    page.fill("#username", username)
    page.fill("#password", portal.password(username))
    page.click(".simple-card button[type=submit]")
    page.wait_for_url(f"{portal.url}/")


def make_machine(page: Page, portal: PortalServer, name: str) -> str:
    """The address of its page."""
    page.goto(f"{portal.url}/machines/new/")
    page.get_by_role("radio", name="Tiny Linux").check(force=True)  # others may have put more on the shelf
    page.fill("#name", name)
    page.click("button[value=review]")
    page.click("button[value=create]")
    page.wait_for_url(re.compile(r"/machines/[0-9a-f-]{36}/"))
    return page.url


def uid_of(machine: str) -> str:
    """The uid in the address of a machine's page."""
    return machine.rstrip("/").rpartition("/")[2]


def take_picture(page: Page, name: str) -> None:
    OUTPUT.mkdir(exist_ok=True)
    page.screenshot(path=OUTPUT / f"{name}.png", full_page=True)


def expect_screen(page: Page) -> None:
    """The console's page shows the machine's screen."""
    expect(page.locator("#console-note")).to_have_text("Connected", timeout=UP_MILLISECONDS)
    expect(page.locator("#console-cover")).to_be_hidden()
    expect(page.locator("#console-screen canvas")).to_be_visible()
