"""A browser in one of the looks that pages are seen in, and what is asked of every page in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.contrast import faint_texts
from tests.browser.person import BETWEEN, SIZES, log_in, take_picture
from tests.browser.portal_server import PortalServer
from tests.lab.browser import new_context, watched


@dataclass(frozen=True)
class Look:
    """A window, a theme and a language."""

    size: str
    theme: str
    language: str

    def __str__(self) -> str:
        return f"{self.size}-{self.theme}-{self.language}"

    def see(self, page: Page, name: str) -> None:
        """Keep a picture; nothing runs over the window's edge, and every text has contrast enough.

        A click is over when the page that it leads to *begins* to come: what is looked at has come whole.
        """
        page.wait_for_load_state()
        take_picture(page, f"{name}-{self}")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
        faint = faint_texts(page)
        assert faint == [], f"{name}: {faint}"

    @contextmanager
    def of(
        self, chromium: Browser, portal: PortalServer, username: str, *, provoked: tuple[int, ...] = (400,)
    ) -> Iterator[Page]:
        """Somebody's page, logged in. At its end nothing was complained of but the refusals that were ``provoked``."""
        with new_context(chromium, size=(SIZES | BETWEEN)[self.size]) as context:
            cookies = {"django_language": self.language, "theme": self.theme}
            context.add_cookies([{"name": name, "value": value, "url": portal.url} for name, value in cookies.items()])
            page = context.new_page()
            page.emulate_media(reduced_motion="reduce")
            complaints = watched(page)
            log_in(page, portal, username)
            yield page
            expected = [f"status of {status}" for status in provoked]
            left = [each for each in complaints if not any(told in each for told in expected)]
            assert left == [], left


every_look = pytest.mark.parametrize("look", [Look("desk", "light", "en"), Look("phone", "dark", "el")], ids=str)
