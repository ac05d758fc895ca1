"""The hallway of users."""

from __future__ import annotations

import re
from contextlib import nullcontext
from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from portal.common.access import access_changed
from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, NotFound, NotPermitted, PortalError, Reason, TooMany
from portal.common.models import Session
from portal.events.record import Subject, attempt
from tenants import policy
from tenants.bounds import refuse_bounded
from tenants.models import ApiToken, User
from tenants.permits import Permit
from tenants.services.passwords import password_refusal
from tenants.services.standing import refuse_above, refuse_to_let_in
from tenants.services.super_admins import one_remains

USERNAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


def create_user(actor: Actor, *, username: str, password: str, display_name: str = "") -> User:
    """Make a local account. Raises ``Invalid`` for a bad name or weak password, ``Conflict`` for a taken name."""
    with attempt(actor, "USER_CREATE", Subject("user", None, username)) as trial:
        if not actor.is_system:
            policy.authorize(actor, Permit.USER_MANAGE, policy.system())
        refuse_username(username)
        user = User(username=username, display_name=display_name)
        _check_password(user, password)
        user.set_password(password)
        user.save()
        trial.subject = Subject("user", user.pk, username)
    return user


def refuse_username(username: str) -> None:
    """Raise ``Invalid`` or ``Conflict``, naming the field, when no local account can be called so."""
    if not USERNAME.fullmatch(username):
        text = _("A user name has 1 to 64 characters: letters A-Z, digits, '-', '_', '.' and '@'.")
        raise Invalid(text, reasons=(Reason("username_invalid", text, "username"),))
    if User.objects.filter(username__iexact=username).exists():
        text = _("A user of this name is already there. Choose another name.")
        raise Conflict(text, reasons=(Reason("username_taken", text, "username"),))


def set_password(actor: Actor, user: User, *, password: str, present: str = "") -> None:
    """A new password. Ends the user's log-ins everywhere: sessions, tokens, open sockets.

    For the user himself, who must tell the present one, and for those who manage users, unless he is above them. ``Invalid``
    for a weak one, ``TooMany`` after too many wrong present ones.
    """
    wrong = _wrong_present(actor, user, present)  # before the transaction: the count of a refused try must stay
    if isinstance(wrong, TooMany) and wrong.repeated:
        raise wrong
    with attempt(actor, "PASSWORD_SET", Subject("user", user.pk, user.username)):
        _refuse_of_directory(user)
        if actor.scope != "write":
            raise NotPermitted(_("A token that may only read cannot set passwords."))
        refuse_bounded(actor)
        if wrong is not None:
            raise wrong
        if not actor.is_system and actor.uid != user.pk:
            policy.authorize(actor, Permit.USER_MANAGE, policy.system())
        refuse_to_let_in(actor, user)
        _check_password(user, password)
        user.set_password(password)
        user.save(update_fields=["password"])
        Session.objects.filter(user_uid=user.pk).delete()
        ApiToken.objects.filter(user=user).delete()
        access_changed([user.pk])


def authorize_users(actor: Actor) -> None:
    """Raise ``NotPermitted`` for whoever does not manage users."""
    policy.authorize(actor, Permit.USER_MANAGE, policy.system())


def get_user(actor: Actor, uid: UUID) -> User:
    """Oneself, or anybody for those who manage users. Raises ``NotPermitted`` or ``NotFound``."""
    if uid != actor.uid:
        authorize_users(actor)
    row = User.objects.filter(pk=uid, service_of=None).first()
    if row is None:
        raise NotFound(_("There is no such user."))
    return row


def set_active(actor: Actor, user: User, *, active: bool) -> None:
    """Disable an account, or enable it again. Disabling ends everything of it at once, open consoles included.

    Its log-ins and tokens are gone for good, for it may be enabled when nobody remembers who had them. ``Conflict`` for one's
    own account, and when no super-admin would be left; ``NotPermitted`` for one that is above the actor.
    """
    with attempt(actor, "USER_ENABLE" if active else "USER_DISABLE", Subject("user", user.pk, user.username)):
        if actor.uid == user.pk and not active:
            raise Conflict(_("You cannot disable your own account. Another super-admin can."))
        if not actor.is_system:
            policy.authorize(actor, Permit.USER_MANAGE, policy.system())
        (refuse_to_let_in if active else refuse_above)(actor, user)
        if active and user.kept_out:
            text = _("The directory %(directory)s does not let this account in: %(why)s. Enable it there.")
            raise Conflict(text % {"directory": user.directory, "why": user.get_kept_out_display()})
        stays = active and user.is_active
        with nullcontext() if active else one_remains():
            user.is_active, user.kept_out = active, ""
            user.save(update_fields=["is_active", "kept_out"])
        if not stays:  # when it is enabled, too: a log-in that was on its way while it was disabled
            Session.objects.filter(user_uid=user.pk).delete()
            ApiToken.objects.filter(user=user).delete()
        access_changed([user.pk])


def _wrong_present(actor: Actor, user: User, present: str) -> PortalError | None:
    """What is wrong with the present password, where one has to be told."""
    if actor.uid != user.pk or user.directory is not None or actor.scope != "write" or actor.bounds:
        return None
    return password_refusal(actor, present, field="present_password")


def _refuse_of_directory(user: User) -> None:
    if user.directory is not None:
        text = _("The password of this account is the directory's: change it in %(directory)s.")
        raise Conflict(text % {"directory": user.directory})


def _check_password(user: User, password: str) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        reasons = tuple(Reason("password_weak", text, "password") for text in error.messages)
        raise Invalid(" ".join(error.messages), reasons=reasons) from error
