"""What every page shows around its content. Lazy: a fragment that shows no frame costs no query."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from compute import selectors
from portal.common.http import actor_of
from portal.job_access import open_jobs_count, stuck_jobs_count
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit

THEMES = ("light", "dark")
THEME_COOKIE = "theme"


class Frame:
    """The facts about the person who is logged in that every page shows; each is read once."""

    def __init__(self, request: HttpRequest) -> None:
        self._actor = actor_of(request)

    @cached_property
    def data_centers(self) -> list[DataCenter]:
        """The data centers in which this person may make machines."""
        return list(selectors.usable_data_centers(self._actor))

    @cached_property
    def runs_data_centers(self) -> bool:
        """Whether this person administers a data center, or all of them."""
        return policy.holds_anywhere(self._actor, Permit.DATA_CENTER_EDIT)

    @cached_property
    def sees_data_centers(self) -> bool:
        """Whether data centers are more to this person than where his own machines are."""
        return self.runs_data_centers or policy.holds_everywhere(self._actor, Permit.DATA_CENTER_VIEW)

    @cached_property
    def has_images(self) -> bool:
        """Whether this person may upload images, or see those of others, in some data center."""
        permits = (Permit.IMAGE_UPLOAD, Permit.IMAGE_VIEW)
        return any(policy.holds_anywhere(self._actor, permit) for permit in permits)

    @cached_property
    def manages_users(self) -> bool:
        """Whether this person manages all accounts."""
        return policy.holds_everywhere(self._actor, Permit.USER_MANAGE)

    @cached_property
    def runs_providers(self) -> bool:
        """Whether this person connects hypervisors."""
        return policy.holds_everywhere(self._actor, Permit.PROVIDER_VIEW)

    @cached_property
    def open_jobs(self) -> int:
        """How many of this person's jobs run now."""
        return open_jobs_count(self._actor)

    @cached_property
    def stuck_jobs(self) -> int:
        """How many jobs wait for this person to end them."""
        return stuck_jobs_count(self._actor)


def frame_of(request: HttpRequest) -> Frame:
    """The frame of this request's page, for views that show more of the same facts."""
    if not hasattr(request, "frame"):
        request.frame = Frame(request)  # type: ignore[attr-defined]
    found: Frame = request.frame  # type: ignore[attr-defined]
    return found


def frame(request: HttpRequest) -> dict[str, Any]:
    """Context processor: theme, the way back, and the frame's facts."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    return {
        "theme": theme if theme in THEMES else "",
        "here": request.get_full_path() if request.method == "GET" else "/",
        "frame": SimpleLazyObject(partial(frame_of, request)),
    }
