"""The pages of data centers fit their windows, in both languages and themes."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.browser.looking import Look, every_look
from tests.browser.person import follow
from tests.browser.portal_server import PortalServer


@every_look
def test_pages_of_data_centers_fit_and_keep_the_policy(chromium: Browser, portal: PortalServer, look: Look) -> None:
    with look.of(chromium, portal, "admin") as page:
        page.goto(f"{portal.url}/templates/")
        look.see(page, "templates")
        page.goto(f"{portal.url}/data-centers/")
        look.see(page, "data-centers")
        follow(page, page.locator("main").get_by_role("link", name="physics"))
        look.see(page, "data-center")
        center = page.url
        page.goto(f"{portal.url}/data-centers/new/")
        page.fill("#name", "not a name")
        page.click("main button[type=submit]")
        page.wait_for_selector("#name-error")
        expect(page.locator("#name")).to_be_focused()
        look.see(page, "data-center-form")
        page.goto(f"{portal.url}/data-centers/launch/")
        page.fill("#name", "Z" * 64)
        for stage in range(1, 6):
            page.click("button[value=next]")
            page.wait_for_selector(f"input[name=at][value='{stage}']", state="attached")
        page.click("button[value=next]")
        page.wait_for_selector("#admin-error")
        look.see(page, "launch-refused")
        page.fill("#admin", "chemist")
        page.check("#admin_is_new")
        page.click("button[value=next]")
        page.wait_for_selector("#password")
        look.see(page, "launch-review")
        page.click("button[value=anew]")
        page.wait_for_selector("#name")
        page.goto(f"{center}networks/new/")
        page.fill("#name", "not a name")
        page.fill("#cidr", "8.8.8.0/24")
        page.click("main button[type=submit]")
        page.wait_for_selector("#cidr-error")
        look.see(page, "network-form-refused")
