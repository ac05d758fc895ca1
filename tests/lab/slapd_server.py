"""OpenLDAP of Debian's package with memberOf, refint and password policy, in a folder and on ports of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import ldap
import ldap.modlist

from tests.compute.console.certificates import Authority
from tests.lab.servers import RealPartFailed, Server, free_port, new_folder

SUFFIX = "dc=lab,dc=example"
ROOT = f"cn=admin,{SUFFIX}"
ROOT_PASSWORD = "root-of-the-lab"
PORTAL = f"cn=portal,ou=services,{SUFFIX}"
PORTAL_PASSWORD = "reads-the-whole-tree"
PEOPLE, GROUPS = f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"
CALL_SECONDS = 10

CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload refint
moduleload ppolicy
pidfile {folder}/slapd.pid
sizelimit size.soft=100 size.hard=100 size.pr=100 size.prtotal=unlimited
{tls}
database mdb
suffix {suffix}
rootdn {root}
rootpw {password}
directory {folder}/data
maxsize 268435456
index objectClass eq
index cn,uid eq
index member,memberUid eq
overlay memberof
memberof-refint true
overlay refint
refint_attributes member memberOf
refint_nothing cn=nobody,{suffix}
overlay ppolicy
ppolicy_default cn=default,ou=policies,{suffix}
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{portal}" read by self read by anonymous auth by * none
"""
TLS = """
TLSCACertificateFile {folder}/ca.pem
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
"""


class SlapdServer(Server):
    """`ldaps_url`, `ldap_url` (StartTLS) and `ca_pem`; people and groups are made over its own root account.

    ``address`` is whom the certificate names. Without TLS it refuses StartTLS, as a server does that nobody set up for it.
    """

    name = "slapd"

    def __init__(self, *, address: str = "127.0.0.1", has_tls: bool = True) -> None:
        super().__init__(new_folder("slapd"))
        self.port, self.tls_port = free_port(), free_port()
        authority = Authority.make("Authority of the lab's directory")
        self.ca_pem = authority.pem
        self.has_tls = has_tls
        certificate, key = authority.leaf(address)
        (self.folder / "cert.pem").write_text(certificate)
        (self.folder / "key.pem").write_text(key)
        (self.folder / "ca.pem").write_text(self.ca_pem)
        (self.folder / "data").mkdir()
        # A copy, for AppArmor's profile ties the installed program to folders of its own.
        shutil.copy("/usr/sbin/slapd", self.folder / "slapd")
        written = CONFIGURATION.format(
            folder=self.folder, suffix=SUFFIX, root=ROOT, password=ROOT_PASSWORD, portal=PORTAL,
            tls=TLS.format(folder=self.folder) if has_tls else "",
        )  # fmt: skip
        (self.folder / "slapd.conf").write_text(written)

    @property
    def ldap_url(self) -> str:
        """Plain until StartTLS. Not by the name localhost, which libldap takes for the machine's own."""
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def ldaps_url(self) -> str:
        return f"ldaps://127.0.0.1:{self.tls_port}"

    def command(self) -> Sequence[str]:
        listen = f"ldap://127.0.0.1:{self.port}" + (f" ldaps://127.0.0.1:{self.tls_port}" if self.has_tls else "")
        return [str(self.folder / "slapd"), "-d", "stats", "-h", listen, "-f", str(self.folder / "slapd.conf")]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2):
                return True
        except OSError:
            return False

    def fill(self) -> None:
        """The tree's frame and the account the portal reads it with."""
        self.add(SUFFIX, objectClass=["dcObject", "organization"], o="Lab")
        for unit in ("people", "groups", "services", "policies"):
            self.add(f"ou={unit},{SUFFIX}", objectClass="organizationalUnit")
        self.add(
            PORTAL,
            objectClass=["organizationalRole", "simpleSecurityObject"],
            userPassword=PORTAL_PASSWORD,
        )
        self.add(
            f"cn=default,ou=policies,{SUFFIX}",
            objectClass=["device", "pwdPolicy"],
            pwdAttribute="userPassword",
            pwdMustChange="TRUE",
            pwdLockout="TRUE",
            pwdAllowUserChange="TRUE",
        )

    def load(self, ldif: Iterable[str]) -> None:
        """Entries in their order, the tree's frame among them, put into the files of a server that does not run."""
        (self.folder / "load.ldif").write_text("\n".join(ldif))
        command = [str(self.folder / "slapd"), "-T", "add", "-q", "-f", str(self.folder / "slapd.conf")]
        done = subprocess.run(
            [*command, "-l", str(self.folder / "load.ldif")], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise RealPartFailed(f"slapd cannot be loaded: {done.stderr[-500:]}")

    def person(self, name: str, password: str, **more: str | Sequence[str]) -> str:
        """A person of that uid; returns the DN."""
        dn = f"uid={ldap.dn.escape_dn_chars(name)},{PEOPLE}"
        attributes = {"uid": name, "cn": name.title(), "sn": name.title(), "userPassword": password} | more
        self.add(dn, objectClass="inetOrgPerson", **attributes)
        return dn

    def group(self, name: str, members: Sequence[str]) -> str:
        """A groupOfNames; returns the DN."""
        dn = f"cn={ldap.dn.escape_dn_chars(name)},{GROUPS}"
        self.add(dn, objectClass="groupOfNames", member=list(members))
        return dn

    def add(self, dn: str, **attributes: str | Sequence[str]) -> None:
        with self.as_root() as connection:
            connection.add_s(dn, ldap.modlist.addModlist(_bytes(attributes)))

    def change(self, dn: str, **attributes: str | Sequence[str] | None) -> None:
        """Replace these attributes; None removes one."""
        given = {name: value for name, value in attributes.items() if value is not None}
        values = _bytes(given) | dict.fromkeys(set(attributes) - set(given))
        with self.as_root() as connection:
            connection.modify_s(dn, [(ldap.MOD_REPLACE, name, value) for name, value in values.items()])

    def remove(self, dn: str) -> None:
        with self.as_root() as connection:
            connection.delete_s(dn)

    def rename(self, dn: str, rdn: str) -> None:
        with self.as_root() as connection:
            connection.rename_s(dn, rdn, delold=1)

    def as_root(self) -> Root:
        return Root(f"ldap://127.0.0.1:{self.port}")

    def lines_logged(self, since: int = 0) -> list[str]:
        """What slapd wrote down from this line on."""
        return Path(self.log).read_text(errors="replace").splitlines()[since:]


class Root:
    """A connection of the server's own root, for as long as the block."""

    def __init__(self, url: str) -> None:
        self._connection = ldap.initialize(url)
        self._connection.set_option(ldap.OPT_TIMEOUT, CALL_SECONDS)

    def __enter__(self) -> ldap.ldapobject.LDAPObject:
        self._connection.simple_bind_s(ROOT, ROOT_PASSWORD)
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.unbind_s()


def _bytes(attributes: Mapping[str, str | Sequence[str]]) -> dict[str, list[bytes]]:
    listed = {name: [value] if isinstance(value, str) else value for name, value in attributes.items()}
    return {name: [one.encode() for one in values] for name, values in listed.items()}
