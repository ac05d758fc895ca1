"""Questions to a directory: whose name is this, who has these GUIDs, in which groups is an account."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID

import ldap
from ldap.filter import escape_filter_chars

from tenants.directory.accounts import (
    AD_ATTRIBUTES,
    OPENLDAP_ATTRIBUTES,
    Account,
    account_of_ad,
    account_of_openldap,
    guid_of_ad,
    guid_of_openldap,
)
from tenants.directory.address import Address
from tenants.directory.connection import Attributes, Connection, Entry
from tenants.directory.dns import is_dn
from tenants.directory.errors import TooManyGroups

IN_CHAIN = "1.2.840.113556.1.4.1941"
AT_ONCE = 50  # GUIDs or names in one filter
DEEPEST = 50  # groups within groups; cycles end sooner
# Of one person: twice what a log-in to Windows bears (1,015, says Microsoft of MaxTokenSize), for lists of mail are groups too.
MOST_GROUPS = 2000
MOST_TOLD = 100  # groups whose own groups are asked for one by one


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a directory."""

    guid: str
    dn: str
    name: str


def accounts_named(connection: Connection, name: str, whole: str) -> list[Account]:
    """Accounts of that name; of more than one nobody knows who is meant. ``whole``: the name as it was typed.

    Active Directory's accounts have a second one (userPrincipalName) that may end in any domain.
    """
    return [account for _dn, account in _accounts(connection, _name_filter(connection.address, name, whole))]


def accounts_of(connection: Connection, names: Mapping[str, str]) -> dict[str, Account]:
    """Those of these accounts that are there, by GUID, wherever they were moved below the base.

    ``names``: what each GUID was called last. Asked is by name first, of which every directory has an index, and by GUID
    (OpenLDAP has no index of these by itself) for whom another name or nobody was found.
    """
    address = connection.address
    found: dict[str, Account] = {}
    for term in (_login_term, lambda address, guid, _name: f"({_guid_filter(address, guid)})"):
        rest = iter([guid for guid in sorted(names) if guid not in found])
        while batch := list(islice(rest, AT_ONCE)):
            terms = "".join(term(address, guid, names[guid]) for guid in batch)
            accounts = (account for _dn, account in _accounts(connection, f"(|{terms})"))
            found |= {account.guid: account for account in accounts if account.guid in names}
    return found


def groups_of(connection: Connection, account: Account) -> dict[str, Group]:
    """All groups an account is in, by GUID: directly, through other groups, and by its primary group.

    Raises ``TooManyGroups``, after no more than ``MOST_GROUPS`` were read.
    """
    if connection.address.is_active_directory:
        return _groups_in_chain(connection, account)
    return _groups_by_recursion(connection, account)


def ways_to(connection: Connection, account: Account, groups: Mapping[str, Group]) -> dict[str, tuple[Group, ...]]:
    """By GUID, how an account comes to be in each of these groups: the groups from its own to that one, on a shortest way.

    Groups are asked for one by one, so of the first ``MOST_TOLD`` alone; others, and those to which no way was found, are left out.
    """
    ways: dict[str, tuple[Group, ...]] = {}
    waiting: deque[tuple[Group, ...]] = deque()

    def reach(found: Iterable[Group], way: tuple[Group, ...]) -> None:
        for group in found:
            if group.guid in groups and group.guid not in ways:
                ways[group.guid] = (*way, group)
                waiting.append(ways[group.guid])

    reach(_holders(connection, [holding(account.dn, account.uids)]), ())
    reach(_primary_groups(connection, account), ())
    for _asked in range(MOST_TOLD):
        if not waiting:
            break
        way = waiting.popleft()
        reach(_holders(connection, [holding(way[-1].dn)]), way)
    return ways


def groups_named(connection: Connection, name: str, *, most: int) -> list[Group]:
    """Groups of exactly that name, as the directory compares names; at most so many. What is a DN is the one's that has it.

    Whoever may make groups could call one by another's DN, to be taken for it.
    """
    address, wanted = connection.address, escape_filter_chars(name)
    by_dn = ("distinguishedName" if address.is_active_directory else "entryDN",)
    terms = [f"({attribute}={wanted})" for attribute in (by_dn if is_dn(name) else _group_names(address))]
    return list(islice(groups_found(connection, f"(&{group_kind(address)}(|{''.join(terms)}))"), most))


