"""The rows of people who come from a directory: one for each GUID, whatever names they bear."""

from __future__ import annotations

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import QuerySet

from tenants.directory.accounts import Account
from tenants.directory.dns import SMALL
from tenants.models import Directory, User

FOLLOWING = ("username", "display_name", "email", "kept_out", "is_active")


def username_of(directory_name: str, name: str) -> str:
    """What an account is called here: no local name holds a backslash."""
    return f"{directory_name}\\{name}"


def name_in_directory(username: str) -> str:
    """What somebody was called there when he was last heard of."""
    return username.partition("\\")[2]


def alike(rows: QuerySet[User], username: str) -> list[User]:
    """Those who are called so, without regard to capitals of A-Z; who is called exactly so comes first.

    Of other letters it is for the directory to say which are the same: to PostgreSQL a dotless i is an I. It keeps no NUL, and is
    not asked for one: it would refuse the question.
    """
    if "\x00" in username:
        return []
    wanted = username.translate(SMALL)
    found = [row for row in rows.filter(username__iexact=username) if row.username.translate(SMALL) == wanted]
    return sorted(found, key=lambda row: row.username != username)


def still_enabled(directory: Directory) -> Directory | None:
    """The directory as it is now, which nobody disables or changes until the transaction ends; None when it is disabled.

    What the directory said was asked before, and takes its time.
    """
    return Directory.objects.select_for_update(no_key=True).filter(pk=directory.pk, enabled=True).first()


def stored(asked: Directory, account: Account) -> User | None:
    """The row of this account, made at its first log-in, with the names that the directory has now.

    An account that the directory lets in again is let in; what a super-admin disabled stays so. None when the directory
    was disabled since it was asked.
    """
    with transaction.atomic():
        directory = still_enabled(asked)
        if directory is None:
            return None
        username = username_of(directory.name, account.name)
        _free(username, directory, account.guid)
        user, _made = User.objects.get_or_create(
            directory=directory,
            guid=account.guid,
            defaults={"username": username, "password": make_password(None)},
        )
        follow(user, account, directory)
    return user


def follow(user: User, account: Account, directory: Directory) -> bool:
    """Bring names and state to what the directory says now; whether anything changed. Call inside a transaction."""
    username = username_of(directory.name, account.name)
    _free(username, directory, account.guid)
    before = [getattr(user, name) for name in FOLLOWING]
    user.username, user.display_name, user.email = username, account.display_name, account.email
    keep_out(user, account.kept_out)
    changed = [name for name, old in zip(FOLLOWING, before, strict=True) if getattr(user, name) != old]
    if changed:
        user.save(update_fields=changed)
    return bool(changed)


def keep_out(user: User, why: str) -> None:
    """Set why the directory keeps the account out; empty: it does not. Whom a super-admin disabled is left alone."""
    if user.is_active or user.kept_out:
        user.kept_out, user.is_active = why, not why


def _free(username: str, directory: Directory, guid: str) -> None:
    """A name may be given to somebody new: its former bearer is another person, and keeps his row under a name of his own."""
    others = User.objects.exclude(directory=directory, guid=guid).exclude(directory=None)
    for user in alike(others, username):
        user.username = f"{username}~{user.guid[:8]}"
        user.save(update_fields=["username"])
