"""The lab's fixtures: real servers, started when the first test asks and ended by process number at the end."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from playwright.sync_api import Browser, Error, Page

from tests.lab.browser import new_context, picture_path, running_chromium, watched
from tests.lab.far_host import FarHost
from tests.lab.libvirt_server import LibvirtServer
from tests.lab.postgres_server import PostgresServer
from tests.lab.redis_server import RedisServer
from tests.lab.samba_server import PORTAL_PASSWORD, SambaServer
from tests.lab.servers import RealPartFailed, Server
from tests.lab.slapd_server import SlapdServer

GUEST_IMAGE = Path(__file__).resolve().parents[2] / ".state" / "tiny-linux.qcow2"


Part = TypeVar("Part", bound=Server)


def mended(server: Part) -> Iterator[Part]:
    """A part for one test, which finds it answering whatever the last one did, and may freeze, kill or stop it."""
    server.start()
    yield server
    if server.is_running:
        server.thaw()


@pytest.fixture(scope="session")
def session_libvirtd() -> Iterator[LibvirtServer]:
    server = LibvirtServer()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def session_far() -> Iterator[FarHost]:
    host = FarHost()
    host.start()
    yield host
    host.close()


@pytest.fixture
def libvirtd(session_libvirtd: LibvirtServer) -> Iterator[LibvirtServer]:
    """libvirtd with QEMU as `qemu:///system`. A test may freeze, kill or stop it: the next one finds it answering."""
    session_libvirtd.start()
    yield session_libvirtd
    if session_libvirtd.is_running:
        session_libvirtd.thaw()


@pytest.fixture(scope="session")
def tiny_linux_image() -> Path:
    """The disk image of the template Tiny Linux, built by bin/test before the lab; read-only: copy or upload it."""
    if not GUEST_IMAGE.is_file():
        raise RealPartFailed(f"there is no {GUEST_IMAGE}: start the tests with bin/test, which builds it")
    return GUEST_IMAGE


@pytest.fixture(scope="session")
def session_postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def postgres(session_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A PostgreSQL server with an empty database of its own (`.url`); not the one Django's tests run on."""
    yield from mended(session_postgres)


@pytest.fixture(scope="session")
def session_redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_server(session_redis: RedisServer) -> Iterator[RedisServer]:
    """A Redis server (`.url`, `.socket`). A test may freeze, kill or stop it: the next one finds it answering."""
    yield from mended(session_redis)


@pytest.fixture(scope="session")
def session_slapd() -> Iterator[SlapdServer]:
    server = SlapdServer()
    server.start()
    server.fill()
    yield server
    server.stop()


@pytest.fixture
def slapd(session_slapd: SlapdServer) -> Iterator[SlapdServer]:
    """OpenLDAP with an empty tree and the portal's account. A test may freeze, kill or stop it; people stay, so name new ones."""
    yield from mended(session_slapd)


@pytest.fixture(scope="session")
def session_samba() -> Iterator[SambaServer]:
    server = SambaServer()
    server.start()
    server.person("portal", PORTAL_PASSWORD)
    yield server
    server.stop()


@pytest.fixture
def samba(session_samba: SambaServer) -> Iterator[SambaServer]:
    """Active Directory with the portal's account. A test may freeze, kill or stop it; people stay, so name new ones."""
    yield from mended(session_samba)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Headless Chromium for the whole run."""
    # Playwright's synchronous API runs an event loop in this thread, which Django takes for asynchronous code.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with running_chromium() as browser:
        yield browser
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page in a browser without a past; when the test fails its picture and its complaints are kept."""
    with new_context(chromium) as context:
        page = context.new_page()
        page.complaints = watched(page)  # type: ignore[attr-defined]
        yield page


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed browser test tells what the page looked like: while the page still lives, hence not in its fixture."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.when == "call" and report.failed and page is not None:
        report.sections.append(("page", _told_by(page, item.nodeid)))
    return report


def _told_by(page: Page, test: str) -> str:
    picture = picture_path(test)
    try:
        page.screenshot(path=picture, full_page=True)
    except Error as error:
        return f"{page.url}: no picture: {error}"
    return "\n".join([f"{page.url} -> {picture}", *page.complaints])  # type: ignore[attr-defined]
