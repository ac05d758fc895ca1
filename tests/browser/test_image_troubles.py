"""An upload that the portal cannot take says why; one that is cancelled while it is begun leaves nothing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.person import SIZES, log_in
from tests.browser.portal_server import PortalServer
from tests.browser.test_images import MOST_MILLISECONDS, PART_BYTES, held, row
from tests.lab.browser import new_context

FULL = "The portal has no room left for this upload. Go on later."
BEGIN = re.compile(r"/api/v1/images/$")

pytestmark = pytest.mark.long


@pytest.fixture
def shelf(chromium: Browser, portal: PortalServer) -> Iterator[Page]:
    with new_context(chromium, size=SIZES["desk"]) as context:
        page = context.new_page()
        log_in(page, portal, "physics-admin")
        page.goto(f"{portal.url}/images/")
        yield page


def file_of(folder: Path, name: str, mib: int) -> Path:
    path = folder / name
    path.write_bytes(os.urandom(mib * 1024**2))
    return path


def problem(status: int, code: str, detail: str) -> dict[str, object]:
    body = json.dumps({"status": status, "code": code, "detail": detail})
    return {"status": status, "content_type": "application/problem+json", "body": body}


def test_an_upload_whose_bytes_are_gone_ends_and_says_what_helps(
    shelf: Page, portal: PortalServer, tmp_path: Path
) -> None:
    file = file_of(tmp_path, "vanished.raw", 9)
    with held(shelf, offset=PART_BYTES):
        with shelf.expect_request(re.compile(rf"offset={PART_BYTES}$")) as part:
            shelf.set_input_files("#files", file)
        uid = part.value.url.split("/images/")[1].split("/")[0]
        (portal.data / "images" / f"{uid}.upload").unlink()
    expect(shelf.locator(".upload-failed")).to_contain_text("upload the file anew")
    shelf.reload()
    expect(row(shelf, file.name)).to_contain_text("44 %")
    row(shelf, file.name).get_by_role("link", name=re.compile("Cancel|Remove")).last.click()
    shelf.locator("main button[type=submit]").click()
    expect(row(shelf, file.name)).to_have_count(0)


def test_what_the_portal_says_is_shown_while_it_is_tried_again(shelf: Page, tmp_path: Path) -> None:
    file = file_of(tmp_path, "full.raw", 1)
    answers = [
        problem(409, "conflict", FULL),
        problem(503, "unavailable", "The portal rests."),
        {"status": 502, "content_type": "text/html", "body": "<h1>Bad gateway</h1>"},
    ]

    def answer(route: Route) -> None:
        if answers:
            route.fulfill(**answers[0])  # type: ignore[arg-type]
        else:
            route.continue_()

    shelf.route(re.compile(r"offset=0$"), answer)
    shelf.set_input_files("#files", file)
    text = shelf.locator(".upload-text")
    for said in (FULL, "The portal rests.", "no connection, trying again"):
        expect(text).to_have_text(said)
        answers.pop(0)
    expect(row(shelf, file.name).locator(".state-up")).to_be_visible(timeout=MOST_MILLISECONDS)


@pytest.mark.parametrize("mib", [1, 9])
def test_an_upload_that_is_cancelled_while_it_is_begun_leaves_nothing(shelf: Page, tmp_path: Path, mib: int) -> None:
    file = file_of(tmp_path, f"hasty-{mib}.raw", mib)
    routes: list[Route] = []
    sent: list[str] = []
    shelf.on("request", lambda request: sent.append(request.url) if request.method == "PUT" else None)
    shelf.route(BEGIN, lambda route: routes.append(route) if route.request.method == "POST" else route.continue_())
    with shelf.expect_request(lambda request: request.method == "POST" and bool(BEGIN.search(request.url))):
        shelf.set_input_files("#files", file)
    shelf.get_by_role("button", name="Cancel").click()
    expect(shelf.locator("#uploads li")).to_have_count(0)
    with shelf.expect_response(lambda response: response.request.method == "DELETE") as removal:
        for route in routes:
            route.continue_()
    assert removal.value.status == 204
    shelf.reload()
    expect(row(shelf, file.name)).to_have_count(0)
    assert sent == []


def test_an_upload_that_is_paused_and_goes_on_while_a_part_is_under_way_sends_each_part_once(
    shelf: Page, tmp_path: Path
) -> None:
    file = file_of(tmp_path, "restless.raw", 9)
    sent: list[str] = []
    shelf.on(
        "request", lambda request: sent.append(request.url.split("offset=")[1]) if request.method == "PUT" else None
    )
    with held(shelf, offset=PART_BYTES):
        with shelf.expect_request(re.compile(rf"offset={PART_BYTES}$")):
            shelf.set_input_files("#files", file)
        for _ in range(2):
            shelf.get_by_role("button", name="Pause").click()
            shelf.get_by_role("button", name="Go on").click()
    expect(row(shelf, file.name).locator(".state-up")).to_be_visible(timeout=MOST_MILLISECONDS)
    assert sent == [str(part * PART_BYTES) for part in range(3)]
