"""The pages of administrators as one sees them: people, users, events, limits, search."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect

from tests.browser.looking import Look, every_look
from tests.browser.person import SIZES, expect_up, log_in, make_machine, take_picture
from tests.browser.portal_server import PortalServer
from tests.doubles.hypervisor_state import HypervisorDouble
from tests.lab.browser import new_context

PAGES = (
    "people",
    "grants",
    "share",
    "quota",
    "users",
    "user-new",
    "roles",
    "role-new",
    "events",
    "search",
    "unassigned",
)


def addresses(page: Page, portal: PortalServer) -> dict[str, str]:
    page.goto(f"{portal.url}/data-centers/")
    center = page.get_by_role("link", name="physics").last.get_attribute("href")
    page.goto(f"{portal.url}{center}people/")
    share = page.locator("a[href$='/share/']").first.get_attribute("href")
    places = (
        f"{center}people/",
        f"/grants/data_center/{str(center).split('/')[-2]}/",
        share,
        f"{center}quota/",
        "/users/",
        "/users/new/",
        "/roles/",
        "/roles/new/?from=user-role",
        "/events/",
        "/search/?q=i",
        "/unassigned/",
    )
    return dict(zip(PAGES, (f"{portal.url}{place}" for place in places), strict=True))


def test_nothing_runs_over_the_edge_at_320_pixels(chromium: Browser, portal: PortalServer) -> None:
    """A desk's page at 400 % is as narrow (WCAG 2.2, reflow)."""
    with new_context(chromium, size=(320, 640)) as context:
        page = context.new_page()
        log_in(page, portal, "admin")
        make_machine(page, portal, "a-name-that-is-long-" + "x" * 44)
        places = {"machine": page.url} | addresses(page, portal)
        for name in ("", "jobs/", "machines/new/", "data-centers/", "data-centers/new/", "no-such-page/"):
            places[name] = f"{portal.url}/{name}"
        for name, address in places.items():
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, name
            take_picture(page, f"narrow-{name.strip('/').replace('/', '-') or 'home'}")


@every_look
def test_administrators_pages_fit_and_are_legible(chromium: Browser, portal: PortalServer, look: Look) -> None:
    with look.of(chromium, portal, "admin") as page:
        for name, address in addresses(page, portal).items():
            page.goto(address)
            look.see(page, name)


@every_look
def test_forms_of_administrators_that_are_refused_and_lists_without_a_row(
    chromium: Browser, portal: PortalServer, look: Look
) -> None:
    with look.of(chromium, portal, "admin") as page:
        pages = addresses(page, portal)
        for name, field, value in (
            ("share", "machines", "-1"),
            ("user-new", "username", ""),
            ("people", "username", "x"),
        ):
            page.goto(pages[name])
            page.locator("main form [required]").evaluate_all(
                "(all) => all.forEach((one) => { one.required = false; })"
            )
            page.locator("main form").evaluate_all("(all) => all.forEach((one) => { one.noValidate = true; })")
            page.fill(f"#{field}", value)
            page.locator("main form button.btn-primary").last.click()
            page.wait_for_selector(f"#{field}-error")
            look.see(page, f"{name}-refused")
        for name, query in (
            ("users", "?q=nobody-at-all"),
            ("events", "?q=nothing-at-all"),
            ("search", "?q=nothing-at-all"),
        ):
            page.goto(pages[name].partition("?")[0] + query)
            look.see(page, f"{name}-none")
        page.goto(f"{portal.url}/?q=nothing-at-all")
        look.see(page, "table-none")


@every_look
def test_found_machine_is_adopted_protected_and_given_back(chromium: Browser, portal: PortalServer, look: Look) -> None:
    name = planted(portal, look)
    with look.of(chromium, portal, "admin", provoked=(400, 409)) as page:
        until_listed(page, portal, name)
        look.see(page, "unassigned-found")
        page.click("button[value=review]")
        page.wait_for_selector(".alert-danger")
        look.see(page, "unassigned-refused")
        page.get_by_role("checkbox", name=name).check()
        page.select_option("#data_center", label="physics")
        page.fill("#owner", "bob")
        page.click("button[value=review]")
        page.wait_for_selector("button[value=adopt]")
        look.see(page, "adoption-review")
        page.click("button[value=adopt]")
        expect(page.locator(".alert-success")).to_be_visible()
        page.goto(f"{portal.url}/?q={name}")
        page.get_by_role("link", name=name).click()
        expect_up(page)
        machine = page.url
        choose(page, "/protect/")
        expect(page.locator(".head-status")).to_contain_text({"en": "protected", "el": "προστατευμένη"}[look.language])
        look.see(page, "machine-protected")
        page.goto(f"{machine}confirm/stop/")
        look.see(page, "confirm-stop")
        page.fill("#confirm", "another name")
        page.click("main button[type=submit]")
        page.wait_for_selector("#confirm-error")
        look.see(page, "confirm-wrong")
        page.goto(machine)
        choose(page, "/unprotect/")
        expect(page.locator(".head form[action$='/protect/']")).to_have_count(1)
        page.goto(f"{machine}confirm/unadopt/")
        look.see(page, "confirm-unadopt")
        page.click("main button[type=submit]")
        page.wait_for_url(re.compile(r"/jobs/[0-9a-f-]{36}/"))


def planted(portal: PortalServer, look: Look) -> str:
    """A machine of its own for this look; those of the others are planted with it, so that one compare finds them all."""
    names = {size: f"mail-{size}" for size in SIZES}
    double = HypervisorDouble(portal.hypervisor)
    there = {body["name"] for body in double.things("vm").values()}
    for name in sorted(set(names.values()) - there):
        double.plant_vm(name, state="up")
    return names[look.size]


def until_listed(page: Page, portal: PortalServer, name: str) -> None:
    """The watcher's next compare sees it."""
    for _ in range(90):
        page.goto(f"{portal.url}/unassigned/")
        if page.get_by_role("checkbox", name=name).count():
            return
        page.wait_for_timeout(1000)
    raise AssertionError(f"{name} is not listed")


def choose(page: Page, action: str) -> None:
    """An entry of the machine's menu."""
    page.locator(".head details summary").click()
    page.locator(f".head form[action$='{action}'] button").click()
