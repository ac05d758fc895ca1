"""Log-in by a directory's password: django-auth-ldap's backend with one directory's row for its settings.

An instance is one log-in's. Whatever the directory answers is final: an error is raised, and no other backend is asked.
"""

from __future__ import annotations

import time
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

import ldap
from django.utils.translation import gettext as _
from django_auth_ldap.backend import LDAPBackend, _LDAPUser, ldap_error
from django_auth_ldap.config import LDAPSettings

from portal.common.errors import Unavailable
from portal.common.sealed import SealBroken
from tenants.directory.accounts import Account, kept_out_by_bind
from tenants.directory.address import address_of
from tenants.directory.connection import Connection, code_of
from tenants.directory.errors import DirectoryDown, TooManyGroups
from tenants.directory.names import LoginName
from tenants.directory.people import stored
from tenants.directory.reading import accounts_named, groups_of
from tenants.models import Directory, KeptOut, User

REST_SECONDS: Final = 10.0

# What a server may answer to one account's bind besides a wrong password: of a lock or policy, an account without a
# password, one that may not log in, one it will not serve. The directory itself is well then.
REFUSED = (
    ldap.INVALID_CREDENTIALS,
    ldap.CONSTRAINT_VIOLATION,
    ldap.INAPPROPRIATE_AUTH,
    ldap.INSUFFICIENT_ACCESS,
    ldap.UNWILLING_TO_PERFORM,
)


def unavailable(directory: str, why: str) -> Unavailable:
    """503, naming the directory; ``why`` is for the log."""
    text = _(
        "The directory %(name)s cannot be asked just now, so nobody of it can log in. Try again in a few minutes. "
        "Local accounts still can."
    )
    return Unavailable(
        text % {"name": directory}, private=f"directory {directory}: {why}", data={"directory": directory}
    )


class _Silent:
    """Directories that were silent a moment ago, in this process: each log-in that waits for one holds a thread of the portal."""

    def __init__(self) -> None:
        self._until: dict[UUID, float] = {}

    def note(self, directory: UUID, code: str) -> None:
        """A log-in waited in vain, or (another code) was refused at once, which costs nothing."""
        if code in {"silent", "timeout", "server_down"}:
            self._until[directory] = time.monotonic() + REST_SECONDS

    def holds(self, directory: UUID) -> bool:
        """Whether nobody should wait for it just now."""
        return time.monotonic() < self._until.get(directory, 0.0)


_silent = _Silent()


class DirectoryBackend(LDAPBackend):  # type: ignore[misc,unused-ignore]
    """One log-in at one directory. ``kept_out``: why the directory refused an account that is there, if it did."""

    def __init__(self, directory: Directory, login: LoginName) -> None:
        self.directory = directory
        self.login = login
        self.kept_out = ""
        self.groups: frozenset[str] = frozenset()
        try:
            self.address = address_of(directory)
        except SealBroken as error:
            raise unavailable(directory.name, "sealed password cannot be opened") from error
        self.settings = _settings(self)

    def authenticate(
        self, request: Any, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        """The user whose password this is, None for anybody else's. Raises ``Unavailable`` naming the directory."""
        if not self.login.name or not password or not password.strip() or "\x00" in password + self.login.name:
            return None
        if _silent.holds(self.directory.pk):
            raise unavailable(self.directory.name, "silent a moment ago")
        asked = _DirectoryUser(self, username=self.login.name, request=request)
        try:
            found: User | None = self.authenticate_ldap_user(asked, password)
        except DirectoryDown as error:
            _silent.note(self.directory.pk, error.code)
            raise unavailable(self.directory.name, str(error)) from error
        finally:
            asked.close()
        return found


class _AccountSearch:
    """In the place of the library's own search: by GUID-bearing accounts, every value escaped, page after page."""

    def __init__(self, backend: DirectoryBackend) -> None:
        self._backend = backend

    def execute(self, connection: _BoundConnection, _filter_arguments: Any = ()) -> list[tuple[str, Account]]:
        login = self._backend.login
        return [(account.dn, account) for account in accounts_named(connection.ours, login.name, login.whole)]


class _BoundConnection(SimpleNamespace):
    """What the library takes for its connection: ours, of which it needs the bind alone."""

    ours: Connection

    def simple_bind_s(self, dn: str, password: str) -> None:
        self.ours.bind(dn, password)


class _DirectoryUser(_LDAPUser):  # type: ignore[misc,unused-ignore]
    """The library's steps (find, bind, check, store) on a connection and rows of ours."""

    _connection: _BoundConnection | None = None

    def _get_connection(self) -> _BoundConnection:
        if self._connection is None:
            self._connection = _BoundConnection(ours=Connection(self.backend.address))
            self._connection_bound = True
        return self._connection

    def _bind(self) -> None:
        if self._connection is None:
            self._get_connection()
            return
        self._connection.ours.bind_as_reader()
        self._connection_bound = True

    def _authenticate_user_dn(self, password: str) -> None:
        if self.dn is None:
            raise self.AuthenticationFailed("nobody, or more than one")
        try:
            self._bind_as(self.dn, password)
        except REFUSED as error:
            self.backend.kept_out = kept_out_by_bind(str(getattr(error, "args", "")))
            raise self.AuthenticationFailed("refused") from None

    def _check_requirements(self) -> None:
        """A right password proves that no lock holds; the rest of what keeps an account out is asked of its entry."""
        account: Account = self.attrs
        if account.kept_out and account.kept_out != KeptOut.LOCKED:
            self.backend.kept_out = account.kept_out
            raise self.AuthenticationFailed("kept out")

    def _get_or_create_user(self, force_populate: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's
        account: Account = self.attrs
        try:
            groups = groups_of(self.connection.ours, account)
        except TooManyGroups:
            self.backend.kept_out = str(KeptOut.GROUPS)
            raise self.AuthenticationFailed("in too many groups") from None
        user = stored(self.backend.directory, _let_in(account))
        if user is None or not user.is_active:
            raise self.AuthenticationFailed("disabled here")
        self.backend.groups = frozenset(groups)
        self._user = user

    def close(self) -> None:
        if self._connection is not None:
            with suppress(ldap.LDAPError):
                self._connection.ours.close()


def _let_in(account: Account) -> Account:
    return Account(account.guid, account.dn, account.name, account.display_name, account.email, "")


def _settings(backend: DirectoryBackend) -> LDAPSettings:
    """The library's settings, from the row alone: nothing of Django's settings is asked for."""
    settings = LDAPSettings("DIRECTORY_LDAP_", {})
    settings.BIND_DN, settings.BIND_PASSWORD = backend.address.bind_dn, backend.address.password
    settings.START_TLS = backend.address.starts_tls
    settings.USER_SEARCH = _AccountSearch(backend)
    settings.PERMIT_EMPTY_PASSWORD, settings.CACHE_TIMEOUT = False, 0
    return settings


def _raise_directory_error(sender: type, exception: Exception, **_: Any) -> None:
    """The library swallows errors of LDAP unless one is raised here, and a swallowed one would ask the next backend."""
    if isinstance(sender, type) and issubclass(sender, DirectoryBackend):
        raise DirectoryDown(*_place_of(exception)) from exception


def _place_of(error: Exception) -> tuple[Any, str]:
    from_base = isinstance(error, (ldap.NO_SUCH_OBJECT, ldap.INVALID_DN_SYNTAX))
    return ("base" if from_base else "port"), code_of(error)


ldap_error.connect(_raise_directory_error, dispatch_uid="directory errors are raised")
