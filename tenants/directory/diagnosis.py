"""A directory looked at step by step: where does it fail, if it does, and what helps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import ldap
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from tenants.directory.address import Address
from tenants.directory.connection import Connection, code_of
from tenants.directory.errors import DirectoryDown, Step
from tenants.directory.names import LoginName
from tenants.directory.reading import accounts_named, any_account, any_group
from tenants.models import KeptOut

TITLES: dict[str, str | Promise] = {
    "name": _("Name"),
    "port": _("Port"),
    "tls": _("TLS"),
    "certificate": _("Certificate"),
    "bind": _("Log-in"),
    "server": _("Another server"),
    "base": _("Base of people"),
    "groups": _("Base of groups"),
    "user": _("A user"),
}

# Each with its remedy; by step and code, or by code alone.
FOUND: dict[str, tuple[str | Promise, str | Promise]] = {
    "no_server": (_("No server is named."), _("Give at least one address.")),
    "name_unknown": (
        _("The name of the server cannot be resolved."),
        _("Check its spelling and the portal's name servers."),
    ),
    "refused": (_("Nothing listens there."), _("Check the port, and that the directory runs.")),
    "silent": (
        _("It took the connection and does not answer."),
        _("Check the firewalls in between, and that the directory is not stuck."),
    ),
    "address_without_tls": (
        _("This address has no encryption, so nothing was sent to it."),
        _("Write ldaps:// for TLS from the start, ldap:// for StartTLS."),
    ),
    "starttls_refused": (
        _("The server refuses StartTLS, so nothing more was sent to it."),
        _("Give the server a certificate, or use ldaps:// where it has one."),
    ),
    "no_tls": (_("The port is open, and does not speak TLS."), _("Check the port: ldaps:// is 636, StartTLS is 389.")),
    "ca_unreadable": (_("The CA's certificate cannot be read."), _("Paste it as PEM, its first and last line too.")),
    "wrong_name": (
        _("The server's certificate is for another name."),
        _("Name the server as its certificate does, or have one made for this name."),
    ),
    "expired": (_("The server's certificate is not valid now."), _("Have a new one made, or check the clocks.")),
    "not_trusted": (
        _("The server's certificate was not signed by this CA."),
        _("Paste the certificate of the CA that signed it. If there is none, somebody may stand in between."),
    ),
    "no_password": (_("The account that reads the directory has no password here."), _("Give its password.")),
    "invalid_credentials": (
        _("The directory refuses the account that is to read it."),
        _("Check the account's name (the whole DN) and its password."),
    ),
    "base_missing": (_("There is no such place in the directory, or the account may not read it."), _("Check the base.")),
    "nobody": (
        _("Nobody is found below the base."),
        _("Check the base, and that the account that reads the directory may see people."),
    ),
    "no_groups": (_("No group is found below the base."), _("Without groups roles are given to people one by one.")),
    "user_unknown": (_("No account of this name is found."), _("Check the name, the base and the attribute of log-in.")),
    "user_elsewhere": ("", ""),
    "user_twice": (_("More than one account has this name, so nobody can log in by it."), _("Narrow the base.")),
    "user_kept_out": (_("The account is found, and would not be let in: %(why)s."), ""),
}  # fmt: skip
OTHERWISE = (_("The directory refuses to answer."), _("The directory's own log says why."))
Meant = tuple[LoginName, str]  # a name as a log-in takes it, and why it is nobody's of this directory
ORDER = (Step.NAME, Step.PORT, Step.TLS, Step.CERTIFICATE, Step.BIND)


@dataclass(frozen=True, slots=True)
class Told:
    """A step of a diagnosis in words."""

    step: str
    title: str
    status: str  # "ok", "warning" or "failed"
    code: str = ""
    text: str = ""
    remedy: str = ""
    data: dict[str, str] = field(default_factory=dict)


def diagnose(address: Address, *, user: Meant | None = None) -> tuple[Told, ...]:
    """The steps as far as they were gone; the last one may have failed. ``user``: whom to look for."""
    steps = list(_server(address, address.urls[0] if address.urls else ""))
    if steps[-1].status == "failed":
        return tuple(steps)
    steps += [_other(address, url) for url in address.urls[1:]]
    try:
        with Connection(address) as connection:
            for step in _content(connection, user):
                steps.append(step)
                if step.status == "failed":
                    break
    except DirectoryDown as error:
        steps.append(_told(str(error.step), error.code))
    return tuple(steps)


def _server(address: Address, url: str) -> Iterator[Told]:
    try:
        Connection(replace(address, urls=(url,) if url else ())).close()
    except DirectoryDown as error:
        yield from (_told(str(step)) for step in ORDER[: ORDER.index(error.step)])
        yield _told(str(error.step), error.code)
    else:
        yield from (_told(str(step)) for step in ORDER)


def _other(address: Address, url: str) -> Told:
    """A further server, in one line: the directory works without it."""
    try:
        Connection(replace(address, urls=(url,))).close()
    except DirectoryDown as error:
        told = _told("server", error.code, is_warning=True)
        return replace(told, text=f"{url}: {told.text}")
    return replace(_told("server"), text=url)


def _content(connection: Connection, user: Meant | None) -> Iterator[Told]:
    try:
        found = any_account(connection)
    except ldap.LDAPError as error:
        yield _told("base", "base_missing", data={"code": code_of(error)})
        return
    yield _told("base", "" if found else "nobody")
    if not found:
        return
    try:
        yield _told("groups", "" if any_group(connection) else "no_groups", is_warning=True)
    except ldap.LDAPError as error:
        yield _told("groups", "base_missing", data={"code": code_of(error)})
        return
    if user is not None:
        yield _user(connection, user)


def _user(connection: Connection, user: Meant) -> Told:
    login, elsewhere = user
    if elsewhere:
        return replace(_told("user", "user_elsewhere"), text=elsewhere)
    try:
        found = accounts_named(connection, login.name, login.whole)
    except ldap.LDAPError as error:
        return _told("user", code_of(error))
    if len(found) != 1:
        return _told("user", "user_twice" if found else "user_unknown")
    if found[0].kept_out:
        return _told("user", "user_kept_out", is_warning=True, data={"why": str(KeptOut(found[0].kept_out).label)})
    return replace(_told("user"), text=found[0].display_name or found[0].name)


def _told(step: str, code: str = "", *, is_warning: bool = False, data: dict[str, str] | None = None) -> Told:
    title = str(TITLES[step])
    if not code:
        return Told(step, title, "ok")
    what, remedy = FOUND.get(code, OTHERWISE)
    status = "warning" if is_warning else "failed"
    return Told(step, title, status, code, str(what) % (data or {}), str(remedy), data or {})
