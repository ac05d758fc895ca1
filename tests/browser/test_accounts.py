"""The pages of log-ins and tokens fit their windows, in both languages and themes."""

from __future__ import annotations

from playwright.sync_api import Browser

from tests.browser.looking import Look, every_look
from tests.browser.portal_server import PortalServer


@every_look
def test_pages_of_log_ins_and_tokens_fit_and_keep_the_policy(
    chromium: Browser, portal: PortalServer, look: Look
) -> None:
    with look.of(chromium, portal, "physics-admin") as page:
        page.goto(f"{portal.url}/tokens/new/")
        page.fill("#name", "backup of the physics laboratory")
        page.select_option("#permits", ["VM_RUN", "VM_SHUT_DOWN"])
        look.see(page, "token-form")
        page.click("main button[type=submit]")
        page.wait_for_selector("#token")
        look.see(page, "token-made")
        page.locator("main .actions a").click()
        page.wait_for_selector("#sessions-title")
        look.see(page, "account")
        page.goto(f"{portal.url}/data-centers/")
        page.locator("main").get_by_role("link", name="physics").click()
        page.wait_for_load_state()
        page.goto(f"{page.url}tokens/new/")
        page.fill("#name", f"deploy {look}")
        page.click("main button[type=submit]")
        page.wait_for_selector("#token")
        page.locator("main .actions a").click()
        page.wait_for_load_state()
        look.see(page, "service-tokens")
