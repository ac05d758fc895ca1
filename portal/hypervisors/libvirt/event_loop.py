"""libvirt's event loop: one daemon thread per process, started before the first connection.

Without it there is neither an event nor a keepalive. It does not survive a fork: the child would read from its parent's
sockets. So a process that forks must not have opened a connection before, and a child of one that has is refused.
"""

from __future__ import annotations

import logging
import os
import threading

import libvirt

from portal.hypervisors.errors import Unavailable

log = logging.getLogger(__name__)

_lock = threading.Lock()
_owner: int | None = None


def ensure_event_loop() -> None:
    """Start the loop of this process, once. Raises ``Unavailable`` in a child of a process that has one."""
    global _owner
    with _lock:
        if _owner == os.getpid():
            return
        if _owner is not None:
            raise Unavailable(detail="this process was forked from one that had opened a connection to libvirt")
        libvirt.virEventRegisterDefaultImpl()
        # The library prints every error to the standard error stream unless told otherwise; ours are raised and logged.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        threading.Thread(target=_run, name="libvirt-events", daemon=True).start()
        _owner = os.getpid()


def _run() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:
            log.warning("libvirt's event loop: %s", error)


def _new_lock() -> None:
    """In a forked child: the lock may have been held by a thread that is not here."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_new_lock)
