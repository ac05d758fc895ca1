"""A super-admin's first hour, with a browser alone: an empty portal, a far host over SSH, and at its end a machine of a user's."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from tests.browser.person import expect_down, follow, take_picture
from tests.lab.browser import new_context, watched
from tests.lab.far_host import FarHost
from tests.up.portal_run import PortalRun

pytestmark = [pytest.mark.whole, pytest.mark.browser, pytest.mark.long, pytest.mark.usefixtures("libvirtd")]
WORK_MILLISECONDS = 60_000
ERNAS = "Quiet rivers run deep"
UID = r"[0-9a-f-]{36}"


def test_from_an_empty_portal_to_a_users_machine_on_a_far_host(
    chromium: Browser, portal_run: PortalRun, session_far: FarHost, tiny_linux_image: Path
) -> None:
    session_far.start()
    portal_run.start()
    with new_context(chromium, size=(1440, 900)) as context:
        page = context.new_page()
        page.set_default_timeout(WORK_MILLISECONDS)
        complaints = watched(page)
        [login] = portal_run.status()["logins"]
        log_in(page, portal_run, login["username"], login["password"])
        connect_far_host(page, session_far)
        make_data_center(page)
        upload_and_make_template(page, tiny_linux_image)
        name_an_end_user(page)
        assert [each for each in complaints if "400" not in each] == []
    with new_context(chromium, size=(390, 844)) as context:
        page = context.new_page()
        page.set_default_timeout(WORK_MILLISECONDS)
        log_in(page, portal_run, "erna", ERNAS)
        uid = make_machine(page)
        assert session_far.libvirt.virsh("domstate", str(uid)).stdout.strip() == "running"
        end_machine(page)
        assert str(uid) not in session_far.libvirt.virsh("list", "--all", "--uuid").stdout
    assert portal_run.up("--purge").returncode == 0


def connect_far_host(page: Page, far: FarHost) -> None:
    go(page, "Providers")
    page.get_by_role("link", name="Connect a provider").first.click()
    page.fill("#name", "far")
    page.fill("#address", far.ssh_address)
    page.fill("#ssh_key", far.key("user"))
    page.click("button[value=test]")
    page.wait_for_selector("[data-step=host_key][data-status=failed]")
    page.check("input[name=host_key]")
    page.click("button[value=save]")
    page.wait_for_url(re.compile(rf"/providers/{UID}/"))
    expect(page.locator("main")).to_contain_text("far.example")
    take_picture(page, "first-hour-provider")


def make_data_center(page: Page) -> None:
    go(page, "Data centers")
    page.get_by_role("link", name="Create data center").first.click()
    page.fill("#name", "chemistry")
    page.click("main button[type=submit]")
    page.wait_for_url(re.compile(rf"/data-centers/{UID}/$"))
    for kind in ("cluster", "storage_domain"):
        own = page.locator(f"#add-{kind} option", has_text="(far)").first.get_attribute("value")
        page.select_option(f"#add-{kind}", own)
        follow(page, page.locator("form", has=page.locator(f"#add-{kind}")).get_by_role("button"))
    page.get_by_role("link", name="Create network").click()
    page.fill("#name", "chemistry")
    page.click("main button[type=submit]")
    finished(page)
    go(page, "Data centers")
    page.get_by_role("link", name="chemistry").last.click()
    page.get_by_role("link", name="Set limits").click()
    page.fill("#machines", "5")
    page.click("main button[type=submit]")
    page.wait_for_url(re.compile(rf"/data-centers/{UID}/$"))
    take_picture(page, "first-hour-data-center")


def upload_and_make_template(page: Page, image: Path) -> None:
    go(page, "Images")
    page.select_option("#data_center", label="chemistry")
    page.set_input_files("#files", image)
    ready = page.locator("#images-list a.btn-primary")
    expect(ready).to_be_visible(timeout=WORK_MILLISECONDS)
    ready.click()
    page.fill("#name", "Tiny Linux")
    page.fill("#memory_mib", "192")
    page.fill("#memory_min_mib", "128")
    page.check("#has_cloud_init")
    page.click("main button[type=submit]")
    finished(page)


def name_an_end_user(page: Page) -> None:
    go(page, "Users")
    page.get_by_role("link", name="Create user").click()
    page.fill("#username", "erna")
    page.fill("#password", ERNAS)
    follow(page, page.locator("main button[type=submit]"))
    go(page, "Data centers")
    follow(page, page.get_by_role("link", name="chemistry").last)
    follow(page, page.get_by_role("link", name="People"))
    page.fill("#username", "erna")
    page.select_option("#role", label="End user")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("table")).to_contain_text("erna")
    take_picture(page, "first-hour-people")


def make_machine(page: Page) -> UUID:
    page.get_by_role("link", name="Create your first machine").click()
    page.click("button[value=review]")
    page.click("button[value=create]")
    page.wait_for_url(re.compile(rf"/machines/{UID}/$"))
    expect(page.locator(".head .state-up")).to_be_visible(timeout=WORK_MILLISECONDS)
    expect(page.locator("dl.facts code").first).to_contain_text("10.99.", timeout=WORK_MILLISECONDS)
    take_picture(page, "first-hour-machine")
    machine = page.url
    page.click(".head a[data-verb=connect]")
    expect(page.locator("#console-note")).to_have_text("Connected", timeout=WORK_MILLISECONDS)
    take_picture(page, "first-hour-console")
    page.goto(machine)
    return UUID(machine.rstrip("/").rpartition("/")[2])


def end_machine(page: Page) -> None:
    page.locator(".head details summary").click()
    page.locator(".head [data-verb=stop]").click()
    expect_down(page, WORK_MILLISECONDS)
    page.goto(f"{page.url}delete/")
    page.get_by_role("button", name="Delete the machine and its disks").click()
    finished(page)


def go(page: Page, noun: str) -> None:
    follow(page, page.locator(".frame-menu").get_by_role("link", name=noun, exact=True))


def finished(page: Page) -> None:
    try:
        page.wait_for_url(re.compile(rf"/jobs/{UID}/"))
    except Error as error:
        raise AssertionError(f"{page.url} says: {page.locator('main').inner_text()}") from error
    expect(page.locator("main")).to_contain_text("finished", timeout=WORK_MILLISECONDS)


def log_in(page: Page, run: PortalRun, username: str, password: str) -> None:
    page.goto(run.status()["url"])
    page.fill("#username", username)
    page.fill("#password", password)
    page.click(".simple-card button[type=submit]")
    page.wait_for_selector(".frame-bar")
