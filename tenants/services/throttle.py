"""How often a log-in may be tried, by name and by address, over all processes."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.common.errors import TooMany
from portal.common.sealed import keyed_hash
from tenants.models import LoginTries

WINDOW = timedelta(minutes=5)
MOST_PER_NAME = 10
MOST_PER_ADDRESS = 50  # a whole lab may sit behind one


def take_try(username: str, address: str) -> None:
    """Count a try before its password is looked at, so that parallel ones cannot slip by. Raises ``TooMany``.

    ``Retry-After`` is when the window ends: nobody is locked out for good. Call outside of a transaction that a refusal
    rolls back.
    """
    for key, most in ((_name_key(username), MOST_PER_NAME), (_address_key(address), MOST_PER_ADDRESS)):
        if not _count(key, most):
            raise TooMany(
                _("Too many wrong passwords. Wait a few minutes and try again."), data={"retry_after": _wait(key)}
            )


def give_back(username: str, address: str) -> None:
    """The password was right: the name starts anew, and the address gets its try back."""
    LoginTries.objects.filter(key=_name_key(username)).update(tries=0)
    LoginTries.objects.filter(key=_address_key(address), tries__gt=0).update(tries=F("tries") - 1)


def _count(key: str, most: int) -> bool:
    now = timezone.now()
    LoginTries.objects.bulk_create([LoginTries(key=key, tries=0, since=now)], ignore_conflicts=True)
    LoginTries.objects.filter(key=key, since__lt=now - WINDOW).update(tries=0, since=now)
    return bool(LoginTries.objects.filter(key=key, tries__lt=most).update(tries=F("tries") + 1))


def _wait(key: str) -> int:
    since = LoginTries.objects.values_list("since", flat=True).get(key=key)
    return max(1, int((since + WINDOW - timezone.now()).total_seconds()) + 1)


def _name_key(username: str) -> str:
    return keyed_hash(username.lower(), purpose="login name")


def _address_key(address: str) -> str:
    return keyed_hash(address, purpose="login address")
