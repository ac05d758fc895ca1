"""A person sits at a machine's screen in the browser: a real VNC server of QEMU behind the double."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser.person import SIZES, UP_MILLISECONDS, expect_screen, log_in, take_picture
from tests.browser.portal_server import PortalServer
from tests.compute.console.qemu import PASSWORD, QemuVnc
from tests.doubles.hypervisor_state import HypervisorDouble
from tests.lab.browser import new_context, watched

CLOSED_PORT = 1


@pytest.fixture
def desk(desk: BrowserContext, portal: PortalServer) -> BrowserContext:
    """Dora is logged in at it."""
    page = desk.new_page()
    log_in(page, portal, "dora")
    page.close()
    return desk


def test_a_click_opens_the_screen(desk: BrowserContext, portal: PortalServer, machine: str, screen: QemuVnc) -> None:
    page = desk.new_page()
    complaints = watched(page)
    page.goto(machine)
    page.click(".head a[data-verb=connect]")
    expect_screen(page)
    size = page.evaluate("(({width, height}) => [width, height])(document.querySelector('#console-screen canvas'))")
    assert min(size) > 100
    assert complaints == []


def test_ticket_is_in_no_address(desk: BrowserContext, portal: PortalServer, machine: str, screen: QemuVnc) -> None:
    page = desk.new_page()
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.on("websocket", lambda socket: addresses.append(socket.url))
    with page.expect_response("**/consoles/") as answer:
        page.goto(f"{machine}console/")
    ticket = answer.value.json()["ticket"]
    expect_screen(page)
    assert any("/ws/consoles/" in address for address in addresses)
    assert not [address for address in addresses if ticket in address]


def test_machine_that_goes_off_says_so_and_shows_its_screen_when_it_runs_again(
    desk: BrowserContext, portal: PortalServer, machine: str, screen: QemuVnc, tmp_path: Path
) -> None:
    page = desk.new_page()
    page.goto(f"{machine}console/")
    expect_screen(page)
    page.locator(".head details summary").click()
    page.click("button[data-verb=stop]")
    expect(page.locator(".head .state-down")).to_be_visible(timeout=UP_MILLISECONDS)
    expect(page.locator(".head button[data-verb=run]")).to_be_enabled(timeout=UP_MILLISECONDS)  # the job has ended too
    screen.stop()  # as a hypervisor does with the screen of a machine that stops
    expect(page.locator("#console-cover-text")).to_contain_text("down")
    again = QemuVnc(tmp_path, name="screen-again", password=PASSWORD)
    try:
        HypervisorDouble(portal.hypervisor).configure(console_port=again.port)
        page.click(".head button[data-verb=run]")
        expect_screen(page)
    finally:
        again.stop()


def test_log_out_elsewhere_ends_the_console_and_leads_to_the_log_in(
    desk: BrowserContext, portal: PortalServer, machine: str, screen: QemuVnc
) -> None:
    page, other = desk.new_page(), desk.new_page()
    page.goto(f"{machine}console/")
    expect_screen(page)
    other.goto(portal.url)
    other.click(".frame-tools summary[aria-label='Your account']")
    other.click("form[action='/logout/'] button")
    page.wait_for_url(re.compile(r"/login/\?next=/machines/"))


def test_screen_that_cannot_be_reached_is_told_in_a_sentence(
    desk: BrowserContext, portal: PortalServer, machine: str
) -> None:
    HypervisorDouble(portal.hypervisor).configure(console_port=CLOSED_PORT)
    page = desk.new_page()
    page.goto(f"{machine}console/")
    expect(page.locator("#console-cover-text")).to_contain_text("cannot be reached", timeout=UP_MILLISECONDS)
    expect(page.locator("#console-again")).to_be_visible()


def test_console_of_another_department_is_not_there(
    chromium: Browser, portal: PortalServer, machine: str, screen: QemuVnc
) -> None:
    with new_context(chromium, size=SIZES["desk"]) as context:
        page = context.new_page()
        log_in(page, portal, "alice")
        answer = page.goto(f"{machine}console/")
        assert answer is not None
        assert answer.status == 404


@pytest.mark.parametrize("language", ["en", "el"])
@pytest.mark.parametrize("size", SIZES)
def test_console_page_fits_its_window(
    chromium: Browser, portal: PortalServer, machine: str, screen: QemuVnc, *, language: str, size: str
) -> None:
    with new_context(chromium, size=SIZES[size]) as context:
        context.add_cookies([{"name": "django_language", "value": language, "url": portal.url}])
        page = context.new_page()
        log_in(page, portal, "dora")
        page.goto(f"{machine}console/")
        expect(page.locator("#console-cover")).to_be_hidden(timeout=UP_MILLISECONDS)
        take_picture(page, f"console-{size}-light-{language}")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
