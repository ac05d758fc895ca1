"""Several providers asked side by side, for somebody who waits: one that is silent holds up no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from django.db import connections

from portal.hypervisors.connect import BoundedDriver, driver_for
from portal.hypervisors.errors import HypervisorError, Unavailable
from portal.hypervisors.models import Provider

log = logging.getLogger(__name__)

T = TypeVar("T")

ASKED_AT_ONCE = 16
IN_ALL = 20.0  # seconds


def ask_at_once(asked: Sequence[tuple[Provider, Callable[[BoundedDriver], T]]]) -> list[T | HypervisorError]:
    """What each provider answers, or why there is no answer: one that cannot be asked at all, or is later than ``IN_ALL``, too.

    Their credentials are opened in the caller's thread, for that reads the database.
    """
    pool = ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="ask")
    begun = [_begin(pool, provider, work) for provider, work in asked]
    done, _late = wait([one for one in begun if isinstance(one, Future)], timeout=IN_ALL)
    pool.shutdown(wait=False, cancel_futures=True)
    answers: list[T | HypervisorError] = []
    for (provider, _work), one in zip(asked, begun, strict=True):
        answer = _told(one, in_time=one in done)
        if isinstance(answer, HypervisorError):
            log.info("provider %s does not tell: %s", provider.name, answer.detail or answer.public)
        answers.append(answer)
    return answers


def _begin(
    pool: ThreadPoolExecutor, provider: Provider, work: Callable[[BoundedDriver], T]
) -> Future[T] | HypervisorError:
    try:
        return pool.submit(_ask, driver_for(provider), work)
    except HypervisorError as error:
        return error


def _ask(driver: BoundedDriver, work: Callable[[BoundedDriver], T]) -> T:
    try:
        return work(driver)
    finally:
        connections.close_all()  # after a refusal it was looked whether other credentials were given


def _told(answer: Future[T] | HypervisorError, *, in_time: bool) -> T | HypervisorError:
    if isinstance(answer, HypervisorError):
        return answer
    if not in_time:
        return Unavailable(detail=f"no answer within {IN_ALL:.0f} s")
    try:
        return answer.result()
    except HypervisorError as error:
        return error
