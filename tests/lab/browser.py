"""Debian's Chromium, headless, driven by Playwright."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from tests.lab.servers import RealPartFailed

PROGRAM: Final = Path("/usr/bin/chromium")
# No sandbox: the lab runs as root in namespaces of its own. The rest keeps the browser from phoning home.
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
OUTPUT: Final = Path(__file__).resolve().parent.parent.parent / "test-output"
# Set where people want to see what browser tests saw, pass or fail.
PICTURES: Final = "STEGI_TEST_PICTURES"
DESK: Final = (1280, 800)
PAGE_MILLISECONDS: Final = 15_000


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """A browser for the whole run; each test takes a context of its own from it."""
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=str(PROGRAM), args=list(FLAGS), timeout=60_000)
        except Error as error:
            raise RealPartFailed(f"Chromium does not start: {error}") from error
        # What a page is to show comes by its server's answers: it is waited for as long as they are.
        expect.set_options(timeout=PAGE_MILLISECONDS)
        yield browser
        browser.close()


@contextmanager
def new_context(chromium: Browser, *, size: tuple[int, int] = DESK) -> Iterator[BrowserContext]:
    """A browser without a past: no cookies, no storage; `size` in CSS pixels. Its certificates may be self-signed."""
    context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, ignore_https_errors=True)
    context.set_default_timeout(PAGE_MILLISECONDS)
    try:
        yield context
    finally:
        context.close()


def watched(page: Page) -> list[str]:
    """The page's errors and console errors, growing while it lives: a strict policy's refusals show up there."""
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("console", lambda told: complaints.append(f"console: {told.text}") if told.type == "error" else None)
    return complaints


def picture_path(test: str) -> Path:
    """Where the picture of a failed test goes (an ignored folder of the checkout)."""
    OUTPUT.mkdir(exist_ok=True)
    return OUTPUT / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', test)[-120:]}.png"
