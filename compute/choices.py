"""Statuses and kinds of this app's nouns."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class VmStatusChoice(TextChoices):
    """Last observed status of a VM, under oVirt's API names, plus ``creating`` and ``unknown``."""

    CREATING = "creating", _("being made")
    DOWN = "down", _("down")
    WAIT_FOR_LAUNCH = "wait_for_launch", _("waiting for launch")
    POWERING_UP = "powering_up", _("starting")
    UP = "up", _("up")
    REBOOT_IN_PROGRESS = "reboot_in_progress", _("rebooting")
    POWERING_DOWN = "powering_down", _("shutting down")
    PAUSED = "paused", _("paused")
    SUSPENDED = "suspended", _("suspended")
    SAVING_STATE = "saving_state", _("saving its state")
    RESTORING_STATE = "restoring_state", _("restoring its state")
    MIGRATING = "migrating", _("migrating")
    IMAGE_LOCKED = "image_locked", _("disk locked")
    NOT_RESPONDING = "not_responding", _("not responding")
    UNKNOWN = "unknown", _("unknown")


RUNNING = frozenset(
    {
        "wait_for_launch",
        "powering_up",
        "up",
        "reboot_in_progress",
        "powering_down",
        "paused",
        "saving_state",
        "restoring_state",
        "migrating",
        "not_responding",
        "unknown",
    }
)
"""Statuses in which vCPU and memory count as running (oVirt: paused and unknown count)."""


class StorageStatus(TextChoices):
    """Last observed status of a storage domain."""

    ACTIVE = "active", _("active")
    INACTIVE = "inactive", _("inactive")
    UNKNOWN = "unknown", _("unknown")


class TemplateStatus(TextChoices):
    """oVirt's template statuses."""

    OK = "ok", _("ready")
    LOCKED = "locked", _("being made")
    ILLEGAL = "illegal", _("broken")