def groups_like(connection: Connection, part: str, *, most: int) -> list[Group]:
    """Groups whose name holds that text, at most so many, in the directory's order."""
    address, wanted = connection.address, escape_filter_chars(part)
    terms = "".join(f"({attribute}=*{wanted}*)" for attribute in _group_names(address))
    return list(islice(groups_found(connection, f"(&{group_kind(address)}(|{terms}))"), most))


def group_of(connection: Connection, guid: str) -> Group | None:
    """The group of that GUID, None when it is not there."""
    address = connection.address
    wanted = f"(&{group_kind(address)}({_guid_filter(address, guid)}))"
    return next(groups_found(connection, wanted), None)


def any_account(connection: Connection) -> bool:
    """Whether there is anybody below the base."""
    return next(_accounts(connection, ""), None) is not None


def any_group(connection: Connection) -> bool:
    """Whether there is any group below the base of groups."""
    return next(groups_found(connection, group_kind(connection.address)), None) is not None


def members_of(connection: Connection, group: Group) -> list[Account]:
    """The people in a group, directly or through other groups, by name. Long lists come in ranges and pages."""
    if connection.address.is_active_directory:
        inside = f"(memberOf:{IN_CHAIN}:={escape_filter_chars(group.dn)})"
        by_primary = _primary_members_filter(connection, group)
        found = [account for _dn, account in _accounts(connection, f"(|{inside}{by_primary})")]
    else:
        found = list(_members_by_recursion(connection, group))
    return sorted({account.guid: account for account in found}.values(), key=lambda account: account.name.lower())


def _name_filter(address: Address, name: str, whole: str) -> str:
    by_name = _login_term(address, "", name)
    if not address.is_active_directory:
        return by_name
    return f"(|{by_name}(userPrincipalName={escape_filter_chars(whole)}))"


def _login_term(address: Address, _guid: str, name: str) -> str:
    attribute = address.login_attribute or ("sAMAccountName" if address.is_active_directory else "uid")
    return f"({attribute}={escape_filter_chars(name)})"


def _accounts(
    connection: Connection, wanted: str, base: str = "", scope: int = ldap.SCOPE_SUBTREE
) -> Iterator[tuple[str, Account]]:
    address = connection.address
    for dn, entry in connection.search(
        base or address.base_dn, scope, f"(&{_person_kind(address)}{wanted})", _person_attributes(address)
    ):
        account = _account(address, dn, entry)
        if account is not None:
            yield dn, account


def _account(address: Address, dn: str, entry: Attributes) -> Account | None:
    now = datetime.now(UTC)
    if address.is_active_directory:
        return account_of_ad(dn, entry, now)
    return account_of_openldap(dn, entry, now, login_attribute=address.login_attribute or "uid")


def _person_kind(address: Address) -> str:
    """Computers are people's subclass in Active Directory, and log in nowhere."""
    if address.is_active_directory:
        return "(objectCategory=person)(objectClass=user)"
    return "(|(objectClass=person)(objectClass=posixAccount)(objectClass=account))"


def _person_attributes(address: Address) -> Sequence[str]:
    known = AD_ATTRIBUTES if address.is_active_directory else OPENLDAP_ATTRIBUTES
    return (*known, *([address.login_attribute] if address.login_attribute else []))


def group_kind(address: Address) -> str:
    """What every group's entry matches."""
    if address.is_active_directory:
        return "(objectClass=group)"
    return "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))"


def _group_names(address: Address) -> tuple[str, ...]:
    """The attributes that name a group to people."""
    return ("cn", "sAMAccountName") if address.is_active_directory else ("cn",)


def _guid_filter(address: Address, guid: str) -> str:
    """Active Directory compares a GUID by its bytes."""
    if not address.is_active_directory:
        return f"entryUUID={UUID(guid)}"
    return f"objectGUID={bytes_escaped(UUID(guid).bytes_le)}"


def bytes_escaped(value: bytes) -> str:
    """Bytes as a filter has them (RFC 4515)."""
    return "".join(f"\\{byte:02x}" for byte in value)


def groups_found(connection: Connection, wanted: str) -> Iterator[Group]:
    """The groups below the base of groups that match this filter, page after page."""
    address = connection.address
    attributes = ("objectGUID", "cn") if address.is_active_directory else ("entryUUID", "cn")
    for found in connection.search(address.group_base_dn, ldap.SCOPE_SUBTREE, wanted, attributes):
        group = group_of_entry(address, found)
        if group is not None:
            yield group


