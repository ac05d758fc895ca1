"""The hallway of log-ins by name and password, those of local accounts and those of directories."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.contrib.auth import authenticate
from django.utils.translation import gettext as _

from portal.common.actor import Actor, Door
from portal.common.errors import Invalid, NotAuthenticated, PortalError, Reason, TooMany, Unavailable
from portal.events.codes import Outcome, Severity
from portal.events.record import Subject, attempt, record
from tenants.directory.backend import DirectoryBackend
from tenants.directory.meaning import is_local
from tenants.directory.membership import put_in_groups
from tenants.directory.names import LoginName, login_name
from tenants.directory.people import alike, username_of
from tenants.models import Directory, User
from tenants.services.throttle import PASSWORD, give_back, put_back, take_try


@dataclass(frozen=True, slots=True)
class _Meant:
    """Whom a log-in names: ``directory`` None for a local account, which may not be there."""

    login: LoginName
    directory: Directory | None
    directories: int

    @property
    def username(self) -> str:
        """The name of the row that it would be."""
        return username_of(self.directory.name, self.login.name) if self.directory else self.login.whole

    @property
    def row(self) -> User | None:
        """Who of that name was here before."""
        if "\x00" in self.username:
            return None
        rows = User.objects.filter(directory=self.directory)
        found = alike(rows, self.username) if self.directory else rows.filter(username=self.username)
        return next(iter(found), None)


def check_password(
    username: str,
    password: str,
    *,
    client_address: str,
    request_id: str = "",
    door: Door = Door.PAGE,
    device: str = "",
) -> User:
    """The user behind a name and password. Raises ``NotAuthenticated``, or ``TooMany`` after too many wrong ones.

    ``Unavailable`` names the directory that cannot be asked. ``device``: what a browser has of an earlier log-in of this
    account (``throttle``). Empty passwords and NUL are refused before anything is asked. The answer is the same for an
    unknown name.
    """
    actor = Actor(user=None, door=door, request_id=request_id, client_address=client_address)
    meant = _meant(username)
    # Before the transaction: hashing takes long, a directory longer, and the count of a refused try must stay.
    found = _authenticated(actor, meant, password, device)
    if isinstance(found, TooMany) and found.repeated:
        raise found  # the first is on record; whoever is refused without end must not fill the log
    with attempt(replace(actor, user=found if isinstance(found, User) else None), "LOGIN", _named(meant)) as trial:
        if not isinstance(found, User):
            raise found
        trial.subject = Subject("user", found.pk, found.username)
    return found


def password_refusal(actor: Actor, password: str, *, field: str) -> PortalError | None:
    """Why this is not the actor's own password, tried once more by somebody who is logged in; None when it is.

    Tries are counted as those of log-ins are, apart from them: a stolen log-in finds no password out, and shuts nobody out. Call
    outside of a transaction that a refusal rolls back. ``field``: as whoever asks calls it.
    """
    user = actor.user
    key = str(user.pk)
    try:
        take_try(key, actor.client_address, of=PASSWORD)
        right = _is_of(actor, user, password)
    except TooMany as error:
        return error
    except Unavailable as error:
        put_back(key, of=PASSWORD)
        return error
    if not right:
        text = _("That is not your present password.")
        return Invalid(text, reasons=(Reason("password_wrong", text, field),))
    give_back(key, actor.client_address, of=PASSWORD)
    return None


def _is_of(actor: Actor, user: User, password: str) -> bool:
    if not password.strip() or "\x00" in password:
        return False
    if user.directory is None:
        return user.check_password(password)
    found = _asked(actor, _meant(user.username), password)
    return found is not None and found.pk == user.pk


def account_meant(username: str) -> User | None:
    """The account that a log-in of this name would be of, when it was here before."""
    return _meant(username).row


def names_a_directory() -> bool:
    """Whether a name alone means nobody of a directory: there are several and none is the default one."""
    enabled = list(Directory.objects.filter(enabled=True).values_list("is_default", flat=True)[:2])
    return len(enabled) > 1 and not Directory.objects.filter(enabled=True, is_default=True).exists()


def _meant(username: str) -> _Meant:
    enabled = list(Directory.objects.filter(enabled=True))
    login = login_name(username, enabled)
    directory = next((one for one in enabled if one.pk == login.directory), None)
    if is_local(login):
        directory = None
    return _Meant(login, directory, len(enabled))


def _named(meant: _Meant) -> Subject:
    """The user of that name. What names nobody is not written down: it may be a password in the wrong field."""
    known = meant.row
    return Subject("user", known.pk, known.username) if known else Subject("user", None)


def _authenticated(actor: Actor, meant: _Meant, password: str, device: str) -> User | PortalError:
    try:
        take_try(meant.username, actor.client_address, device=device)
    except TooMany as error:
        return error
    user = None
    if password.strip() and "\x00" not in password + meant.username:
        try:
            user = _asked(actor, meant, password)
        except Unavailable as error:
            put_back(meant.username, device=device)
            return error
    if user is None:
        return NotAuthenticated(_refusal(meant))
    give_back(meant.username, actor.client_address, device=device)
    return user


def _asked(actor: Actor, meant: _Meant, password: str) -> User | None:
    """One backend, never a second: the directory's answer is final, and so is the local account's."""
    if meant.directory is None:
        local = authenticate(username=meant.login.whole, password=password)
        return local if isinstance(local, User) else None
    backend = DirectoryBackend(meant.directory, meant.login)
    user = backend.authenticate(None, password=password)
    if user is None and backend.kept_out:
        _note_kept_out(actor, meant, backend.kept_out)
    if user is not None:
        put_in_groups(user, backend.groups)
    return user


def _note_kept_out(actor: Actor, meant: _Meant, why: str) -> None:
    """For the log of those who may be asked for help; whoever logs in learns of no account's state."""
    data = {"why": why, "directory": meant.directory.name if meant.directory else ""}
    record(actor, "LOGIN_KEPT_OUT", outcome=Outcome.NOTED, subject=_named(meant), severity=Severity.WARNING, data=data)


def _refusal(meant: _Meant) -> str:
    """The same sentence whoever was named, and whatever is the matter with his account."""
    if not meant.directories:
        return _("The user name or the password is wrong.")
    return _(
        "The user name or the password is wrong, or the directory does not let the account in: it may be disabled, "
        "expired or locked, or must change its password first."
    )
