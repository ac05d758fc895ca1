"""``?dry_run=1`` for any door that only writes rows: everything is done, in one transaction, and then undone.

So nothing can be told that would not happen: the same policy, rules, quota and constraints decide. What leaves a request by
other ways (files, hypervisors, log-ins that are counted) cannot be undone like this; such doors have a plan of their own, or none.
Messages and jobs leave on commit, which never comes. Refusals are on record all the same: nobody feels his way without a trace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from portal.common.lasting import undone

Handler = Callable[..., Response]
MARK = "rehearsal"


def rehearsed(handler: Handler) -> Handler:
    """The handler with nothing left of what it does, and the plan for an answer. Its refusals are the same."""

    def work(request: Request, *args: Any, **named: Any) -> Response:
        setattr(request, MARK, True)
        return rehearsal_of(lambda: handler(request, *args, **named).data)

    return work


def rehearsal_of(work: Callable[[], Any]) -> Response:
    """The plan of ``work``, which gives an answer's body, with nothing left of what it does."""
    with undone():
        body = work()
    return Response(_plan(body))


def is_rehearsal(request: Request) -> bool:
    """Whether what this request does is undone: its answer is not to be kept."""
    return bool(getattr(request, MARK, False))


def _plan(body: Any) -> dict[str, Any]:
    answer = dict(body) if isinstance(body, dict) else {}
    job = answer.pop("job", None) or {}
    return {
        "possible": True,
        "reasons": [],
        "steps": [step["title"] for step in job.get("steps", ())],
        "answer": answer,
    }
