"""What a person does in the browser, and what is kept for people to look at."""

from __future__ import annotations

import os
import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.portal_server import PortalServer
from tests.lab.browser import OUTPUT, PICTURES

SIZES = {"desk": (1440, 900), "phone": (390, 844)}
BETWEEN = {"tablet": (800, 1100), "laptop": (1024, 768)}
UP_MILLISECONDS = 30_000


def log_in(page: Page, portal: PortalServer, username: str = "alice") -> None:
    """The form is sent without being drawn: what draws it and types is ``log_in_by_hand``."""
    form = page.context.request.get(f"{portal.url}/login/").text()
    token, *_ = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
    sent = {"csrfmiddlewaretoken": token, "username": username, "password": portal.password(username)}
    assert page.context.request.post(f"{portal.url}/login/", form=sent, max_redirects=0).status == 302
    page.goto(f"{portal.url}/")


def follow(page: Page, way: Locator) -> None:
    """Click what leads to another page, and be there when that has come whole: a click may be over before the way begins, and
    whoever goes on at once breaks it off.
    """
    with page.expect_navigation():
        way.click()


def log_in_by_hand(page: Page, portal: PortalServer, username: str = "alice") -> None:
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


def expect_up(page: Page, milliseconds: int = UP_MILLISECONDS) -> None:
    """The machine runs, and the job that made or started it has ended too: before that no other may begin."""
    expect(page.locator(".head .state-up")).to_be_visible(timeout=milliseconds)
    expect(page.locator(".head [data-verb=stop]:not([aria-disabled])")).to_be_attached(timeout=milliseconds)


def expect_down(page: Page, milliseconds: int = UP_MILLISECONDS) -> None:
    """The machine is off, and the job that stopped it has ended too: before that no other may begin."""
    expect(page.locator(".head .state-down")).to_be_visible(timeout=milliseconds)
    expect(page.locator(".head a[data-verb=delete]:not([aria-disabled])")).to_be_attached(timeout=milliseconds)


def uid_of(machine: str) -> str:
    """The uid in the address of a machine's page."""
    return machine.rstrip("/").rpartition("/")[2]


def take_picture(page: Page, name: str) -> None:
    """For whoever asked for pictures (``--pictures``): to draw a page whole is a quarter of the work of looking at it."""
    if PICTURES not in os.environ:
        return
    OUTPUT.mkdir(exist_ok=True)
    page.screenshot(path=OUTPUT / f"{name}.png", full_page=True)


def expect_screen(page: Page) -> None:
    """The console's page shows the machine's screen."""
    expect(page.locator("#console-note")).to_have_text("Connected", timeout=UP_MILLISECONDS)
    expect(page.locator("#console-cover")).to_be_hidden()
    expect(page.locator("#console-screen canvas")).to_be_visible()
