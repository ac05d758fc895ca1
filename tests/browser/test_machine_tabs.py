"""A machine's tabs in a browser: they look right, and a list follows what happens to the machine."""

from __future__ import annotations

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.looking import Look, every_look
from tests.browser.person import UP_MILLISECONDS, expect_down, expect_up, log_in, make_machine
from tests.browser.portal_server import PortalServer

TABS = ("", "disks/", "nics/", "events/", "who/", "jobs/")


@every_look
def test_tabs_look_right(chromium: Browser, portal: PortalServer, look: Look) -> None:
    with look.of(chromium, portal, "dora") as page:
        machine = make_machine(page, portal, f"tabs-{look.size}")
        expect_up(page)
        for tab in TABS:
            page.goto(machine + tab, wait_until="load")
            look.see(page, f"machine-tab-{tab.strip('/') or 'overview'}")


def test_list_of_jobs_follows_what_is_done_on_its_page(desk: BrowserContext, portal: PortalServer) -> None:
    page = desk.new_page()
    log_in(page, portal, "dora")
    machine = make_machine(page, portal, "follow-1")
    expect_up(page)
    page.goto(f"{machine}jobs/")
    expect(page.locator("#jobs-list tbody tr")).to_have_count(1)
    loads: list[str] = []
    page.on("framenavigated", lambda frame: loads.append(frame.url))
    page.click("button[data-verb=shut_down]")
    expect_down(page)
    expect(page.locator("#jobs-list tbody tr")).to_have_count(2)
    expect(page.locator("#jobs-list tbody .state-up")).to_have_count(2, timeout=UP_MILLISECONDS)
    assert loads == []


PART = '<div id="part"><details class="menu" data-menu><summary>More</summary><div class="menu-sheet">Stop</div></details></div>'
REPLACE = """() => {
  const old = document.getElementById("part"), fresh = document.createRange().createContextualFragment(old.dataset.fresh);
  const tell = (name, detail) => document.body.dispatchEvent(new CustomEvent(name, {detail, bubbles: true}));
  tell("htmx:oobBeforeSwap", {target: old, fragment: fresh});
  old.replaceWith(fresh);
  tell("htmx:oobAfterSwap", {target: document.getElementById("part")});
}"""


def test_a_menu_that_is_replaced_while_it_is_clicked_opens_all_the_same(
    desk: BrowserContext, portal: PortalServer
) -> None:
    page = on_a_page(desk, portal, PART)
    page.locator("#part summary").hover()
    page.mouse.down()
    page.evaluate(REPLACE)
    page.mouse.up()
    expect(page.locator("#part details")).to_have_attribute("open", "")
    expect(page.get_by_text("Stop")).to_be_visible()
    page.locator("h1, body").first.click(position={"x": 1, "y": 1})
    expect(page.locator("#part details")).not_to_have_attribute("open", "")


BUTTONS = (
    '<div id="part"><button class="btn" data-verb="stop">Stop</button> <a class="btn" href="#there">There</a></div>'
)
GREYED = BUTTONS.replace("data-verb", 'aria-disabled="true" data-verb')


def test_a_control_that_is_replaced_while_it_is_clicked_acts_once_and_only_under_the_pointer(
    desk: BrowserContext, portal: PortalServer
) -> None:
    page = on_a_page(desk, portal, BUTTONS)
    page.evaluate(
        "() => { window.stops = 0;"
        " document.addEventListener('click', ({target}) => { window.stops += target.matches('[data-verb=stop]'); }); }"
    )
    press(page, "button")
    page.wait_for_function("window.stops === 1")
    press(page, "a")
    page.wait_for_url("**#there")
    press(page, "button", release_at="a")
    press(page, "button", fresh=GREYED)
    page.wait_for_timeout(100)  # for what must not come
    assert page.evaluate("window.stops") == 1
    page.evaluate("(html) => { document.getElementById('part').outerHTML = html; }", BUTTONS)
    page.click("#part button")
    assert page.evaluate("window.stops") == 2, "what is not replaced is clicked once"


def press(page: Page, control: str, *, fresh: str = BUTTONS, release_at: str = "") -> None:
    """Press it, have its part replaced by a fresh one, release."""
    page.locator(f"#part {control}").hover()
    page.mouse.down()
    page.evaluate("(html) => { document.getElementById('part').dataset.fresh = html; }", fresh)
    page.evaluate(REPLACE)
    if release_at:
        page.locator(f"#part {release_at}").hover()
    page.mouse.up()


def on_a_page(desk: BrowserContext, portal: PortalServer, part: str) -> Page:
    """A page of the portal whose content is this part alone, which can be replaced by a fresh one."""
    page = desk.new_page()
    log_in(page, portal, "dora")
    page.evaluate(
        "(html) => { document.querySelector('main').innerHTML = html; document.getElementById('part').dataset.fresh = html; }",
        part,
    )
    return page
