"""What a directory says now of people known before, read in one go."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import ldap

from portal.common.errors import PortalError
from portal.common.sealed import SealBroken
from tenants.directory.accounts import Account
from tenants.directory.address import address_of
from tenants.directory.connection import LOGIN_SECONDS, SYNC_SECONDS, Connection, code_of
from tenants.directory.errors import DirectoryDown, Step
from tenants.directory.nesting import groups_of_all
from tenants.directory.reading import accounts_of
from tenants.models import Directory, KeptOut

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """An account, and the GUIDs of all groups it is in; None, and kept out, when they are too many to be read."""

    account: Account
    groups: frozenset[str] | None


def read_people(row: Directory, names: Mapping[str, str], *, with_groups: bool = True) -> dict[str, Found]:
    """Those of these accounts (GUIDs, and what each was called last) that are there. All or nothing: raises ``DirectoryDown`` when anything cannot be read."""
    with asking(row, seconds=SYNC_SECONDS) as connection:
        accounts = accounts_of(connection, names)
        groups = groups_of_all(connection, accounts.values()) if with_groups else {}
        return {guid: _found(account, groups.get(guid, frozenset())) for guid, account in accounts.items()}


def _found(account: Account, groups: frozenset[str] | None) -> Found:
    """Whose groups cannot be told may have lost any of them, so he may not be here either."""
    if groups is None and not account.kept_out:
        account = replace(account, kept_out=str(KeptOut.GROUPS))
    return Found(account, groups)


@contextmanager
def asking(row: Directory, *, seconds: float = LOGIN_SECONDS) -> Iterator[Connection]:
    """A connection to a directory for as long as the block. Whatever goes wrong is a ``DirectoryDown`` with its code.

    Also what our own reading stumbles over in an answer, of which the log has all. What the block itself refuses comes through.
    """
    try:
        with Connection(address_of(row), seconds=seconds) as connection:
            yield connection
    except SealBroken as error:
        raise DirectoryDown(Step.BIND, "seal_broken") from error
    except (ldap.NO_SUCH_OBJECT, ldap.INVALID_DN_SYNTAX) as error:
        raise DirectoryDown(Step.BASE, code_of(error)) from error
    except ldap.LDAPError as error:
        raise DirectoryDown(Step.BIND, code_of(error)) from error
    except (DirectoryDown, PortalError):
        raise
    except Exception as error:
        log.exception("directory %s: what it answered could not be read", row.name)
        raise DirectoryDown(Step.BASE, code_of(error)) from error
