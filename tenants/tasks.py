"""What Celery calls in this app: forgetting what is over, telling of roles that ended, and following directories."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from portal.common.kept_forms import forget_forms
from portal.common.sessions import SessionStore
from tenants.models import Directory
from tenants.services.grant_ends import tell_of_ends
from tenants.services.sessions import MOST_AT_ONCE, end_left_alone
from tenants.services.throttle import forget_tries
from tenants.sync import follow_directory

FOLLOW_EXPIRES_SECONDS = 25.0


@shared_task(name="tenants.tasks.forget_logins")  # type: ignore[untyped-decorator,unused-ignore]
def forget_logins() -> int:
    """Remove log-ins that have expired, forms that nobody came back to, and counts of tries; how many of these.

    Two at once are harmless.
    """
    while end_left_alone() >= MOST_AT_ONCE:
        pass
    SessionStore.clear_expired()
    forget_forms()
    return forget_tries()


@shared_task(name="tenants.tasks.end_grants")  # type: ignore[untyped-decorator,unused-ignore]
def end_grants() -> int:
    """Tell of the roles whose end has passed; how many. Two at once are harmless."""
    return tell_of_ends()


@shared_task(name="tenants.tasks.follow_directories")  # type: ignore[untyped-decorator,unused-ignore]
def follow_directories() -> int:
    """Have each enabled directory followed by a task of its own, so that a silent one keeps no other waiting."""
    uids = [str(uid) for uid in Directory.objects.filter(enabled=True).values_list("pk", flat=True)]
    for uid in uids:
        follow.apply_async((uid,), expires=FOLLOW_EXPIRES_SECONDS)
    return len(uids)


@shared_task(name="tenants.tasks.follow")  # type: ignore[untyped-decorator,unused-ignore]
def follow(uid: str) -> None:
    """Bring the people of a directory who are signed in to what it says of them now."""
    follow_directory(UUID(uid))
