"""What a door itself refuses, before it asks a service for the change, is an attempt too and leaves a record."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from portal.common.actor import Door
from portal.common.http import actor_of
from portal.events.record import trying
from tenants.kinds import kind_named
from tenants.subjects import seen

View = TypeVar("View", bound=Callable[..., Any])
LOOKING = ("GET", "HEAD", "OPTIONS")


def audited(verb: str, kind: str = "", *, enabling: str = "") -> Callable[[View], View]:
    """Of a view of a page, or a method of the API's: what is posted there is an attempt of ``verb`` on the address' ``uid``.

    ``kind`` empty: as the address says. ``enabling``: the verb where the address is the one that enables. For those who are
    logged in: ``login_required`` comes first.
    """

    def wrap(view: View) -> View:
        @wraps(view)
        def door(*args: Any, **named: Any) -> Any:
            request = args[-1]  # a page's view has it alone, a method of the API's after itself
            if request.method in LOOKING:
                return view(*args, **named)
            actor = actor_of(request, door=Door.PAGE if len(args) == 1 else Door.API)
            noun = kind or (named["kind"] if kind_named(named["kind"]) else "")
            tried = enabling if enabling and named.get("enabled") else verb
            with trying(actor, tried, seen(actor, noun, named.get("uid"))):
                return view(*args, **named)

        return cast("View", door)

    return wrap
