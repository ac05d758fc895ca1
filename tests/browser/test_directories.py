"""A super-admin connects a real directory in the browser; its admin logs in, and is out within a minute of leaving its group."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.looking import Look, every_look
from tests.browser.person import SIZES, UP_MILLISECONDS, expect_screen, follow
from tests.browser.portal_server import PortalServer
from tests.compute.console.qemu import QemuVnc
from tests.lab.browser import new_context
from tests.lab.slapd_server import GROUPS, PEOPLE, PORTAL, PORTAL_PASSWORD, SlapdServer

pytestmark = [pytest.mark.slapd, pytest.mark.long]

PASSWORD = "Prima-vera-1642"
MINUTE_MILLISECONDS = 75_000


@every_look
def test_a_directory_is_connected_and_followed(
    chromium: Browser, portal: PortalServer, slapd: SlapdServer, look: Look, machine: str, screen: QemuVnc
) -> None:
    name, group = f"hypatia-{look.size}", f"admins-{look.size}"
    person = slapd.person(name, PASSWORD, displayName="Hypatia of Alexandria")
    group_dn = slapd.group(group, [person])
    with look.of(chromium, portal, "admin", provoked=(400, 409)) as page:
        connect(page, portal, slapd, look)
        page.fill("#group", group)
        page.select_option("#role", "data-center-admin")
        page.select_option("#target", label="informatics")
        page.locator("form:has(#group) button[type=submit]").click()
        page.wait_for_selector("table")
        page.fill("#username", name)
        page.locator("#simulation button").click()
        page.wait_for_selector("#simulation dl")
        look.see(page, "directory")
        page.goto(re.sub(r"simulate/.*", "sync/", page.url))
        look.see(page, "directory-sync")
        page.goto(f"{portal.url}/directories/")
        look.see(page, "directories")
        with new_context(chromium, size=SIZES[look.size]) as context:
            leave_the_group(context.new_page(), portal, slapd, group_dn, f"lab-{look.size}\\{name}", machine=machine)
        page.reload()
        follow(page, page.get_by_role("link", name=f"lab-{look.size}"))
        page.goto(f"{page.url}remove/")
        look.see(page, "directory-in-use")


def connect(page: Page, portal: PortalServer, slapd: SlapdServer, look: Look) -> None:
    """Refused for its authority first, then stored."""
    page.goto(f"{portal.url}/directories/new/")
    look.see(page, "directory-new")
    page.fill("#name", f"lab-{look.size}")
    page.select_option("#kind", "openldap")
    page.fill("#urls", slapd.ldaps_url)
    page.fill("#bind_dn", PORTAL)
    page.fill("#password", PORTAL_PASSWORD)
    page.fill("#base_dn", PEOPLE)
    page.fill("#group_base_dn", GROUPS)
    page.click("button[value=test]")
    page.wait_for_selector("[data-step=certificate][data-status=failed]")
    look.see(page, "directory-refused")
    assert PORTAL_PASSWORD not in page.content(), "what was given is not sent back"
    page.fill("#ca_pem", slapd.ca_pem)
    page.click("button[value=save]")
    page.wait_for_url(re.compile(r"/directories/[0-9a-f-]{36}/"))


def leave_the_group(
    page: Page, portal: PortalServer, slapd: SlapdServer, group: str, name: str, *, machine: str
) -> None:
    """The member sees his data center and sits at a machine's screen; when he has left the group, the sync of the portal's own
    beat ends both.
    """
    page.goto(f"{portal.url}/login/")
    page.fill("#username", name)
    page.fill("#password", PASSWORD)
    page.press("#password", "Enter")
    page.wait_for_url(f"{portal.url}/")
    page.goto(f"{portal.url}/data-centers/")
    center = page.locator("main table a").first.get_attribute("href")
    address = f"{portal.url}{center}"
    assert page.goto(address).status == 200  # type: ignore[union-attr]
    console = page.context.new_page()
    console.goto(f"{machine}console/")
    expect_screen(console)
    slapd.change(group, member=["cn=nobody,dc=lab,dc=example"])
    page.wait_for_function(
        "async (address) => (await fetch(address)).status === 404",
        arg=address,
        polling=1000,
        timeout=MINUTE_MILLISECONDS,
    )
    expect(console.locator("#console-note")).not_to_have_text("Connected", timeout=UP_MILLISECONDS)
    expect(console.locator("#console-screen canvas")).to_be_hidden()
