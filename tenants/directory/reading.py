"""Questions to a directory: whose name is this, who has these GUIDs, in which groups is an account."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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

IN_CHAIN = "1.2.840.113556.1.4.1941"
AT_ONCE = 50  # GUIDs or names in one filter
DEEPEST = 50  # groups within groups; cycles end sooner


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


def accounts_of(connection: Connection, guids: Iterable[str]) -> dict[str, Account]:
    """Those of these GUIDs that are there, wherever they were moved below the base."""
    found: dict[str, Account] = {}
    rest = iter(sorted(set(guids)))
    while batch := list(islice(rest, AT_ONCE)):
        wanted = "".join(f"({_guid_filter(connection.address, guid)})" for guid in batch)
        found |= {account.guid: account for _dn, account in _accounts(connection, f"(|{wanted})")}
    return found


def groups_of(connection: Connection, account: Account) -> dict[str, Group]:
    """All groups an account is in, by GUID: directly, through other groups, and by its primary group."""
    if connection.address.is_active_directory:
        return _groups_in_chain(connection, account)
    return _groups_by_recursion(connection, account)


def groups_named(connection: Connection, name: str, *, most: int) -> list[Group]:
    """Groups of exactly that name, as the directory compares names; at most so many."""
    kind = _group_kind(connection.address)
    return list(islice(_groups(connection, f"(&{kind}(cn={escape_filter_chars(name)}))"), most))


def group_of(connection: Connection, guid: str) -> Group | None:
    """The group of that GUID, None when it is not there."""
    address = connection.address
    wanted = f"(&{_group_kind(address)}({_guid_filter(address, guid)}))"
    return next(_groups(connection, wanted), None)


def any_account(connection: Connection) -> bool:
    """Whether there is anybody below the base."""
    return next(_accounts(connection, ""), None) is not None


def any_group(connection: Connection) -> bool:
    """Whether there is any group below the base of groups."""
    return next(_groups(connection, _group_kind(connection.address)), None) is not None


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
    escaped, typed = escape_filter_chars(name), escape_filter_chars(whole)
    if not address.is_active_directory:
        return f"({address.login_attribute or 'uid'}={escaped})"
    return f"(|({address.login_attribute or 'sAMAccountName'}={escaped})(userPrincipalName={typed}))"


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


def _group_kind(address: Address) -> str:
    if address.is_active_directory:
        return "(objectClass=group)"
    return "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))"


def _guid_filter(address: Address, guid: str) -> str:
    """Active Directory compares a GUID by its bytes."""
    if not address.is_active_directory:
        return f"entryUUID={UUID(guid)}"
    return "objectGUID=" + "".join(f"\\{byte:02x}" for byte in UUID(guid).bytes_le)


def _groups(connection: Connection, wanted: str) -> Iterator[Group]:
    address = connection.address
    attributes = ("objectGUID", "cn") if address.is_active_directory else ("entryUUID", "cn")
    for found in connection.search(address.group_base_dn, ldap.SCOPE_SUBTREE, wanted, attributes):
        group = _group(address, found)
        if group is not None:
            yield group


def _group(address: Address, found: Entry) -> Group | None:
    dn, entry = found
    guid = guid_of_ad(entry) if address.is_active_directory else guid_of_openldap(entry)
    names = next((values for key, values in entry.items() if key.lower() == "cn" and values), [dn.encode()])
    return Group(guid, dn, names[0].decode("utf-8", "replace")[:256]) if guid else None


def _groups_in_chain(connection: Connection, account: Account) -> dict[str, Group]:
    """Active Directory follows nested groups itself, but leaves out the primary group, which no member list names."""
    found = list(_groups(connection, f"(&(objectClass=group)(member:{IN_CHAIN}:={escape_filter_chars(account.dn)}))"))
    if account.primary_group_sid:
        sid = "".join(f"\\{byte:02x}" for byte in account.primary_group_sid)
        for primary in list(_groups(connection, f"(&(objectClass=group)(objectSid={sid}))")):
            dn = escape_filter_chars(primary.dn)
            found += [primary, *_groups(connection, f"(&(objectClass=group)(member:{IN_CHAIN}:={dn}))")]
    return {group.guid: group for group in found}


def _groups_by_recursion(connection: Connection, account: Account) -> dict[str, Group]:
    """Level by level upwards; a group seen before is not asked again, so cycles end."""
    found: dict[str, Group] = {}
    level = [_holding(account.dn) + f"(memberUid={escape_filter_chars(account.name)})"]
    for _depth in range(DEEPEST):
        above = [group for group in _holders(connection, level) if group.guid not in found]
        if not above:
            break
        found |= {group.guid: group for group in above}
        level = [_holding(group.dn) for group in above]
    return found


def _holding(dn: str) -> str:
    name = escape_filter_chars(dn)
    return f"(member={name})(uniqueMember={name})"


def _holders(connection: Connection, terms: list[str]) -> Iterator[Group]:
    rest = iter(terms)
    while batch := list(islice(rest, AT_ONCE)):
        yield from _groups(connection, f"(&{_group_kind(connection.address)}(|{''.join(batch)}))")


def _primary_members_filter(connection: Connection, group: Group) -> str:
    """Accounts whose primary group it is, by the last part of its SID."""
    entry = connection.entry(group.dn, ("objectSid",)) or {}
    sid = next(iter(entry.get("objectSid", [])), b"")
    return f"(primaryGroupID={int.from_bytes(sid[-4:], 'little')})" if len(sid) >= 12 else ""


def _members_by_recursion(connection: Connection, group: Group) -> Iterator[Account]:
    """Downwards: members that are groups are opened in their turn, each once."""
    address = connection.address
    waiting, seen = [group.dn], {group.dn.lower()}
    while waiting:
        entry = connection.entry(waiting.pop(), ("member", "uniqueMember", "memberUid")) or {}
        values = {key.lower(): found for key, found in entry.items()}
        for uid in values.get("memberuid", []):
            wanted = f"({address.login_attribute or 'uid'}={escape_filter_chars(uid.decode('utf-8', 'replace'))})"
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
    if not people and any(True for _ in connection.search(dn, ldap.SCOPE_BASE, _group_kind(address), ("cn",))):
        open_later(dn)
