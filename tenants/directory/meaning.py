"""Whom a name typed at log-in means, as a log-in, a try of a directory's form and a simulated log-in take it alike."""

from __future__ import annotations

from django.utils.translation import gettext as _

from tenants.directory.names import LoginName, login_name
from tenants.models import Directory, User


def is_local(login: LoginName) -> bool:
    """Whether a local account has exactly that name: it comes first, so that no directory shadows it, or is needed for it."""
    told = "\x00" not in login.whole and login.may_be_local
    return told and User.objects.filter(username=login.whole, directory=None).exists()


def meant_in(directory: Directory, typed: str) -> tuple[LoginName, str]:
    """The name, with this directory as the default one, and why a log-in of it is nobody's of this one; empty when it is."""
    this = Directory(pk=directory.pk, name=directory.name, domains=directory.domains, is_default=True)
    others = list(Directory.objects.filter(enabled=True).exclude(pk=this.pk))
    login = login_name(typed, [this, *others])
    if login.directory == this.pk and not is_local(login):
        return login, ""
    if login.directory == this.pk:
        text = _("A local account has this name and comes first. Whoever has it in the directory logs in as %(name)s.")
        return login, text % {"name": f"{this.name}\\{login.name}"}
    other = next((one.name for one in others if one.pk == login.directory), "")
    there = _("This name means somebody of the directory %(name)s. Look for it there.") % {"name": other}
    return login, there if other else _("This name means a local account.")
