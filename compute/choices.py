"""Statuses and kinds of this app's nouns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from portal.common.phrases import said

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


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

ABSENT = "not found on the hypervisor"
"""The detail of a machine that is ``unknown`` because its hypervisor answers and does not have it."""
HELD = "many machines seem to have vanished at once, which is not believed"
"""The detail of a provider that is up and whose inventory lacks too many machines to be true."""

UNREADABLE = "What it tells of itself cannot be read. The watcher's log says why."
"""The detail of a provider that answers, and whose compare fails."""


# What a driver's code tells besides the status; empty where that says it all. A code not named here is not shown.
VM_DETAILS: dict[str, StrOrPromise] = {
    "shut_down": "",
    "stopped": _("its power was cut"),
    "crashed": _("it crashed"),
    "failed": _("its start failed"),
    "enospc": _("no room is left for its disk"),
    "eio": _("its disk cannot be read or written"),
    "eperm": _("its disk may not be accessed"),
    "eother": _("why is not known"),
    "watchdog": _("its watchdog stopped it"),
    "postcopy": _("in the midst of a migration"),
}


def detail_words(detail: str) -> str:
    """What is kept beside a machine's status, in the reader's words: a driver's code, or a sentence of ours."""
    return said(detail) if " " in detail else str(VM_DETAILS.get(detail, ""))


class FoundMark(TextChoices):
    """Why a machine that was found cannot be adopted: whose mark it bears."""

    PORTAL = "portal", _("another portal's")
    COPY = "copy", _("a copy of a machine of ours")


class StorageFunction(TextChoices):
    """What a storage domain is good for here (oVirt has data, ISO and export domains)."""

    DATA = "data", _("machines' disks")
    SOURCE = "source", _("volumes to copy from")
    NONE = "none", _("nothing here: the portal neither makes nor copies disks in it")


class StorageStatus(TextChoices):
    """Last observed status of a storage domain."""

    ACTIVE = "active", _("active")
    INACTIVE = "inactive", _("inactive")
    UNKNOWN = "unknown", pgettext_lazy("storage domain", "unknown")


# What the icons of templates show; brands are called as they call themselves.
ICON_TITLES = {
    "device-desktop": _("a computer"),
    "server": _("a server"),
    "database": _("a database"),
    "terminal-2": _("a terminal"),
    "brand-debian": "Debian",
    "brand-ubuntu": "Ubuntu",
    "brand-apple": "Apple",
    "brand-redhat": "Red Hat",
    "brand-windows": "Windows",
    "brand-docker": "Docker",
    "flask": _("a flask"),
    "school": _("a school"),
}

# How libvirt and engines call a kind of storage, and how people do.
STORAGE_TYPES: dict[str, StrOrPromise] = {
    "dir": _("folder"),
    "localfs": _("folder"),
    "fs": _("file system"),
    "netfs": "NFS",
    "nfs": "NFS",
    "iscsi": "iSCSI",
    "iscsi-direct": "iSCSI",
    "logical": "LVM",
    "fcp": "Fibre Channel",
    "scsi": "SCSI",
    "gluster": "GlusterFS",
    "glusterfs": "GlusterFS",
    "rbd": "Ceph RBD",
    "zfs": "ZFS",
    "posixfs": "POSIX",
}


class CheckStatus(TextChoices):
    """What one check of a provider comes to; of several the worst."""

    OK = "ok", _("good")
    WARNING = "warning", _("warning")
    FAILED = "failed", _("failed")
    UNKNOWN = "unknown", _("not known")


HOST_STATUSES: dict[str, StrOrPromise] = {"up": _("up"), "unknown": pgettext_lazy("host", "unknown")}

# How an engine calls the state of what it calls a data center.
ZONE_STATUSES = {
    "up": pgettext_lazy("zone", "up"),
    "contend": pgettext_lazy("zone", "its hosts contend for the storage"),
    "maintenance": pgettext_lazy("zone", "in maintenance"),
    "not_operational": pgettext_lazy("zone", "not operational"),
    "problematic": pgettext_lazy("zone", "has problems"),
    "uninitialized": pgettext_lazy("zone", "not set up yet"),
    "unknown": pgettext_lazy("zone", "status not known"),
}


