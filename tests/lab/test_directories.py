"""The lab's directories are real ones: they prove who they are, link groups by themselves and know locked accounts."""

from __future__ import annotations

from pathlib import Path

import ldap
import pytest

from tests.lab import samba_server, slapd_server
from tests.lab.samba_server import SambaServer
from tests.lab.servers import wait_until
from tests.lab.slapd_server import SlapdServer


def connect(url: str, ca: Path, *, starts_tls: bool = False) -> ldap.ldapobject.LDAPObject:
    connection = ldap.initialize(url)
    connection.set_option(ldap.OPT_NETWORK_TIMEOUT, 5)
    connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
    connection.set_option(ldap.OPT_X_TLS_CACERTFILE, str(ca))
    connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    if starts_tls:
        connection.start_tls_s()
    return connection


@pytest.mark.parametrize("starts_tls", [False, True])
def test_openldap_proves_itself_and_links_members_to_groups(
    slapd: SlapdServer, tmp_path: Path, starts_tls: bool
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(slapd.ca_pem)
    person = slapd.person(f"linked{starts_tls}", "a-password")
    group = slapd.group(f"linked{starts_tls}", [person])
    connection = connect(slapd.ldap_url if starts_tls else slapd.ldaps_url, ca, starts_tls=starts_tls)
    connection.simple_bind_s(slapd_server.PORTAL, slapd_server.PORTAL_PASSWORD)
    [(_dn, found)] = connection.search_s(person, ldap.SCOPE_BASE, attrlist=["memberOf", "entryUUID"])
    assert [name.decode() for name in found["memberOf"]] == [group]
    assert len(found["entryUUID"][0]) == 36
    slapd.remove(person)
    wait_until(lambda: person.encode() not in members(connection, group), "the group to lose who is gone")


def members(connection: ldap.ldapobject.LDAPObject, group: str) -> list[bytes]:
    [(_dn, found)] = connection.search_s(group, ldap.SCOPE_BASE, attrlist=["member"])
    return list(found["member"])


@pytest.mark.parametrize("starts_tls", [False, True])
def test_active_directory_proves_itself_and_follows_nested_groups(
    samba: SambaServer, tmp_path: Path, starts_tls: bool
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(samba.ca_pem)
    name = f"nested{starts_tls}"
    person = samba.person(name, "A-password-1")
    samba.group(f"outer-{name}", [samba.group(f"inner-{name}", [person])])
    connection = connect(samba.ldap_url if starts_tls else samba.ldaps_url, ca, starts_tls=starts_tls)
    connection.set_option(ldap.OPT_REFERRALS, 0)
    connection.simple_bind_s(samba_server.PORTAL, samba_server.PORTAL_PASSWORD)
    nested = f"(member:1.2.840.113556.1.4.1941:={person})"
    found = connection.search_s(samba_server.SUFFIX, ldap.SCOPE_SUBTREE, nested, ["sAMAccountName"])
    names = [entry["sAMAccountName"][0].decode() for dn, entry in found if dn]
    assert sorted(names) == [f"inner-{name}", f"outer-{name}"]


def test_active_directory_takes_no_password_over_a_plain_connection(samba: SambaServer) -> None:
    connection = ldap.initialize(samba.ldap_url)
    with pytest.raises(ldap.STRONG_AUTH_REQUIRED):
        connection.simple_bind_s(samba_server.PORTAL, samba_server.PORTAL_PASSWORD)


@pytest.mark.slapd
def test_a_directory_without_tls_refuses_starttls() -> None:
    server = SlapdServer(has_tls=False)
    server.start()
    try:
        with pytest.raises(ldap.LDAPError):
            ldap.initialize(server.ldap_url).start_tls_s()
    finally:
        server.stop()
