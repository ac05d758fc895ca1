"""What one sees at a look: contrast, menus that fit a phone, and ages that grow."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser.contrast import faint_texts
from tests.browser.person import SIZES, UP_MILLISECONDS, expect_up, log_in, make_machine, take_picture
from tests.browser.portal_server import PortalServer
from tests.doubles.hypervisor_state import Fault, HypervisorDouble
from tests.lab.browser import new_context


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_has_contrast_enough(desk: BrowserContext, portal: PortalServer, theme: str) -> None:
    page = desk.new_page()
    page.emulate_media(color_scheme="light" if theme == "light" else "dark", reduced_motion="reduce")
    log_in(page, portal, "bob")
    assert faint_texts(page) == []
    page.goto(f"{portal.url}/machines/new/")
    page.fill("#name", "no name, this")
    page.click("button[value=review]")
    expect(page.locator("#summary .alert")).to_be_visible()
    assert faint_texts(page) == []


def test_menu_of_a_machine_fits_a_phone(chromium: Browser, portal: PortalServer) -> None:
    with new_context(chromium, size=SIZES["phone"]) as context:
        page = context.new_page()
        log_in(page, portal, "physics-admin")
        make_machine(page, portal, "phone-1")
        expect_up(page)
        page.locator(".head details summary").click()
        for verb in ("reboot", "stop", "delete"):
            expect(page.locator(f".head [data-verb={verb}]")).to_be_in_viewport(ratio=1)


def test_ages_grow_while_one_looks(desk: BrowserContext, portal: PortalServer) -> None:
    page = desk.new_page()
    log_in(page, portal, "informatics-admin")
    make_machine(page, portal, "age-1")
    # The list of jobs, for no part of it is replaced (and made young again) while one looks.
    page.goto(f"{portal.url}/jobs/")
    age = page.locator("#jobs-list time").first
    age.evaluate("(time) => { time.dataset.age = 7199; }")
    expect(age).to_have_text("2 hours ago")


def test_creation_that_failed_says_so_and_is_tried_again(chromium: Browser, portal: PortalServer) -> None:
    HypervisorDouble(portal.hypervisor).fail("create_disk", Fault.REFUSED)
    with new_context(chromium, size=SIZES["phone"]) as context:
        page = context.new_page()
        log_in(page, portal, "dora")
        make_machine(page, portal, "second-try")
        page.goto(f"{portal.url}/jobs/")
        page.locator("#jobs-list a").first.click()
        again = page.get_by_role("link", name="Try again")
        expect(again).to_be_visible(timeout=UP_MILLISECONDS)  # when the job has ended
        take_picture(page, "failed-job-phone-light-en")
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        page.set_viewport_size(dict(zip(("width", "height"), SIZES["desk"], strict=True)))
        take_picture(page, "failed-job-desk-dark-en")
        assert faint_texts(page) == []
        again.click()
        expect(page.locator("#name")).to_have_value("second-try")
