"""A log-in that ends while somebody fills in the wizard: the page says so, and what was typed is there after the next."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.browser.looking import Look, every_look
from tests.browser.person import make_machine
from tests.browser.portal_server import PortalServer


@every_look
def test_what_was_typed_is_there_after_the_next_log_in(chromium: Browser, portal: PortalServer, look: Look) -> None:
    with look.of(chromium, portal, "alice", provoked=(401,)) as page:
        page.goto(f"{portal.url}/machines/new/")
        expect(page.locator("#summary .meters")).to_be_visible()
        page.select_option("#nic-2", index=1)
        expect(page.locator("#nic-3")).to_be_visible()
        page.context.clear_cookies(name="sessionid")
        page.fill("#name", "kept-1")
        page.fill("#description", "Πεδίο δοκιμών")
        page.locator("#description").blur()
        expect(page.locator("#summary [role=status]")).to_be_visible()
        expect(page.locator("#name")).to_have_value("kept-1")
        page.click("button[value=review]")
        expect(page.locator(".alert-info")).to_be_visible()
        look.see(page, "log-in-again")
        page.fill("#username", "alice")
        page.fill("#password", portal.password("alice"))
        page.click(".simple-card button[type=submit]")
        page.wait_for_url("**/machines/new/")
        expect(page.locator("#name")).to_have_value("kept-1")
        expect(page.locator("#description")).to_have_value("Πεδίο δοκιμών")
        expect(page.locator("#nic-3")).to_be_visible()
        look.see(page, "wizard-kept")


def test_back_from_what_was_made_leads_to_the_form_and_sends_nothing_once_more(
    chromium: Browser, portal: PortalServer
) -> None:
    with Look("desk", "light", "en").of(chromium, portal, "bob") as page:
        made = make_machine(page, portal, "once-1")
        page.go_back()
        expect(page.locator("button[value=review]")).to_be_visible()
        page.go_forward()
        page.wait_for_url(made)
        page.goto(f"{portal.url}/machines/new/")
        page.click("button[value=review]")
        expect(page.locator("button[value=create]")).to_be_visible()
        page.wait_for_load_state()
        page.reload()
        expect(page.locator("button[value=review]")).to_be_visible()
        page.goto(f"{portal.url}/search/?q=once-1")
        expect(page.locator("a.found")).to_have_count(1)
