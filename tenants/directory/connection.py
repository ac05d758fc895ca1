"""A connection to one directory: TLS or nothing, within a time of its own, bound as the account that reads it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import ldap
from ldap.controls import RequestControl, SimplePagedResultsControl

from tenants.directory.address import Address
from tenants.directory.channel import Channel
from tenants.directory.errors import DirectoryDown, Step

LOGIN_SECONDS = 5.0
SYNC_SECONDS = 30.0
SHORTEST = 0.2
PAGE_SIZE = 100

Attributes = dict[str, list[bytes]]
Entry = tuple[str, Attributes]

# Another server of the same directory may do better; what is left is the directory's own answer.
NEXT_SERVER = (
    ldap.SERVER_DOWN,
    ldap.CONNECT_ERROR,
    ldap.TIMEOUT,
    ldap.UNAVAILABLE,
    ldap.BUSY,
    ldap.PROTOCOL_ERROR,
    ldap.LOCAL_ERROR,
    ldap.DECODING_ERROR,
    ldap.UNWILLING_TO_PERFORM,
)


class Deadline:
    """The time that all calls together may take, over all servers."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left. Raises ``ldap.TIMEOUT`` when there are none."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise ldap.TIMEOUT
        return max(left, SHORTEST)


@contextmanager
def understood() -> Iterator[None]:
    """What a broken server answers (a name that is no UTF-8, a range that is no number) ends in ``ldap.DECODING_ERROR`` too."""
    try:
        yield
    except (ldap.LDAPError, DirectoryDown):
        raise
    except Exception as error:
        raise ldap.DECODING_ERROR from error


class Connection:
    """One bound connection, and the searches that portals need. ``ldap.LDAPError`` comes through as it is, and is all that does."""

    def __init__(self, address: Address, *, seconds: float = LOGIN_SECONDS) -> None:
        """Connects to the first server that answers and binds. Raises ``DirectoryDown``."""
        self.address = address
        self.deadline = Deadline(seconds)
        self._ldap = self._opened()

    def bind(self, dn: str, password: str) -> None:
        """Prove an account's password. Raises ``ldap.INVALID_CREDENTIALS``; an empty one is never sent.

        A server takes a bind with a name and no password for an anonymous one, and says yes (RFC 4513, 5.1.2).
        """
        if not dn or not password:
            raise ldap.INVALID_CREDENTIALS
        with understood():
            self._bound_time()
            self._ldap.simple_bind_s(dn, password)

    def bind_as_reader(self) -> None:
        """Be the account again that reads the directory."""
        self.bind(self.address.bind_dn, self.address.password)

    def search(
        self, base: str, scope: int, filter_text: str, attributes: Sequence[str], *more: RequestControl
    ) -> Iterator[Entry]:
        """All entries found, page after page; what is a mere referral to another server is left out. ``more``: controls."""
        with understood():
            yield from self._pages(base, scope, filter_text, attributes, *more)

    def _pages(
        self, base: str, scope: int, filter_text: str, attributes: Sequence[str], *more: RequestControl
    ) -> Iterator[Entry]:
        control = SimplePagedResultsControl(criticality=True, size=PAGE_SIZE, cookie="")
        while True:
            self._bound_time()
            number = self._ldap.search_ext(base, scope, filter_text, list(attributes), serverctrls=[control, *more])
            _kind, found, _id, controls = self._ldap.result3(number, timeout=self.deadline.left())
            for dn, entry in found:
                if dn is not None:
                    yield dn, self._whole(dn, entry)
            cookies = [one.cookie for one in controls if isinstance(one, SimplePagedResultsControl)]
            if not cookies or not cookies[0]:
                return
            control.cookie = cookies[0]

    def entry(self, dn: str, attributes: Sequence[str]) -> Attributes | None:
        """One entry by its name, None when it is not there."""
        try:
            return next((found for _dn, found in self.search(dn, ldap.SCOPE_BASE, "(objectClass=*)", attributes)), None)
        except ldap.NO_SUCH_OBJECT:
            return None

    def close(self) -> None:
        """Give the connection back; again is nothing."""
        with suppress(ldap.LDAPError):
            self._ldap.unbind_s()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _whole(self, dn: str, entry: Attributes) -> Attributes:
        """An entry with all values of each attribute: Active Directory tells long ones in ranges (``member;range=0-1499``)."""
        ranged = [name for name in entry if ";range=" in name.lower()]
        if not ranged:
            return entry
        whole = {name: values for name, values in entry.items() if name not in ranged}
        for name in ranged:
            plain, _semicolon, told = name.partition(";")
            whole[plain] = [*entry[name], *self._rest(dn, plain, told)]
        return whole

    def _rest(self, dn: str, name: str, told: str) -> Iterator[bytes]:
        last = told.rpartition("-")[2]
        while last != "*":
            asked = f"{name};range={int(last) + 1}-*"
            self._bound_time()
            [(_dn, more)] = self._ldap.search_s(dn, ldap.SCOPE_BASE, "(objectClass=*)", [asked])
            found = next((key for key in more if key.lower().startswith(f"{name.lower()};range=")), None)
            if found is None:
                return
            yield from more[found]
            before, last = last, found.rpartition("-")[2]
            if last != "*" and int(last) <= int(before):
                raise ValueError("a range that leads nowhere")

    def _opened(self) -> ldap.ldapobject.LDAPObject:
        failure: Exception | None = None
        for place, url in enumerate(self.address.urls):
            servers_left = len(self.address.urls) - place
            try:
                return self._bound(url, self.deadline.left() / servers_left)
            except NEXT_SERVER as error:
                failure = DirectoryDown(Step.BIND, code_of(error))
            except DirectoryDown as error:
                failure = error
            except ldap.LDAPError as error:
                raise DirectoryDown(Step.BIND, code_of(error)) from error
        raise failure or DirectoryDown(Step.NAME, "no_server")

    def _bound(self, url: str, seconds: float) -> ldap.ldapobject.LDAPObject:
        """Connected over TLS and bound. A server that will not speak TLS gets neither name nor password."""
        address, began = self.address, time.monotonic()
        if not address.password:
            raise DirectoryDown(Step.BIND, "no_password")
        channel = Channel(url, starts_tls=address.starts_tls, ca_pem=address.ca_pem, seconds=seconds)
        channel.carry(self.deadline.left())
        opened = ldap.initialize("ldap://directory", fileno=channel.end.detach())  # libldap closes it
        try:
            opened.set_option(ldap.OPT_REFERRALS, ldap.OPT_OFF)
            _set_time(opened, max(seconds - (time.monotonic() - began), SHORTEST))
            with understood():
                opened.simple_bind_s(address.bind_dn, address.password)
        except BaseException:
            with suppress(ldap.LDAPError):
                opened.unbind_s()
            raise
        return opened

    def _bound_time(self) -> None:
        _set_time(self._ldap, self.deadline.left())


def _set_time(opened: ldap.ldapobject.LDAPObject, seconds: float) -> None:
    opened.set_option(ldap.OPT_NETWORK_TIMEOUT, seconds)
    opened.set_option(ldap.OPT_TIMEOUT, seconds)
    opened.timeout = seconds


def code_of(error: Exception) -> str:
    """An LDAP error's kind, which is no value and may be logged."""
    return type(error).__name__.lower()
