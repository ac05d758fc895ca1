"""Which person of a directory somebody means, who may never have been here. The directory is asked.

So nothing here is called within a transaction, but for ``stored_person``. Whoever calls has asked the policy.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from portal.common.errors import Invalid, Reason
from tenants.directory.accounts import Account
from tenants.directory.backend import unavailable
from tenants.directory.errors import DirectoryDown
from tenants.directory.following import asking
from tenants.directory.names import login_name
from tenants.directory.people import alike, stored
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


def person_meant(typed: str) -> AskedPerson | None:
    """The person whom a log-in of this name would be of, asked of his directory, unless he is here already.

    None where that names nobody, or more than one, or somebody of a directory that is disabled, whom another may have under the
    whole name. ``Unavailable`` names a directory that cannot be asked.
    """
    rows = list(Directory.objects.all())
    meant = login_name(typed, rows)
    row = next((row for row in rows if row.enabled and row.pk == meant.directory), None)
    if row is None or not meant.name or "\x00" in typed or known_person(typed) is not None:
        return None
    try:
        with asking(row) as connection:
            found = accounts_named(connection, meant.name, meant.whole)
    except DirectoryDown as error:
        raise unavailable(row.name, str(error)) from error
    return AskedPerson(row, found[0]) if len(found) == 1 else None


def stored_person(asked: AskedPerson, *, field: str) -> User:
    """The row of him, made when there is none, as a log-in would. Call it in the transaction that gives him something.

    One that is here stays as it is: whether he is let in again is for a log-in and a sync to say, which ask for his groups too.
    """
    user = User.objects.filter(directory=asked.directory, guid=asked.account.guid).first()
    user = user or stored(asked.directory, asked.account)
    if user is None:
        text = _("The directory %(name)s is disabled.") % {"name": asked.directory.name}
        raise Invalid(text, reasons=(Reason(f"{field}_invalid", text, field),))
    return user
