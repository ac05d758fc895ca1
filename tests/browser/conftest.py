"""One portal for all browser tests: real server, worker, watcher and Redis, with the double for its hypervisor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser.person import SIZES, UP_MILLISECONDS, log_in, make_machine
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


@pytest.fixture
def machine(desk: BrowserContext, portal: PortalServer) -> Iterator[str]:
    """A machine of dora's that is up, and gone afterwards."""
    page = desk.new_page()
    log_in(page, portal, "dora")
    address = make_machine(page, portal, "screen-1")
    expect(page.locator(".head .state-up")).to_be_visible(timeout=UP_MILLISECONDS)
    yield address
    log_in(page, portal, "dora")
    page.goto(address)
    if page.locator(".head .state-down").count() == 0:
        page.locator(".head details summary").click()
        page.click("button[data-verb=stop]")
        expect(page.locator(".head .state-down")).to_be_visible(timeout=UP_MILLISECONDS)
    page.goto(f"{address}delete/")
    page.click("form button.btn-outline-danger")
    expect(page.get_by_text("finished").first).to_be_visible(timeout=UP_MILLISECONDS)
    page.close()
