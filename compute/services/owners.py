"""Whose a machine is to be that comes into a data center: somebody by his user name, who may never have been here.

``asked`` is he as a directory told of him, None where none is to be asked: the name may be somebody else's there by now.
"""

from __future__ import annotations

from django.utils.translation import gettext as _

from portal.common.errors import Invalid, Reason, Unavailable
from tenants.directory.people import username_of
from tenants.models import User
from tenants.services.person_search import AskedPerson, known_person, person_meant, row_of, stored_person


def ask_for_owner(username: str) -> AskedPerson | None:
    """What a directory says of him. Call it outside of any transaction; whoever calls has asked the policy.

    ``Unavailable`` names the directory that cannot be asked, and the field.
    """
    try:
        return person_meant(username, field="owner")
    except Unavailable as error:
        why = (Reason("owner_unasked", error.detail, "owner"),)
        raise Unavailable(error.detail, reasons=why, private=error.private, data=error.data) from error


def expected_owner(username: str, asked: AskedPerson | None) -> User | None:
    """Who it is, nothing stored: of whoever was never here, the row that he would have. ``Invalid`` names the field."""
    if asked is None:
        return _known(username)
    name = username_of(asked.directory.name, asked.account.name)
    return row_of(asked) or User(username=name, display_name=asked.account.display_name)


def stored_owner(username: str, asked: AskedPerson | None) -> User | None:
    """Who it is, with a row. Call it in the transaction that makes it his. ``Invalid`` names the field."""
    return _known(username) if asked is None else stored_person(asked, field="owner")


def _known(username: str) -> User | None:
    """An empty name is nobody's."""
    if not username.strip():
        return None
    row = known_person(username)
    if row is None:
        text = _("There is no user %(name)s. Check the spelling, or have a super-admin create the account.")
        told = text % {"name": username[:64].replace("\x00", "\N{REPLACEMENT CHARACTER}")}
        raise Invalid(told, reasons=(Reason("owner_invalid", told, "owner"),))
    return row
