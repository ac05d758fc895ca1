"""One portal for all browser tests: real server, worker, watcher and Redis, with the double for its hypervisor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.person import SIZES, UP_MILLISECONDS, expect_down, expect_up, log_in, make_machine
from tests.browser.portal_server import PortalServer
from tests.compute.console.qemu import PASSWORD, QemuVnc
from tests.doubles.hypervisor_state import HypervisorDouble
from tests.lab.browser import new_context
from tests.lab.redis_server import RedisServer


@pytest.fixture(scope="session")
def portal() -> Iterator[PortalServer]:
    redis = RedisServer()
    redis.start()
    server = PortalServer(redis_url=redis.url)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        redis.stop()


@pytest.fixture(autouse=True)
def nothing_goes_on(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test began has ended when the next one begins."""
    yield
    if "portal" in request.fixturenames:
        request.getfixturevalue("portal").settle()


@pytest.fixture
def desk(chromium: Browser) -> Iterator[BrowserContext]:
    with new_context(chromium, size=SIZES["desk"]) as context:
        yield context


@pytest.fixture
def screen(portal: PortalServer, tmp_path: Path) -> Iterator[QemuVnc]:
    """QEMU's own VNC server, where the double says that its machines' screens are."""
    qemu = QemuVnc(tmp_path, name="screen", password=PASSWORD)
    HypervisorDouble(portal.hypervisor).configure(console_port=qemu.port, console_password=PASSWORD)
    yield qemu
    qemu.stop()


@pytest.fixture(scope="module")
def machine(chromium: Browser, portal: PortalServer) -> Iterator[str]:
    """A machine of dora's that is up, and gone after the module: to make and delete one is more work than to sit at it."""
    with new_context(chromium, size=SIZES["desk"]) as context:
        yield from _machine(context.new_page(), portal)


def _machine(page: Page, portal: PortalServer) -> Iterator[str]:
    log_in(page, portal, "dora")
    address = make_machine(page, portal, "screen-1")
    expect_up(page)
    page.goto("about:blank")
    yield address
    page.goto(address)
    if page.locator(".head .state-down").count() == 0:
        page.locator(".head details summary").click()
        page.click("button[data-verb=stop]")
    expect_down(page)
    page.goto(f"{address}delete/")
    page.click("form button.btn-outline-danger")
    expect(page.get_by_text("finished").first).to_be_visible(timeout=UP_MILLISECONDS)
