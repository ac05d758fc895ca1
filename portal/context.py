"""What every page shows around its content. Lazy: a fragment that shows no frame costs no query."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from portal.jobs.models import Job
from portal.jobs.states import RUNNABLE
from tenants.models import DataCenter

THEMES = ("light", "dark")
THEME_COOKIE = "theme"


class Frame:
    """The top bar's facts about the person who is logged in."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def data_centers(self) -> list[DataCenter]:
        """The data centers this person may use."""
        return []

    def open_jobs(self) -> int:
        """How many of this person's jobs run now."""
        if not self._request.user.is_authenticated:
            return 0
        return Job.objects.filter(actor_uid=self._request.user.pk, status__in=RUNNABLE).count()


def frame(request: HttpRequest) -> dict[str, Any]:
    """Context processor: theme, the way back, and the frame's facts."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    return {
        "theme": theme if theme in THEMES else "",
        "here": request.get_full_path() if request.method == "GET" else "/",
        "frame": Frame(request),
    }
