"""In which groups many accounts are, asked in few searches: fifty members in one, and no group's own groups twice.

One search names fifty members and has each group answer with those of its member values alone that are asked for (matched
values, RFC 3876): a group of thousands sends no more than that. Which of the fifty a value means is for the directory to
say, whose rules of comparing are its own. Values are told apart here by a form that is coarser than any such rule: a value
that it gives to one of them alone is that one's, and otherwise, or where a server knows no matched values, each is asked by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import ldap
import ldap.dn
from ldap.controls import MatchedValuesControl

from tenants.directory import upwards
from tenants.directory.accounts import Account
from tenants.directory.connection import Connection, Entry
from tenants.directory.errors import TooManyGroups
from tenants.directory.names import folded
from tenants.directory.reading import (
    AT_ONCE,
    DEEPEST,
    Group,
    gathered,
    group_kind,
    group_of_entry,
    groups_found,
    holding,
)

BY_DN, BY_UID = ("member", "uniquemember"), "memberuid"
ATTRIBUTES = ("entryUUID", "cn", "member", "uniqueMember", "memberUid")
WHOLE = "(entryUUID=*)(cn=*)"  # which of a group's values come whatever its members are


def groups_of_all(connection: Connection, accounts: Iterable[Account]) -> dict[str, frozenset[str] | None]:
    """By the accounts' GUIDs, those of all groups that each is in; None for whom they are too many to be read.

    Active Directory is asked another way (``upwards``).
    """
    if connection.address.is_active_directory:
        return upwards.groups_of_all(connection, accounts)
    parents = _Parents(connection)
    walks = [_Walk(account.guid, [_Member(account.dn, account.uids)]) for account in accounts]
    for _depth in range(DEEPEST):
        going = [walk for walk in walks if walk.newest]
        if not going:
            break
        parents.learn(member for walk in going for member in walk.newest)
        for walk in going:
            walk.climb(parents)
    return {walk.guid: walk.groups for walk in walks}


@dataclass(frozen=True, slots=True)
class _Member:
    """What a group may hold: another group, or (with uids) a person."""

    dn: str
    uids: tuple[str, ...] = ()

    @property
    def terms(self) -> str:
        return holding(self.dn, self.uids)

    @property
    def forms(self) -> set[tuple[str, str]]:
        return {("dn", _folded_dn(self.dn)), *((BY_UID, folded(uid)) for uid in self.uids)}


@dataclass(slots=True)
class _Walk:
    """One account's way upwards, from the groups found last."""

    guid: str
    newest: list[_Member]
    found: dict[str, Group] = field(default_factory=dict)
    is_lost: bool = False

    @property
    def groups(self) -> frozenset[str] | None:
        """None too for whom there is a level above the highest that is read."""
        return None if self.is_lost or self.newest else frozenset(self.found)

    def climb(self, parents: _Parents) -> None:
        try:
            new = [group for member in self.newest for group in gathered(self.found, parents.of(member))]
        except TooManyGroups:
            self.is_lost, new = True, []
        self.newest = [_Member(group.dn) for group in new]


class _Unclear(Exception):
    """A value that is nobody's, or may be one of several's."""


class _Parents:
    """Which groups hold which members themselves. Each member is asked for once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[_Member, Sequence[Group] | None] = {}
        self._matches_values = True

    def of(self, member: _Member) -> Sequence[Group]:
        """Of one that was learnt. Raises ``TooManyGroups``."""
        known = self._known[member]
        if known is None:
            raise TooManyGroups
        return known

    def learn(self, members: Iterable[_Member]) -> None:
        rest = iter([member for member in dict.fromkeys(members) if member not in self._known])
        while batch := list(islice(rest, AT_ONCE)):
            self._known |= self._together(batch) or {member: self._by_itself(member) for member in batch}

    def _together(self, batch: list[_Member]) -> dict[_Member, Sequence[Group] | None] | None:
        """None where that cannot be told, or is too much."""
        if not self._matches_values:
            return None
        found: dict[_Member, dict[str, Group]] = {member: {} for member in batch}
        owners = _owners(batch)
        try:
            for group, entry in self._holding(batch):
                for member in _meant(owners, entry):
                    gathered(found[member], [group])
        except ldap.UNAVAILABLE_CRITICAL_EXTENSION:
            self._matches_values = False
            return None
        except (_Unclear, TooManyGroups):
            return None
        return {member: tuple(groups.values()) for member, groups in found.items()}

    def _by_itself(self, member: _Member) -> Sequence[Group] | None:
        try:
            return gathered({}, groups_found(self._connection, self._filter(member.terms)))
        except TooManyGroups:
            return None

    def _holding(self, batch: list[_Member]) -> Iterator[tuple[Group, Entry]]:
        address, terms = self._connection.address, "".join(member.terms for member in batch)
        control = MatchedValuesControl(criticality=True, filterstr=f"({WHOLE}{terms})")
        for found in self._connection.search(
            address.group_base_dn, ldap.SCOPE_SUBTREE, self._filter(terms), ATTRIBUTES, control
        ):
            group = group_of_entry(address, found)
            if group is not None:
                yield group, found

    def _filter(self, terms: str) -> str:
        return f"(&{group_kind(self._connection.address)}(|{terms}))"


def _owners(batch: list[_Member]) -> dict[tuple[str, str], _Member | None]:
    """Whose a value of that form is; None where it may be several's."""
    owners: dict[tuple[str, str], _Member | None] = {}
    for member in batch:
        for form in member.forms:
            owners[form] = None if form in owners else member
    return owners


def _meant(owners: dict[tuple[str, str], _Member | None], entry: Entry) -> set[_Member]:
    """Of whom a group's values speak. Raises ``_Unclear``."""
    meant = {owners.get(form) for form in _forms_of(entry)}
    if not meant or None in meant:
        raise _Unclear
    return {member for member in meant if member is not None}


def _forms_of(entry: Entry) -> Iterator[tuple[str, str]]:
    for name, values in entry[1].items():
        texts = [value.decode("utf-8", "replace") for value in values]
        if name.lower() in BY_DN:
            yield from (("dn", _folded_dn(text)) for text in texts)
        elif name.lower() == BY_UID:
            yield from ((BY_UID, folded(text)) for text in texts)


def _folded_dn(dn: str) -> str:
    """What all spellings of a DN come to, and perhaps those of another."""
    try:
        parts = ldap.dn.str2dn(dn)
    except (ldap.DECODING_ERROR, UnicodeError):
        return folded(dn)
    return repr([sorted((kind.lower(), folded(value)) for kind, value, _flags in part) for part in parts])
