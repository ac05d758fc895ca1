"""How often a log-in may be tried, by address and by name, over all processes.

Anybody can use up the tries of a name that he knows. So that he shuts nobody out, a browser in which that person has
logged in before (a device) has tries of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from ipaddress import IPv6Address, ip_address, ip_network

from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.common.errors import TooMany
from portal.common.sealed import keyed_hash
from tenants.directory.names import folded
from tenants.models import LoginTries

WINDOW = timedelta(minutes=5)
MOST_PER_NAME = 10
DAY = timedelta(days=1)
MOST_PER_DAY = 50  # of a code of six digits, of which three are right at a time: nobody finds one in years
MOST_PER_ADDRESS = 50  # a whole lab may sit behind one
NAME, PASSWORD, CODE = "login name", "present password", "second factor"  # what is tried: each is counted by itself
OWN_NETWORK = 64  # bits of an IPv6 address that tell one customer from another; the rest is his to choose


def take_try(username: str, address: str, *, device: str = "", of: str = NAME) -> None:
    """Count a try before its password is looked at, so that parallel ones cannot slip by. Raises ``TooMany``.

    ``Retry-After`` is when the window ends: nobody is locked out for good. Call outside of a transaction that a refusal
    rolls back. ``device``: proven to be this account's. ``of``: what is tried; anybody may type any name at log-in, and takes no
    try of another kind by that.
    """
    for key, most in _bounds(username, address, device, of):
        if not _count(key, most):
            raise _refusal(key, most)


def give_back(username: str, address: str, *, device: str = "", of: str = NAME) -> None:
    """The password was right: the name or device starts anew, and the address gets its try back."""
    if device:
        LoginTries.objects.filter(key=_device_key(username, device, of)).update(tries=0)
        return
    LoginTries.objects.filter(key=_name_key(username, of)).update(tries=0)
    LoginTries.objects.filter(key=_address_key(address), tries__gt=0).update(tries=F("tries") - 1)


def take_of_day(name: str, *, device: str = "") -> None:
    """Count a try of something short, which ten tries every five minutes would find some day. Raises ``TooMany``.

    A right one gives its own try back and no others: they may be somebody else's.
    """
    key = _day_key(name, device)
    if not _count(key, MOST_PER_DAY, DAY):
        text = _(
            "Too many wrong codes within a day. Use a browser in which you were logged in before, or ask a super-admin to take the second factor away."
        )
        raise _refusal(key, MOST_PER_DAY, text)


def give_back_of_day(name: str, *, device: str = "") -> None:
    """The code was right."""
    LoginTries.objects.filter(key=_day_key(name, device), tries__gt=0).update(tries=F("tries") - 1)


def put_back(username: str, *, device: str = "", of: str = NAME) -> None:
    """Nobody could say whether the password was right: that is not held against the name or device.

    The address's try stays counted: each of them had the portal wait for a directory.
    """
    key = _device_key(username, device, of) if device else _name_key(username, of)
    LoginTries.objects.filter(key=key, tries__gt=0).update(tries=F("tries") - 1)


def is_news(what: str, *, of: str) -> bool:
    """Whether this is the first time within the window: what is tried without end must not fill the log."""
    key = keyed_hash(what, purpose=of)
    if LoginTries.objects.filter(key=key, tries__gt=0, since__gte=timezone.now() - WINDOW).exists():
        return False  # the usual case writes nothing
    return _count(key, 1)


def forget_tries() -> int:
    """Remove what is counted no more; how many."""
    return int(LoginTries.objects.filter(since__lt=timezone.now() - 2 * WINDOW).delete()[0])


def _bounds(username: str, address: str, device: str, of: str) -> Iterator[tuple[str, int]]:
    """The address first: one that is refused makes no rows for ever new names."""
    if device:
        yield _device_key(username, device, of), MOST_PER_NAME
        return
    yield _address_key(address), MOST_PER_ADDRESS
    yield _name_key(username, of), MOST_PER_NAME


def _count(key: str, most: int, window: timedelta = WINDOW) -> bool:
    """Count, unless it was as many already. ``since`` is always one ``WINDOW`` before the end: a longer one lies ahead."""
    now = timezone.now()
    since = now + window - WINDOW
    LoginTries.objects.bulk_create([LoginTries(key=key, tries=0, since=since)], ignore_conflicts=True)
    LoginTries.objects.filter(key=key, since__lt=now - WINDOW).update(tries=0, since=since)
    return bool(LoginTries.objects.filter(key=key, tries__lt=most).update(tries=F("tries") + 1))


def _refusal(key: str, most: int, text: str = "") -> TooMany:
    text = text or _("Too many wrong passwords. Wait a few minutes and try again.")
    error = TooMany(text, data={"retry_after": _wait(key)})
    error.repeated = not LoginTries.objects.filter(key=key, tries=most).update(tries=most + 1)
    return error


def _wait(key: str) -> int:
    since = LoginTries.objects.filter(key=key).values_list("since", flat=True).first() or timezone.now() - WINDOW
    return max(1, int((since + WINDOW - timezone.now()).total_seconds()) + 1)


def _name_key(username: str, of: str) -> str:
    return keyed_hash(folded(username), purpose=of)


def _address_key(address: str) -> str:
    return keyed_hash(whose_address(address), purpose="login address")


def _device_key(username: str, device: str, of: str) -> str:
    return keyed_hash(f"{_name_key(username, of)} {device}", purpose="login device")


def _day_key(name: str, device: str) -> str:
    return keyed_hash(f"{_name_key(name, CODE)} {device}", purpose="tries of a day")


def whose_address(address: str) -> str:
    """By what tries of an address are counted: of IPv6 its customer's network."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ip_network((int(parsed), OWN_NETWORK), strict=False))
