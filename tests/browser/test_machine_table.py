"""The table of machines in a browser: it changes in place, its menus act, and it fits a phone."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.browser.contrast import faint_texts
from tests.browser.looking import Look, every_look
from tests.browser.person import SIZES, UP_MILLISECONDS, expect_up, follow, log_in, make_machine, take_picture
from tests.browser.portal_server import PortalServer
from tests.lab.browser import new_context


def test_table_lives_and_its_menu_acts(chromium: Browser, portal: PortalServer) -> None:
    with new_context(chromium, size=SIZES["desk"]) as context:
        page = context.new_page()
        log_in(page, portal, "physics-admin")
        make_machine(page, portal, "in-the-table")
        page.goto(portal.url)
        row = page.locator("tr", has=page.get_by_role("link", name="in-the-table"))
        expect(row.locator(".state-up")).to_be_visible(timeout=UP_MILLISECONDS)
        row.locator("summary").click()
        take_picture(page, "table-desk-light-en")
        row.locator("[data-verb=stop]").click()
        expect(row.locator(".state-down")).to_be_visible(timeout=UP_MILLISECONDS)
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        assert faint_texts(page) == []
        take_picture(page, "table-desk-dark-en")
        page.set_viewport_size(dict(zip(("width", "height"), SIZES["phone"], strict=True)))
        take_picture(page, "table-phone-dark-en")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.set_viewport_size({"width": SIZES["phone"][0], "height": 640})  # the menu opens at its lower edge
        row.locator("summary").click()
        expect(row.locator("[data-verb=delete]")).to_be_in_viewport(ratio=1)


@every_look
def test_ticked_machines_are_stopped_and_deleted_together(chromium: Browser, portal: PortalServer, look: Look) -> None:
    with look.of(chromium, portal, "informatics-admin") as page:
        for number in (1, 2):
            make_machine(page, portal, f"bulk-{look.size}-{number}")
            expect_up(page)
        list_of_them = f"{portal.url}/?q=bulk-{look.size}"
        page.goto(list_of_them)
        expect(page.locator(".bulk button[value=stop]")).to_be_disabled()
        page.click("[data-select-all]")
        look.see(page, "table-ticked")
        page.click(".bulk button[value=stop]")
        expect(page.locator("tbody tr")).to_have_count(2)
        look.see(page, "bulk-outcomes")
        page.goto(list_of_them)
        page.locator("input[name=machine]").first.check()
        expect(page.locator("tbody .state-down")).to_have_count(2, timeout=UP_MILLISECONDS)
        allowed = page.locator(
            "tbody [data-verb=delete]:not([aria-disabled])"
        )  # as soon as the job that stopped it has ended
        expect(allowed).to_have_count(2, timeout=UP_MILLISECONDS)
        expect(page.locator("input[name=machine]:checked")).to_have_count(1)
        page.click("[data-select-all]")
        follow(page, page.locator(".bulk button[value=delete]"))
        look.see(page, "bulk-delete")
        page.click("form .btn-outline-danger")
        expect(page.locator("tbody .state-changing")).to_have_count(2)
        page.goto(f"{portal.url}/data-centers/")
        page.locator("main").get_by_role("link", name="informatics").click()
        page.locator(".meter-link").first.click()
        page.wait_for_url("**/use/**")
        look.see(page, "quota-use")
