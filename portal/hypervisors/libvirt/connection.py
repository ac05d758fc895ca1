"""One connection to libvirt: opened by the first call, kept alive, and never reopened.

When it breaks its driver is replaced by a new one (``portal.hypervisors.lanes``), so nothing here tries again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import libvirt

from portal.hypervisors.errors import Unavailable
from portal.hypervisors.libvirt import names
from portal.hypervisors.libvirt.event_loop import ensure_event_loop
from portal.hypervisors.libvirt.failures import calling
from portal.hypervisors.libvirt.transport import reached
from portal.hypervisors.libvirt.uri import parsed
from portal.hypervisors.specs import Connection, Marker

log = logging.getLogger(__name__)

# A daemon that has not answered for this long is given up, and the calls on it end.
KEEPALIVE_SECONDS = 5
KEEPALIVE_TIMES = 3

_CREDENTIALS = {libvirt.VIR_CRED_AUTHNAME: "username", libvirt.VIR_CRED_PASSPHRASE: "password"}


class Session:
    """What the parts of the driver share: the connection, and how our things are named there."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.portal_id = connection.portal_id
        self.prefix = names.prefix(connection.portal_id)
        self._lock = threading.Lock()
        self._open: Any = None
        self._closed = False
        self.is_broken = False
        self._on_break: list[Callable[[], None]] = []

    @property
    def is_test(self) -> bool:
        """libvirt's built-in test driver, which keeps everything in memory."""
        return self.connection.address.startswith("test:")

    @property
    def is_local(self) -> bool:
        """Whether libvirt runs on this machine, so that its addresses can be read here."""
        uri = parsed(self.connection.address)
        return self.is_test or (not isinstance(uri, str) and not uri.host)

    def libvirt(self) -> Any:
        """The open connection. Raises ``Unavailable`` or ``Denied`` when it cannot be opened."""
        with self._lock:
            if self._closed:
                raise Unavailable(detail="the connection was closed")
            if self._open is None:
                ensure_event_loop()
                with calling("connect", opening=True):
                    self._open = self._connect()
            return self._open

    def marker(self, uid: UUID) -> Marker:
        """Our mark on an object."""
        return Marker(portal_id=self.portal_id, uid=uid)

    def is_ours(self, marker: Marker | None) -> bool:
        """Whether a mark is this portal's."""
        return marker is not None and marker.portal_id == self.portal_id

    def when_broken(self, act: Callable[[], None]) -> None:
        """Have something called when the connection breaks or is closed; on libvirt's event thread, so be quick."""
        self._on_break.append(act)

    def close(self) -> None:
        """Give the connection back; never raises."""
        with self._lock:
            self._closed = True
            conn, self._open = self._open, None
        self._tell_broken()
        if conn is None:
            return
        for close in (conn.unregisterCloseCallback, conn.close):
            try:
                close()  # the first fails where the connection is broken
            except libvirt.libvirtError as error:
                log.debug("closing a connection to libvirt: %s", error)

    def _connect(self) -> Any:
        wanted = [[*_CREDENTIALS], self._answer, None]
        with reached(self.connection) as uri:
            conn = libvirt.openAuth(uri, wanted, 0)
        conn.registerCloseCallback(lambda *_args: self._tell_broken(), None)
        try:
            conn.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_TIMES)
        except libvirt.libvirtError as error:
            # The test driver has no transport that could die.
            if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                raise
        return conn

    def _answer(self, credentials: list[list[Any]], _data: object) -> int:
        """libvirt asks for what a login needs: each entry is [type, prompt, challenge, default, answer]."""
        known = {"username": self.connection.username, **self.connection.secrets}
        for credential in credentials:
            answer = known.get(_CREDENTIALS.get(credential[0], ""))
            if not answer:
                return -1
            credential[4] = answer
        return 0

    def _tell_broken(self) -> None:
        self.is_broken = True
        for act in self._on_break:
            act()