class TemplateStatus(TextChoices):
    """oVirt's template statuses."""

    OK = "ok", _("ready")
    LOCKED = "locked", _("being made")
    ILLEGAL = "illegal", _("broken")
    GONE = "gone", _("gone from its engine")


class ImageFormat(TextChoices):
    """What can be uploaded; everything else is refused."""

    QCOW2 = "qcow2", "qcow2"
    RAW = "raw", "raw"


class ImageStatus(TextChoices):
    """How far an uploaded image is."""

    UPLOADING = "uploading", _("uploading")
    INSPECTING = "inspecting", _("being inspected")
    READY = "ready", pgettext_lazy("image", "ready")
    REFUSED = "refused", _("refused")


# Why an image was refused, by the code that its row keeps.
IMAGE_REFUSALS = {
    "checksum": _("What arrived has another SHA-256 checksum than was said. Upload the file again."),
    "format": _("The image is not of the format it is said to be. Upload it as what it is."),
    "foreign_format": _("The image is neither qcow2 nor raw. Convert it to qcow2 first."),
    "no_disk": _("The file is no disk: a raw disk is of whole sectors of 512 bytes. Upload a disk in qcow2 or raw."),
    "backing_file": _("The image has a backing file, another image below it. Convert it to one that stands alone."),
    "data_file": _("The image keeps its data in another file. Convert it to one that stands alone."),
    "unknown_features": _("The image has features that are not known here. Convert it to a plain qcow2."),
    "encrypted": _("The image is encrypted. Upload it without encryption."),
    "partitions": _("The image's partition table is not sound."),
    "broken": _("The image is damaged or not complete. Upload the file again."),
    "too_large": _("The disk in the image is larger than is allowed here. Make it smaller first."),
    "cancelled": _("The inspection was cancelled. Upload the file again."),
}
IMAGE_REFUSED = _("The image could not be inspected. Upload the file again, or ask an administrator.")


# Why a console ended or was not to be had, by the code that its websocket closes with. Codes not named here are faults
# of a client or a provider that no user can do anything about.
CONSOLE_ENDINGS = {
    "client_left": _("The window was closed."),
    "client_gone": _("The connection to the browser was lost."),
    "client_protocol": _("The browser sent something that is no console's."),
    "client_timeout": _("The browser did not go on."),
    "portal_stopping": _("The portal was restarted. The machine runs on."),
    "provider_closed": _("The machine's screen was switched off."),
    "provider_stalled": _("The machine's screen took no more input."),
    "unreachable": _("The machine's screen cannot be reached. Ask an administrator to look at its hypervisor."),
    "timed_out": _("The machine's screen did not answer in time."),
    "display_port": _(
        "The hypervisor names a port for this machine's screen that screens do not have, so it is not opened. "
        "Ask an administrator to look at the machine's definition there."
    ),
    "display_elsewhere": _(
        "The hypervisor names an address for this machine's screen that none of its hosts is known by, so it is not "
        "opened. Ask an administrator to compare it with the hosts of the provider."
    ),
    "display_unnamed": _(
        "The hypervisor tells the host of this machine's screen by a name that leads nowhere from here. "
        "Ask an administrator to let the portal look it up."
    ),
    "display_outside": _(
        "This machine's screen does not listen on its host's loopback, the only place where it is opened from here. "
        "Ask an administrator to set its display to listen on 127.0.0.1."
    ),
    "hypervisor_busy": _("The machine is not running."),
    "hypervisor_not_found": _("The hypervisor does not know this machine any more."),
    "hypervisor_unavailable": _("The hypervisor does not answer."),
    "hypervisor_outcome_unknown": _("The hypervisor did not answer in time."),
    "login_ended": _("You logged out, or your log-in ended."),
    "user_disabled": _("The account was disabled."),
    "not_permitted": _("The right to this console ended."),
    "viewing": _("Consoles are closed while the portal is seen as somebody else."),
    "other_user": _("The console was asked for by somebody else."),
    "unverified": _("The right to this console could not be checked any more."),
    "ended": _("The console was ended."),
    "lost": _("The console's process ended without a word."),
}
