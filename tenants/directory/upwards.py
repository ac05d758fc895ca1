"""In which groups many accounts of Active Directory are, asked in few searches.

The directory follows nested groups by itself (``reading.groups_of``), but for one account in one search, each of which looks
through all its groups. Entries name the groups that hold them (``memberOf``), so here many are followed upwards at once,
and each group is read once. Not everybody may read that attribute, and then it is as if it were empty. So of those who name
no group it is asked whether any group names one of them (``member``, which the directory's own way goes by); if so, and
wherever else the way upwards is not clear, the account is asked for by itself. Of a group whose members may not be read
it is not clear either: the directory's own way does not lead through it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import ldap
from ldap.filter import escape_filter_chars

from tenants.directory import reading
from tenants.directory.accounts import Account, texts_in
from tenants.directory.connection import Attributes, Connection, Entry
from tenants.directory.dns import Key, domain_of, is_below, key_of
from tenants.directory.errors import TooManyGroups
from tenants.directory.reading import AT_ONCE, Group, group_kind, group_of_entry, groups_of, sid_term

ATTRIBUTES = ("objectGUID", "cn", "objectSid", "memberOf")


def groups_of_all(connection: Connection, accounts: Iterable[Account]) -> dict[str, frozenset[str] | None]:
    """By the accounts' GUIDs, those of all groups that each is in; None for whom they are too many to be read."""
    people = list(accounts)
    above = _Above(connection)
    primary = above.by_sid({account.primary_group_sid for account in people if account.primary_group_sid})
    bare = above.held([account.dn for account in people if not account.member_of])
    walks = [_Walk(account, is_unclear=account.dn in bare) for account in people]
    for walk in walks:
        sid = walk.account.primary_group_sid
        walk.climb([primary[sid]] if sid in primary else [], *walk.account.member_of)
    while going := [walk for walk in walks if walk.newest]:
        above.learn(dn for walk in going for dn in walk.newest)
        for walk in going:
            walk.climb([above.get(dn) for dn in walk.newest])
    return {walk.account.guid: _alone(connection, walk.account) if walk.is_unclear else walk.groups for walk in walks}


def _alone(connection: Connection, account: Account) -> frozenset[str] | None:
    try:
        return frozenset(groups_of(connection, account))
    except TooManyGroups:
        return None


@dataclass(frozen=True, slots=True)
class _Node:
    """A group and the DNs of those that hold it. ``counts``: it is below the base of groups; others only lead to some that are."""

    group: Group
    above: tuple[str, ...]
    counts: bool


class _Above:
    """Which groups are right above which, each read once. What is not clear is not in it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[Key, _Node | None] = {}

    def get(self, dn: str) -> _Node | None:
        """A group that was learnt; None for one that cannot be read, or of which it is not clear what holds it."""
        return self._known[key_of(dn)]

    def by_sid(self, sids: Iterable[bytes]) -> dict[bytes, _Node | None]:
        """The groups of these SIDs, of those that are below the base; None where it is not clear what holds one.

        They are apart from the others: that an account is in one is told by the account alone, not by the group's members.
        """
        found = {
            next(iter(entry.get("objectSid", [])), b""): node
            for entry, node in self._nodes(self._connection.address.group_base_dn, map(sid_term, sids))
        }
        held = self.held([node.group.dn for node in found.values() if not node.above])
        return {sid: None if node.group.dn in held else node for sid, node in found.items() if sid}

    def held(self, dns: Sequence[str]) -> set[str]:
        """Those of these entries that are in a group which they do not name.

        Where it is so of one among many, these are halved until it is found: nobody else is to be asked for by himself for it.
        """
        found: set[str] = set()
        waiting = [dns[first : first + AT_ONCE] for first in range(0, len(dns), AT_ONCE)]
        while waiting:
            some = waiting.pop()
            if not self._hold_any(some):
                continue
            if len(some) == 1:
                found.update(some)
            else:
                middle = len(some) // 2
                waiting += [some[:middle], some[middle:]]
        return found

    def learn(self, dns: Iterable[str]) -> None:
        """Read these groups, of which some entry says that they hold it, where that was not done already."""
        wanted = {key: dn for dn in dns if (key := key_of(dn)) not in self._known}
        base = self._connection.address.group_base_dn
        for place in dict.fromkeys((base, self._domain)):
            missing = [
                f"(distinguishedName={escape_filter_chars(wanted[key])})" for key in wanted.keys() - self._known.keys()
            ]
            for _entry, node in self._nodes(place, missing, "(member=*)"):
                self._known[key_of(node.group.dn)] = node
        read = {key: self._known.setdefault(key, None) for key in wanted}
        for dn in self.held([node.group.dn for node in read.values() if node is not None and not node.above]):
            self._known[key_of(dn)] = None

    @property
    def _domain(self) -> str:
        return domain_of(self._connection.address.base_dn)

    def _hold_any(self, dns: Sequence[str]) -> bool:
        """Whether any group holds one of them, in the domain or below the base of groups, which may be elsewhere."""
        base, terms = self._connection.address.group_base_dn, [f"(member={escape_filter_chars(dn)})" for dn in dns]
        places = [self._domain, *([] if is_below(base, self._domain) else [base])]
        return any(True for place in places for _ in self._search(place, terms))

    def _nodes(self, base: str, terms: Iterable[str], also: str = "") -> Iterator[tuple[Attributes, _Node]]:
        address = self._connection.address
        for dn, entry in self._search(base, terms, also):
            group = group_of_entry(address, (dn, entry))
            if group is not None:
                yield entry, _Node(group, texts_in(entry, "memberOf"), counts=base == address.group_base_dn)

    def _search(self, base: str, terms: Iterable[str], also: str = "") -> Iterator[Entry]:
        """The groups that any of these terms fits."""
        rest = iter(sorted(terms))
        while batch := "".join(islice(rest, AT_ONCE)):
            wanted = f"(&{group_kind(self._connection.address)}{also}(|{batch}))"
            yield from self._connection.search(base, ldap.SCOPE_SUBTREE, wanted, ATTRIBUTES)


@dataclass(slots=True)
class _Walk:
    """One account's way upwards, from the groups found last."""

    account: Account
    is_unclear: bool
    newest: list[str] = field(default_factory=list)
    found: dict[str, Group] = field(default_factory=dict)
    seen: set[Key] = field(default_factory=set)
    is_lost: bool = False

    @property
    def groups(self) -> frozenset[str] | None:
        return None if self.is_lost else frozenset(self.found)

    def go(self, dns: Iterable[str]) -> None:
        """On to these, as far as they are new; to none once they are too many to be read, or not clear."""
        new = {key: dn for dn in dns if (key := key_of(dn)) not in self.seen}
        self.seen |= new.keys()
        self.is_lost = self.is_lost or len(self.found) > reading.MOST_GROUPS
        if not self.is_unclear and len(self.seen) > 2 * reading.MOST_GROUPS:
            self.is_unclear = True  # many of them count for nothing, or else it is soon told
        self.newest = [] if self.is_lost or self.is_unclear else list(new.values())

    def climb(self, nodes: Sequence[_Node | None], *more: str) -> None:
        """Take in these, which were learnt, and go on to what holds them, and to these more."""
        self.is_unclear = self.is_unclear or None in nodes
        clear = [node for node in nodes if node is not None]
        self.found |= {node.group.guid: node.group for node in clear if node.counts}
        self.go([*more, *(dn for node in clear for dn in node.above)])