def group_of_entry(address: Address, found: Entry) -> Group | None:
    """The group of an entry; None for one without a GUID."""
    dn, entry = found
    guid = guid_of_ad(entry) if address.is_active_directory else guid_of_openldap(entry)
    names = next((values for key, values in entry.items() if key.lower() == "cn" and values), [dn.encode()])
    return Group(guid, dn, names[0].decode("utf-8", "replace")[:256]) if guid else None


def gathered(found: dict[str, Group], more: Iterable[Group]) -> list[Group]:
    """Those of them that are new, put among the others. Raises ``TooManyGroups``, and reads no further then."""
    new = []
    for group in more:
        if group.guid not in found:
            if len(found) >= MOST_GROUPS:
                raise TooManyGroups
            found[group.guid] = group
            new.append(group)
    return new


def _groups_in_chain(connection: Connection, account: Account) -> dict[str, Group]:
    """Active Directory follows nested groups itself, but leaves out the primary group, which no member list names."""
    found: dict[str, Group] = {}
    gathered(found, groups_found(connection, _in_chain(account.dn)))
    for primary in _primary_groups(connection, account):
        gathered(found, [primary])
        gathered(found, groups_found(connection, _in_chain(primary.dn)))
    return found


def _primary_groups(connection: Connection, account: Account) -> list[Group]:
    """The one group that only the account itself names; none where the directory knows no such thing."""
    if not account.primary_group_sid:
        return []
    return list(groups_found(connection, f"(&(objectClass=group){sid_term(account.primary_group_sid)})"))


def sid_term(sid: bytes) -> str:
    """The term of a filter for the entry of this SID, which Active Directory compares by its bytes."""
    return f"(objectSid={bytes_escaped(sid)})"


def _in_chain(dn: str) -> str:
    return f"(&(objectClass=group)(member:{IN_CHAIN}:={escape_filter_chars(dn)}))"


def _groups_by_recursion(connection: Connection, account: Account) -> dict[str, Group]:
    """Level by level upwards; a group seen before is not asked again, so cycles end."""
    found: dict[str, Group] = {}
    level = [holding(account.dn, account.uids)]
    for _depth in range(DEEPEST):
        above = gathered(found, _holders(connection, level))
        if not above:
            return found
        level = [holding(group.dn) for group in above]
    raise TooManyGroups


def holding(dn: str, uids: Iterable[str] = ()) -> str:
    """The terms of a filter that groups match of which this is a member: by its DN, and by a person's uids in posix groups."""
    escaped = escape_filter_chars(dn)
    by_uid = "".join(f"(memberUid={escape_filter_chars(uid)})" for uid in uids)
    return f"(member={escaped})(uniqueMember={escaped}){by_uid}"


def _holders(connection: Connection, terms: list[str]) -> Iterator[Group]:
    rest = iter(terms)
    while batch := list(islice(rest, AT_ONCE)):
        yield from groups_found(connection, f"(&{group_kind(connection.address)}(|{''.join(batch)}))")


def _primary_members_filter(connection: Connection, group: Group) -> str:
    """Accounts whose primary group it is, by the last part of its SID."""
    entry = connection.entry(group.dn, ("objectSid",)) or {}
    sid = next(iter(entry.get("objectSid", [])), b"")
    return f"(primaryGroupID={int.from_bytes(sid[-4:], 'little')})" if len(sid) >= 12 else ""


def _members_by_recursion(connection: Connection, group: Group) -> Iterator[Account]:
    """Downwards: members that are groups are opened in their turn, each once."""
    waiting, seen = [group.dn], {group.dn.lower()}
    while waiting:
        entry = connection.entry(waiting.pop(), ("member", "uniqueMember", "memberUid")) or {}
        values = {key.lower(): found for key, found in entry.items()}
        for uid in values.get("memberuid", []):
            wanted = f"(uid={escape_filter_chars(uid.decode('utf-8', 'replace'))})"
            yield from (account for _dn, account in _accounts(connection, wanted))
        for member in (*values.get("member", []), *values.get("uniquemember", [])):
            dn = member.decode("utf-8", "replace")
            if dn.lower() not in seen:
                seen.add(dn.lower())
                yield from _member(connection, dn, waiting.append)


def _member(connection: Connection, dn: str, open_later: Callable[[str], None]) -> Iterator[Account]:
    address = connection.address
    try:
        people = [account for _dn, account in _accounts(connection, "", dn, ldap.SCOPE_BASE)]
    except (ldap.NO_SUCH_OBJECT, ldap.INVALID_DN_SYNTAX):
        return
    yield from people
    if not people and any(True for _ in connection.search(dn, ldap.SCOPE_BASE, group_kind(address), ("cn",))):
        open_later(dn)
