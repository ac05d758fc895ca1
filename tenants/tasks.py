"""What Celery calls in this app: forgetting what is over."""

from __future__ import annotations

from celery import shared_task

from portal.common.sessions import SessionStore
from tenants.services.throttle import forget_tries


@shared_task(name="tenants.tasks.forget_logins")  # type: ignore[untyped-decorator,unused-ignore]
def forget_logins() -> int:
    """Remove log-ins that have expired, and counts of tries; how many of these. Two at once are harmless."""
    SessionStore.clear_expired()
    return forget_tries()
