"""A super-admin connects a real far libvirt over SSH with nothing but the browser; the pages fit their windows."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.person import SIZES, log_in, take_picture
from tests.browser.portal_server import PortalServer
from tests.lab.browser import new_context, watched
from tests.lab.far_host import FarHost

pytestmark = [pytest.mark.libvirt, pytest.mark.long]

SLOW_MILLISECONDS = 90_000  # a test of a connection tries the accelerator too


def fits(page: Page, name: str) -> None:
    take_picture(page, name)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name


@pytest.mark.parametrize(("size", "theme", "language"), [("desk", "light", "en"), ("phone", "dark", "el")])
def test_far_libvirt_is_connected_in_the_browser_alone(
    chromium: Browser, portal: PortalServer, session_far: FarHost, *, size: str, theme: str, language: str
) -> None:
    look = f"{size}-{theme}-{language}"
    session_far.start()
    with new_context(chromium, size=SIZES[size]) as context:
        cookies = {"django_language": language, "theme": theme}
        context.add_cookies([{"name": name, "value": value, "url": portal.url} for name, value in cookies.items()])
        page = context.new_page()
        page.set_default_timeout(SLOW_MILLISECONDS)
        complaints = watched(page)
        log_in(page, portal, "admin")
        page.goto(f"{portal.url}/providers/new/")
        fits(page, f"provider-new-{look}")
        page.fill("#name", f"far-{size}")
        page.select_option("#kind", "libvirt")
        page.fill("#address", session_far.ssh_address)
        page.click("button[value=test]")
        page.wait_for_selector("#ssh_key-error")
        fits(page, f"provider-refused-{look}")
        page.fill("#ssh_key", session_far.key("user"))
        page.click("button[value=test]")
        page.wait_for_selector("[data-step=host_key][data-status=failed]")
        fits(page, f"provider-host-key-{look}")
        assert "PRIVATE KEY" not in page.content(), "what was given is not sent back"
        page.check("input[name=host_key]")
        page.click("button[value=save]")
        page.wait_for_url(re.compile(r"/providers/[0-9a-f-]{36}/"))
        assert "far.example" in page.content()
        fits(page, f"provider-{look}")
        page.locator("form[action$='/test/'] button").click()
        page.wait_for_selector("[data-step=accelerator]")
        fits(page, f"provider-tested-{look}")
        page.goto(f"{portal.url}/providers/")
        fits(page, f"providers-{look}")
        page.get_by_role("link", name="local").click()
        page.wait_for_load_state()
        local = page.url
        fits(page, f"provider-local-{look}")
        page.goto(f"{local}remove/")
        fits(page, f"provider-in-use-{look}")
        page.goto(f"{portal.url}/providers/")
        page.get_by_role("link", name=f"far-{size}").click()
        page.wait_for_load_state()
        page.goto(f"{page.url}edit/")
        fits(page, f"provider-edit-{look}")
        page.goto(f"{page.url.removesuffix('edit/')}remove/")
        page.locator("form button.btn-outline-danger").click()
        page.wait_for_url(f"{portal.url}/providers/")
        assert f"far-{size}" not in page.locator("table").inner_text()
        assert [each for each in complaints if "400" not in each] == []
