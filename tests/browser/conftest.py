"""One portal for all browser tests: real server, worker, watcher and Redis, with the double for its hypervisor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.portal_server import PortalServer
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
