"""What every page shows around its content. Lazy: a fragment that shows no frame costs no query."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest

from compute import selectors
from portal.common.http import actor_of
from portal.job_access import open_jobs_count
from tenants.models import DataCenter

THEMES = ("light", "dark")
THEME_COOKIE = "theme"
MOST_DATA_CENTERS = 3


class Frame:
    """The top bar's facts about the person who is logged in."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def data_centers(self) -> Iterable[DataCenter]:
        """The data centers in which this person may make machines, the first few."""
        return selectors.usable_data_centers(actor_of(self._request))[:MOST_DATA_CENTERS]

    def open_jobs(self) -> int:
        """How many of this person's jobs run now."""
        return open_jobs_count(actor_of(self._request))


def frame(request: HttpRequest) -> dict[str, Any]:
    """Context processor: theme, the way back, and the frame's facts."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    return {
        "theme": theme if theme in THEMES else "",
        "here": request.get_full_path() if request.method == "GET" else "/",
        "frame": Frame(request),
    }
