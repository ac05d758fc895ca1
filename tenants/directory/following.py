"""What a directory says now of people known before, read in one go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import ldap

from portal.common.sealed import SealBroken
from tenants.directory.accounts import Account
from tenants.directory.address import address_of
from tenants.directory.connection import LOGIN_SECONDS, SYNC_SECONDS, Connection, code_of
from tenants.directory.errors import DirectoryDown, Step
from tenants.directory.reading import accounts_of, groups_of
from tenants.models import Directory


@dataclass(frozen=True, slots=True)
class Found:
    """An account, and the GUIDs of all groups it is in."""

    account: Account
    groups: frozenset[str]


def read_people(row: Directory, guids: Sequence[str], *, with_groups: bool = True) -> dict[str, Found]:
    """Those of these accounts that are there. All or nothing: raises ``DirectoryDown`` when anything cannot be read."""
    with asking(row, seconds=SYNC_SECONDS) as connection:
        accounts = accounts_of(connection, guids)
        return {
            guid: Found(account, frozenset(groups_of(connection, account)) if with_groups else frozenset())
            for guid, account in accounts.items()
        }


@contextmanager
def asking(row: Directory, *, seconds: float = LOGIN_SECONDS) -> Iterator[Connection]:
    """A connection to a directory for as long as the block. Whatever goes wrong is a ``DirectoryDown`` with its code."""
    try:
        with Connection(address_of(row), seconds=seconds) as connection:
            yield connection
    except SealBroken as error:
        raise DirectoryDown(Step.BIND, "seal_broken") from error
    except (ldap.NO_SUCH_OBJECT, ldap.INVALID_DN_SYNTAX) as error:
        raise DirectoryDown(Step.BASE, code_of(error)) from error
    except ldap.LDAPError as error:
        raise DirectoryDown(Step.BIND, code_of(error)) from error
