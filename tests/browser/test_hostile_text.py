"""IN02: what a user writes is text in an administrator's browser, also when it comes by the page's websocket."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.person import UP_MILLISECONDS, expect_down, log_in
from tests.browser.portal_server import PortalServer
from tests.lab.browser import watched

TEXT = (
    '<script>window.pwned = 1</script><img src=x onerror="window.pwned=2">"\'><svg onload=window.pwned=3> '
    "</dd></dl><iframe srcdoc='<script>top.pwned=4</script>'></iframe> <div hx-get='/jobs/' hx-trigger='load' "
    "hx-swap-oob='true' id='content'>x</div> <a href='javascript:window.pwned=5'>link</a> {{7*7}} ]]>"
)


class Api:
    """Alice's requests, by a token."""

    def __init__(self, portal: PortalServer, username: str) -> None:
        self._root = f"{portal.url}/api/v1"
        self._headers: dict[str, str] = {}
        body = {"username": username, "password": portal.password(username), "name": "t", "scope": "write"}
        self._headers = {"Authorization": f"Bearer {self.ask('POST', '/tokens/', body)['token']}"}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, self._root + path, json=body, headers=self._headers, timeout=30)
        assert answer.ok, answer.text
        return answer.json()


@pytest.fixture
def hostile(portal: PortalServer) -> Any:
    """A machine of alice's with a hostile description, and her requests about it."""
    api = Api(portal, "alice")
    template = next(one for one in api.ask("GET", "/templates/")["results"] if one["name"] == "Tiny Linux")
    [center] = api.ask("GET", "/data-centers/")["results"]
    wish = {"name": "hostile-1", "data_center": center["id"], "template": template["id"], "description": TEXT}
    return api, api.ask("POST", "/vms/", wish | {"run": False})["vm"]["id"]


def assert_untouched(page: Page) -> None:
    assert page.evaluate("window.pwned") is None
    assert page.locator("iframe, img[src=x], svg[onload], [onerror], a[href^=javascript]").count() == 0
    assert page.locator("main#content, #content").count() <= 1


def test_IN02_an_administrators_browser_runs_nothing_of_a_description(  # noqa: N802
    desk: BrowserContext, portal: PortalServer, hostile: Any
) -> None:
    api, uid = hostile
    page = desk.new_page()
    complaints, dialogs = watched(page), []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    log_in(page, portal, "physics-admin")
    for path in ("/", f"/machines/{uid}/console/", f"/machines/{uid}/delete/", "/jobs/", f"/machines/{uid}/"):
        page.goto(portal.url + path)
        assert_untouched(page)
    shown = page.locator("dl.facts").first.locator("dd").last
    expect(shown).to_have_text(" ".join(TEXT.split()))
    expect_down(page)
    page.evaluate("document.querySelector('dl.facts').dataset.old = '1'")
    api.ask("POST", f"/vms/{uid}/run/", {})
    expect(page.locator(".head .state-up")).to_be_visible(timeout=UP_MILLISECONDS)
    expect(page.locator("dl.facts[data-old]")).to_have_count(0)  # it came anew, by the websocket
    expect(shown).to_have_text(" ".join(TEXT.split()))
    assert_untouched(page)
    assert (complaints, dialogs) == ([], [])


def test_the_documentation_of_the_api_shows_within_our_content_policy(
    desk: BrowserContext, portal: PortalServer
) -> None:
    page = desk.new_page()
    complaints = watched(page)
    page.goto(f"{portal.url}/api/v1/docs/")
    log_in(page, portal, "alice")
    page.goto(f"{portal.url}/api/v1/docs/")
    expect(page.locator(".opblock").first).to_be_visible(timeout=UP_MILLISECONDS)  # the whole description was read
    cancel = page.locator("#operations-jobs-jobs_cancel")
    for _ in range(300):  # of a long list the page makes what is near the window alone
        if cancel.count():
            break
        page.mouse.wheel(0, 600)
        page.wait_for_timeout(100)
    cancel.locator(".opblock-summary").click()
    cancel.get_by_role("button", name="Try it out").click()
    cancel.get_by_placeholder("uid").fill("00000000-0000-4000-8000-000000000001")
    assert complaints == []
    cancel.get_by_role("button", name="Execute").click()
    # Not 403: the request goes with our CSRF token.
    expect(cancel.locator(".live-responses-table tbody .response-col_status")).to_contain_text("404")
    expect(cancel.locator(".live-responses-table")).to_contain_text("not_found")
