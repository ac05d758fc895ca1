"""A super-admin connects a real far libvirt over SSH with nothing but the browser; the pages fit their windows."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.looking import Look, every_look
from tests.browser.person import follow
from tests.browser.portal_server import PortalServer
from tests.lab.far_host import FarHost

pytestmark = [pytest.mark.libvirt, pytest.mark.long]

SLOW_MILLISECONDS = 90_000  # a test of a connection tries the accelerator too


@every_look
def test_far_libvirt_is_connected_in_the_browser_alone(
    chromium: Browser, portal: PortalServer, session_far: FarHost, look: Look
) -> None:
    session_far.start()
    with look.of(chromium, portal, "admin") as page:
        page.set_default_timeout(SLOW_MILLISECONDS)
        far = connect(page, portal, session_far, look)
        page.locator("form[action$='/test/'] button").click()
        page.wait_for_selector("[data-step=accelerator]")
        look.see(page, "provider-tested")
        page.goto(f"{portal.url}/providers/")
        look.see(page, "providers")
        follow(page, page.get_by_role("link", name="local"))
        look.see(page, "provider-local")
        page.goto(f"{page.url}remove/")
        look.see(page, "provider-in-use")
        remove(page, portal, far, look)


def connect(page: Page, portal: PortalServer, far: FarHost, look: Look) -> str:
    """The address of its page: refused without a key, then for its unknown host key, then stored."""
    page.goto(f"{portal.url}/providers/new/")
    look.see(page, "provider-new")
    page.fill("#name", f"far-{look.size}")
    page.fill("#address", far.ssh_address)
    page.click("button[value=test]")
    page.wait_for_selector("#ssh_key-error")
    look.see(page, "provider-refused")
    page.fill("#ssh_key", far.key("user"))
    page.click("button[value=test]")
    page.wait_for_selector("[data-step=host_key][data-status=failed]")
    look.see(page, "provider-host-key")
    assert "PRIVATE KEY" not in page.content(), "what was given is not sent back"
    page.check("input[name=host_key]")
    page.click("button[value=save]")
    page.wait_for_url(re.compile(r"/providers/[0-9a-f-]{36}/"))
    assert "far.example" in page.content()
    look.see(page, "provider")
    return page.url


def remove(page: Page, portal: PortalServer, address: str, look: Look) -> None:
    page.goto(f"{address}edit/")
    look.see(page, "provider-edit")
    page.goto(f"{address}remove/")
    page.locator("form button.btn-outline-danger").click()
    page.wait_for_url(f"{portal.url}/providers/")
    assert f"far-{look.size}" not in page.locator("table").inner_text()
