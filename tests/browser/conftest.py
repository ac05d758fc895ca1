"""One portal for all browser tests: real server, worker, watcher and Redis, with the double for its hypervisor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.browser.person import SIZES
from tests.browser.portal_server import PortalServer
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
