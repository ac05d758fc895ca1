"""A domain controller of Active Directory: Samba of Debian's packages, provisioned afresh inside the lab."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import ldap

from tests.compute.console.certificates import Authority
from tests.lab.servers import RealPartFailed, Server, lab_folder, new_folder

REALM, DOMAIN, HOST = "LAB.EXAMPLE", "LAB", "dc1"
SUFFIX = "DC=lab,DC=example"
ADMIN_PASSWORD = "Root-of-the-lab-1"
PORTAL, PORTAL_PASSWORD = f"CN=portal,CN=Users,{SUFFIX}", "Reads-the-whole-tree-1"
PROVISION_SECONDS, CALL_SECONDS = 120, 30
LDAPS = 636
Value = str | bytes | Sequence[str]


class SambaServer(Server):
    """LDAP and LDAPS on the well-known ports of the lab's own loopback. `tool` is samba-tool on its database."""

    name = "samba"

    def __init__(self) -> None:
        if lab_folder() is None:
            raise RealPartFailed("the lab's Samba needs a network of its own: start the tests with bin/test")
        super().__init__(new_folder("samba"))
        self.home = self.folder / "dc"
        authority = Authority.make("Authority of the lab's domain")
        self.ca_pem = authority.pem
        certificate, key = authority.leaf("127.0.0.1")
        (self.folder / "ca.pem").write_text(self.ca_pem)
        (self.folder / "cert.pem").write_text(certificate)
        (self.folder / "key.pem").touch(mode=0o600)
        (self.folder / "key.pem").write_text(key)
        self._provision()

    @property
    def ldaps_url(self) -> str:
        return "ldaps://127.0.0.1:636"

    @property
    def ldap_url(self) -> str:
        """Plain until StartTLS."""
        return "ldap://127.0.0.1:389"

    @property
    def _settings(self) -> Path:
        return self.home / "etc" / "smb.conf"

    def command(self) -> Sequence[str]:
        return ["/usr/sbin/samba", "-i", "-M", "single", "-d", "1", "-s", str(self._settings)]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", LDAPS), timeout=2):
                return True
        except OSError:
            return False

    def prepare(self) -> None:
        Path("/run/samba").mkdir(exist_ok=True)

    def person(self, name: str, password: str, **more: str) -> str:
        """An account of that sAMAccountName that may log in; returns the DN."""
        dn = f"CN={ldap.dn.escape_dn_chars(name)},CN=Users,{SUFFIX}"
        self.add(
            dn,
            objectClass="user",
            sAMAccountName=name,
            unicodePwd=f'"{password}"'.encode("utf-16-le"),
            userAccountControl="512",
            **{"userPrincipalName": f"{name}@{REALM.lower()}"} | more,
        )
        return dn

    def group(self, name: str, members: Sequence[str]) -> str:
        """A group with these members (DNs of accounts or groups); returns the DN."""
        dn = f"CN={ldap.dn.escape_dn_chars(name)},CN=Users,{SUFFIX}"
        self.add(dn, objectClass="group", sAMAccountName=name, **({"member": list(members)} if members else {}))
        return dn

    def add(self, dn: str, **attributes: Value) -> None:
        with self.as_admin() as connection:
            connection.add_s(dn, [(name, _bytes(value)) for name, value in attributes.items()])

    def change(self, dn: str, **attributes: Value | None) -> None:
        """Replace these attributes; None removes one."""
        changes = [
            (ldap.MOD_REPLACE, name, None if value is None else _bytes(value)) for name, value in attributes.items()
        ]
        with self.as_admin() as connection:
            connection.modify_s(dn, changes)

    def remove(self, dn: str) -> None:
        with self.as_admin() as connection:
            connection.delete_s(dn)

    def rename(self, dn: str, rdn: str) -> None:
        with self.as_admin() as connection:
            connection.rename_s(dn, rdn, delold=1)

    @contextmanager
    def as_admin(self) -> Iterator[ldap.ldapobject.LDAPObject]:
        """A connection of the domain's administrator."""
        connection = ldap.initialize(self.ldaps_url)
        for option, value in (
            (ldap.OPT_TIMEOUT, CALL_SECONDS), (ldap.OPT_REFERRALS, 0),
            (ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND),
            (ldap.OPT_X_TLS_CACERTFILE, str(self.folder / "ca.pem")), (ldap.OPT_X_TLS_NEWCTX, 0),
        ):  # fmt: skip
            connection.set_option(option, value)
        connection.simple_bind_s(f"CN=Administrator,CN=Users,{SUFFIX}", ADMIN_PASSWORD)
        try:
            yield connection
        finally:
            connection.unbind_s()

    def tool(self, *arguments: str) -> str:
        """What samba-tool prints; raises RealPartFailed when it refuses."""
        return self._run(["samba-tool", *arguments, "-H", self._database, "-s", str(self._settings)])

    @property
    def _database(self) -> str:
        return str(self.home / "private" / "sam.ldb")

    def _provision(self) -> None:
        options = {
            "interfaces": "lo", "bind interfaces only": "yes", "server services": "ldap",
            "tls enabled": "yes", "tls cafile": self.folder / "ca.pem",
            "tls certfile": self.folder / "cert.pem", "tls keyfile": self.folder / "key.pem",
        }  # fmt: skip
        command = [
            "samba-tool", "domain", "provision", "--server-role=dc", "--dns-backend=NONE", f"--realm={REALM}",
            f"--domain={DOMAIN}", f"--host-name={HOST}", "--host-ip=127.0.0.1", f"--adminpass={ADMIN_PASSWORD}",
            f"--targetdir={self.home}", *(f"--option={name}={value}" for name, value in options.items()),
        ]  # fmt: skip
        self._run(command, seconds=PROVISION_SECONDS)
        kept = [f"\t{name} = {value}" for name, value in options.items() if name not in self._settings.read_text()]
        self._settings.write_text(self._settings.read_text().replace("[global]", "\n".join(["[global]", *kept]), 1))

    def _run(self, command: Sequence[str], text: str = "", *, seconds: int = CALL_SECONDS) -> str:
        try:
            done = subprocess.run(
                command, input=text, capture_output=True, text=True, check=False, timeout=seconds, cwd=self.folder
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RealPartFailed(f"{command[0]}: {error}") from error
        if done.returncode != 0:
            raise RealPartFailed(f"{' '.join(command[:4])}: {(done.stderr or done.stdout).strip()[-500:]}")
        return done.stdout


def _bytes(value: Value) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    return [one.encode() for one in ([value] if isinstance(value, str) else value)]
