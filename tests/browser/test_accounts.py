"""The pages of log-ins and tokens fit their windows, in both languages and themes."""

from __future__ import annotations

import pyotp
from playwright.sync_api import Browser, expect

from tests.browser.looking import Look, every_look
from tests.browser.person import follow
from tests.browser.portal_server import PortalServer


@every_look
def test_pages_of_log_ins_and_tokens_fit_and_keep_the_policy(
    chromium: Browser, portal: PortalServer, look: Look
) -> None:
    with look.of(chromium, portal, "physics-admin") as page:
        page.goto(f"{portal.url}/tokens/new/")
        page.fill("#name", "backup of the physics laboratory")
        for permit in ("VM_RUN", "VM_SHUT_DOWN"):
            page.check(f"#permits [value={permit}]")
        page.fill("#password", portal.password("physics-admin"))
        look.see(page, "token-form")
        page.click("main button[type=submit]")
        page.wait_for_selector("#token")
        look.see(page, "token-made")
        follow(page, page.locator("main .actions a"))
        page.wait_for_selector("#sessions-title")
        look.see(page, "account")
        page.goto(f"{portal.url}/data-centers/")
        follow(page, page.locator("main").get_by_role("link", name="physics"))
        page.goto(f"{page.url}tokens/new/")
        page.fill("#name", f"deploy {look}")
        page.fill("#password", portal.password("physics-admin"))
        page.click("main button[type=submit]")
        page.wait_for_selector("#token")
        page.reload()  # sends nothing once more: the form is there again, and no refusal
        expect(page.locator("#name")).to_have_value("")
        page.goto(page.url.replace("new/", ""))
        look.see(page, "service-tokens")


@every_look
def test_pages_of_second_factors_and_events_fit_and_keep_the_policy(
    chromium: Browser, portal: PortalServer, look: Look
) -> None:
    with look.of(chromium, portal, "bob") as page:
        page.goto(f"{portal.url}/factor/")
        look.see(page, "factor-add")
        secret = page.input_value("#secret")
        page.fill("#code", "12345")
        page.click("form[action='/factor/add/'] button")
        page.wait_for_selector("#code-error")
        page.fill("#code", pyotp.TOTP(secret).now())
        page.click("form[action='/factor/add/'] button")
        page.wait_for_selector(".codes")
        look.see(page, "factor-codes")
        spare = page.locator(".codes li").all_inner_texts()
        follow(page, page.locator(".simple-card a.btn"))
        page.goto(f"{portal.url}/events/")
        look.see(page, "events")
        with page.expect_download() as begun:
            page.click("button[value=csv]")
        assert begun.value.path().read_text().startswith("at,code,")
        page.context.clear_cookies(name="sessionid")
        page.goto(f"{portal.url}/login/")
        page.fill("#username", "bob")
        page.fill("#password", portal.password("bob"))
        page.click(".simple-card button[type=submit]")
        page.wait_for_selector("#code")
        look.see(page, "login-code")
        page.fill("#code", spare[0])
        page.click(".simple-card form[action='/login/code/'] button")
        page.wait_for_url(f"{portal.url}/")
        page.goto(f"{portal.url}/factor/")
        look.see(page, "factor")
        page.fill("#code", spare[1])  # the other look begins without one
        page.click("button[formaction]")
        page.wait_for_selector("#sessions-title")
