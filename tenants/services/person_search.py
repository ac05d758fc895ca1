"""Which person of a directory somebody means, who may never have been here. The directory is asked.

So nothing here is called within a transaction, but for ``stored_person``. Whoever calls has asked the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from portal.common.errors import Invalid, Reason
from tenants.directory.accounts import Account
from tenants.directory.backend import unavailable
from tenants.directory.errors import DirectoryDown
from tenants.directory.following import asking
from tenants.directory.names import LoginName, login_name
from tenants.directory.people import alike, name_in_directory, stored
from tenants.directory.reading import accounts_named
from tenants.models import Directory, User


@dataclass(frozen=True, slots=True)
class AskedPerson:
    """A directory's account, as the directory told of it a moment ago."""

    directory: Directory
    account: Account


def known_person(typed: str) -> User | None:
    """The account of that user name that is here already; a data center's own ones, which nobody logs in as, left out."""
    return next(iter(alike(User.objects.filter(service_of=None), typed.strip())), None)


def person_meant(typed: str, *, field: str) -> AskedPerson | None:
    """The person whom a log-in of this name would be of, asked of his directory: the name may be somebody else's there by now.

    None where no directory is meant that could be asked, or it has nobody of that name: then whoever is known here under it is meant,
    as while it is down. ``Unavailable`` names a directory that cannot be asked, ``Invalid`` one where more than one has the name.
    """
    rows = list(Directory.objects.all())
    meant = _login_meant(typed, rows)
    row = next((row for row in rows if row.enabled and row.pk == meant.directory), None)
    known = known_person(typed) if row is not None and meant.name else None
    if row is None or not meant.name or "\x00" in typed or (known is not None and known.directory_id is None):
        return None
    try:
        with asking(row) as connection:
            found = accounts_named(connection, meant.name, meant.whole)
    except DirectoryDown as error:
        if known is not None:
            return None
        raise unavailable(row.name, str(error)) from error
    if len(found) > 1:
        found = [one for one in found if known is not None and (row.pk, one.guid) == (known.directory_id, known.guid)]
        if not found:
            text = _(
                "In the directory %(directory)s more than one account is called %(name)s, so nobody can log in so."
            )
            raise _invalid(field, text % {"directory": row.name, "name": meant.name[:64]})
    return AskedPerson(row, found[0]) if found else None


def _login_meant(typed: str, rows: Sequence[Directory]) -> LoginName:
    """As a log-in takes it, but for what is of none of these directories' names: somebody may be called so here whose had another."""
    meant = login_name(typed, rows)
    known = known_person(typed) if meant.may_be_local and "\\" in meant.name else None
    if known is None:
        return meant
    name = name_in_directory(known.username)
    return LoginName(name, name, known.directory_id, may_be_local=False)


def row_of(asked: AskedPerson) -> User | None:
    """The row that he has here already, whatever he is called in it."""
    return User.objects.filter(directory=asked.directory, guid=asked.account.guid).first()


def stored_person(asked: AskedPerson, *, field: str) -> User:
    """The row of him, made when there is none, as a log-in would. Call it in the transaction that gives him something.

    One that is here stays as it is: whether he is let in again is for a log-in and a sync to say, which ask for his groups too.
    """
    user = row_of(asked) or stored(asked.directory, asked.account)
    if user is None:
        raise _invalid(field, _("The directory %(name)s is disabled.") % {"name": asked.directory.name})
    return user


def _invalid(field: str, text: str) -> Invalid:
    return Invalid(text, reasons=(Reason(f"{field}_invalid", text, field),))
