"""An admin of a department puts a system on the shelf with a browser: uploads, a reload in the midst, a template."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.looking import Look, every_look
from tests.browser.person import SIZES, follow, log_in, take_picture
from tests.browser.portal_server import PortalServer
from tests.compute.image_files import backing_file, sound
from tests.lab.browser import new_context

MOST_MILLISECONDS = 60_000
PART_BYTES = 4 * 1024**2


def files(folder: Path, name: str) -> list[Path]:
    """Two images of three parts each, of both formats, and one that is refused."""
    made = [folder / f"{name}.qcow2", folder / f"{name}.raw", folder / f"{name}-bad.qcow2"]
    made[0].write_bytes(sound(folder, filled_kib=9000, mib=64))
    made[1].write_bytes(os.urandom(9 * 1024**2))
    made[2].write_bytes(backing_file(folder))
    return made


@contextmanager
def held(page: Page, *, offset: int) -> Iterator[None]:
    """The part of an upload that begins there stays on its way: while this lasts, no upload can be done with it."""
    routes: list[Route] = []
    address = re.compile(rf"offset={offset}$")
    page.route(address, lambda route: routes.append(route))
    yield
    for route in routes:
        route.continue_()
    page.unroute(address)


def row(page: Page, name: str):
    return page.locator("#images-list tr").filter(has_text=name).filter(visible=True)


@every_look
def test_two_files_are_uploaded_and_a_template_is_made(
    chromium: Browser, portal: PortalServer, tmp_path: Path, look: Look
) -> None:
    with look.of(chromium, portal, "physics-admin") as page:
        qcow2 = upload_three(page, portal, look, tmp_path)
        row(page, qcow2.name).locator("a.btn-primary").click()
        make_template(page, look, f"Debian 12 {look.size}")
        page.goto(f"{portal.url}/templates/")
        look.see(page, "templates")
        page.get_by_role("link", name=f"Debian 12 {look.size}").click()
        expect(page.locator(".head-status .state-up")).to_be_visible()
        look.see(page, "template")


def upload_three(page: Page, portal: PortalServer, look: Look, folder: Path) -> Path:
    """Two that are taken and one that is refused; the first of them."""
    page.goto(f"{portal.url}/images/")
    look.see(page, "images-none")
    qcow2, raw, bad = files(folder, look.size)
    with held(page, offset=2 * PART_BYTES):
        page.set_input_files("#files", [qcow2, raw, bad])
        page.wait_for_selector("#uploads progress")
        take_picture(page, f"images-uploading-{look}")
    for name, state in ((qcow2.name, "up"), (raw.name, "up"), (bad.name, "failed")):
        expect(row(page, name).locator(f".state-{state}")).to_be_visible(timeout=MOST_MILLISECONDS)
    look.see(page, "images")
    return qcow2


def make_template(page: Page, look: Look, name: str) -> None:
    """At the second try."""
    page.wait_for_url(re.compile("/templates/new/"))
    page.fill("#name", "a<b")
    page.locator(".icon-choice").nth(1).click()
    page.click("main button[type=submit]")
    page.wait_for_selector("#name-error")
    look.see(page, "template-form")
    page.fill("#name", name)
    page.click("main button[type=submit]")
    page.wait_for_url(re.compile(r"/jobs/[0-9a-f-]{36}/"))
    done = page.locator("main .state-up, main .state-finished, main .text-success").first
    expect(done).to_be_visible(timeout=MOST_MILLISECONDS)
    look.see(page, "template-job")


def test_an_upload_goes_on_after_a_pause_and_a_reload_and_a_cancelled_one_is_gone(
    chromium: Browser, portal: PortalServer, tmp_path: Path
) -> None:
    file = tmp_path / "large.raw"
    file.write_bytes(os.urandom(21 * 1024**2))
    with new_context(chromium, size=SIZES["desk"]) as context:
        page = context.new_page()
        log_in(page, portal, "physics-admin")
        page.goto(f"{portal.url}/images/")
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url) if request.method == "PUT" else None)
        with page.expect_response(re.compile(rf"offset={2 * PART_BYTES}$"), timeout=MOST_MILLISECONDS):
            with held(page, offset=2 * PART_BYTES):
                with page.expect_request(re.compile(rf"offset={2 * PART_BYTES}$")):
                    page.set_input_files("#files", file)
                page.get_by_role("button", name="Pause").click()
        expect(page.locator(".upload-text")).to_have_text("paused")
        page.once("dialog", lambda dialog: dialog.accept())
        page.reload()
        expect(row(page, "large.raw")).to_be_visible()
        sent.clear()
        page.evaluate("localStorage.clear()")  # as another browser has it
        with held(page, offset=3 * PART_BYTES):
            page.set_input_files("#files", file)
            expect(page.get_by_text("goes on where it was, for physics")).to_be_visible()
        expect(row(page, "large.raw").locator(".state-up")).to_be_visible(timeout=MOST_MILLISECONDS)
        offsets = [int(url.rpartition("=")[2]) for url in sent]
        assert offsets
        assert min(offsets) >= 3 * PART_BYTES, "a part that was on its way arrived"
        assert len(offsets) == len(set(offsets))
        file.write_bytes(os.urandom(21 * 1024**2))
        with held(page, offset=PART_BYTES):
            with page.expect_request(re.compile(rf"offset={PART_BYTES}$")):
                page.set_input_files("#files", file)
            page.get_by_role("button", name="Cancel").click()
            expect(page.locator("#uploads li")).to_have_count(0)
        expect(row(page, "large.raw")).to_have_count(1)


def test_the_place_that_was_chosen_stays_and_a_checksum_of_another_file_begins_nothing(
    chromium: Browser, portal: PortalServer, tmp_path: Path
) -> None:
    file = tmp_path / "summed.raw"
    file.write_bytes(os.urandom(1024**2))
    with new_context(chromium, size=SIZES["desk"]) as context:
        page = context.new_page()
        log_in(page, portal, "admin")
        page.goto(f"{portal.url}/images/")
        page.select_option("#data_center", label="physics")
        page.reload()
        expect(page.locator("#data_center option:checked")).to_have_text("physics")
        for given, said in (
            (f"{'0' * 64}  un{file.name}\n{'1' * 64}  third.raw", "no SHA-256 checksum was given for this file"),
            ("none", "what was given is no SHA-256 checksum"),
        ):
            page.fill("#sha256", given)
            page.set_input_files("#files", file)
            expect(page.locator(".upload-failed")).to_contain_text(f"not begun: {said}")
            expect(page.locator("#sha256")).to_have_value(given)
        page.fill("#sha256", f"{'0' * 64}  {file.name}\n{'1' * 64}  third.raw")
        page.set_input_files("#files", file)
        expect(row(page, file.name).locator(".state-failed")).to_be_visible(timeout=MOST_MILLISECONDS)
        expect(row(page, file.name)).to_contain_text("another SHA-256 checksum")
        expect(page.locator(".upload-failed")).to_have_count(0)


def test_without_javascript_a_form_takes_a_whole_file(chromium: Browser, portal: PortalServer, tmp_path: Path) -> None:
    file = tmp_path / "no script.raw"
    file.write_bytes(os.urandom(9 * 1024**2))
    context = chromium.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        log_in(page, portal, "physics-admin")
        page.goto(f"{portal.url}/images/")
        page.set_input_files("#files", file)
        take_picture(page, "images-no-script")
        follow(page, page.get_by_role("button", name="Upload"))
        expect(page.get_by_text("has arrived and is being inspected")).to_be_visible()
        expect(row(page, file.name)).to_be_visible()
        assert list((portal.data / "tmp").iterdir()) == [], "where it lay while it came"
    finally:
        context.close()
