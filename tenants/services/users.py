"""The hallway of users."""

from __future__ import annotations

import re

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, Reason
from portal.events.record import Subject, attempt
from tenants import policy
from tenants.models import User
from tenants.permits import Permit

USERNAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


def create_user(actor: Actor, *, username: str, password: str, display_name: str = "") -> User:
    """Make a local account. Raises ``Invalid`` for a bad name or weak password, ``Conflict`` for a taken name."""
    with attempt(actor, "USER_CREATE", Subject("user", None, username)) as trial:
        if not actor.is_system:
            policy.authorize(actor, Permit.USER_MANAGE, policy.system())
        if not USERNAME.fullmatch(username):
            text = _("A user name has 1 to 64 characters: letters A-Z, digits, '-', '_', '.' and '@'.")
            raise Invalid(text, reasons=(Reason("username_invalid", text, "username"),))
        if User.objects.filter(username__iexact=username).exists():
            raise Conflict(_("A user of this name is already there."))
        user = User(username=username, display_name=display_name)
        _check_password(user, password)
        user.set_password(password)
        user.save()
        trial.subject = Subject("user", user.pk, username)
    return user


def _check_password(user: User, password: str) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        reasons = tuple(Reason("password_weak", text, "password") for text in error.messages)
        raise Invalid(" ".join(error.messages), reasons=reasons) from error
