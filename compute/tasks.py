"""What Celery calls in this app besides jobs: periodic looks at rows that somebody may have left lying."""

from __future__ import annotations

from celery import shared_task

from compute.services.consoles import reap_consoles
from compute.services.images import sweep


@shared_task(name="compute.tasks.reap_consoles")  # type: ignore[untyped-decorator,unused-ignore]
def reap() -> int:
    """Close consoles whose process died. Two at once are harmless: each row is closed by one of them."""
    return reap_consoles()


@shared_task(name="compute.tasks.sweep_images")  # type: ignore[untyped-decorator,unused-ignore]
def sweep_images() -> int:
    """Remove uploads that nobody goes on with, and bytes that no image has. Two at once are harmless."""
    return sweep()
