"""A super-admin connects an engine with nothing but the browser: its CA is compared, pinned, and pinned anew after it changed."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.looking import Look, every_look
from tests.browser.portal_server import PortalServer
from tests.doubles.ovirt_engine.control import EngineDouble

pytestmark = pytest.mark.long


@every_look
def test_an_engine_is_connected_in_the_browser_alone(
    chromium: Browser, portal: PortalServer, ovirt_engine: EngineDouble, look: Look
) -> None:
    with look.of(chromium, portal, "admin", provoked=(400, 409)) as page:
        connect(page, portal, ovirt_engine, look)
        for found in ("node1", "vmstore", "students"):
            assert page.get_by_text(found, exact=True).count(), found
        look.see(page, "engine")
        address = page.url
        ovirt_engine.renew_certificate()
        ovirt_engine.stop()
        ovirt_engine.start()
        page.locator("form[action$='/test/'] button").click()
        page.wait_for_selector("[data-step=tls][data-status=failed]")
        look.see(page, "engine-other-ca")
        pin_anew(page, address, ovirt_engine, look)
        page.goto(f"{address}remove/")
        page.locator("form button.btn-outline-danger").click()
        page.wait_for_url(f"{portal.url}/providers/")


def connect(page: Page, portal: PortalServer, engine: EngineDouble, look: Look) -> None:
    """Refused without a password, then for its CA that nobody compared yet, then stored."""
    page.goto(f"{portal.url}/providers/new/")
    page.get_by_role("link", name="oVirt", exact=True).click()
    page.wait_for_selector("#username")
    look.see(page, "engine-new")
    page.fill("#name", f"engine-{look.size}")
    page.fill("#address", engine.url.removesuffix("/ovirt-engine/api"))
    page.fill("#username", engine.username)
    page.click("button[value=test]")
    page.wait_for_selector("#password-error")
    look.see(page, "engine-refused")
    page.fill("#password", engine.password)
    page.click("button[value=test]")
    page.wait_for_selector("[data-step=tls][data-status=failed]")
    look.see(page, "engine-ca")
    assert engine.password not in page.content(), "what was given is not sent back"
    page.check("input[name=found_ca]")
    page.click("button[value=save]")
    page.wait_for_url(re.compile(r"/providers/[0-9a-f-]{36}/"))


def pin_anew(page: Page, address: str, engine: EngineDouble, look: Look) -> None:
    """The stored password is not sent on another CA's word: it is asked for again."""
    page.goto(f"{address}edit/")
    page.click("button[value=test]")
    page.wait_for_selector("input[name=found_ca]")
    look.see(page, "engine-pin-anew")
    page.check("input[name=found_ca]")
    page.click("button[value=save]")
    page.wait_for_selector("#password-error")
    look.see(page, "engine-password-again")
    page.fill("#password", engine.password)
    page.click("button[value=save]")
    page.wait_for_url(address)
