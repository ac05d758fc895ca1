"""That somebody is left who can do everything: without one nobody could give a role on the system ever again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.utils.translation import gettext as _

from portal.common.errors import Conflict, Reason
from tenants import policy
from tenants.holdings import CODENAME
from tenants.models import Role, System, SystemUserGrant
from tenants.permits import Permit


@contextmanager
def one_remains() -> Iterator[None]:
    """Around a change, within its transaction: ``Conflict`` when it would leave no super-admin, and the change is undone.

    Who counts may log in whatever becomes of directories and dates: an enabled local account that itself holds every permit
    on the whole system, without an end. Where there was no such account before, one of a directory must be left.
    """
    # One such change at a time: two super-admins who take the role from each other would each see the other one left.
    System.objects.select_for_update().get(pk=policy.system().pk)
    before = _standing()
    yield
    after = _standing()
    if any(had and not has for had, has in zip(before, after, strict=True)):
        text = _(
            "Then no account would be a super-admin without an end date, and nobody could give rights on the whole system any more. Make another local account a super-admin first."
        )
        raise Conflict(text, reasons=(Reason("last_super_admin", text),))


def _standing() -> tuple[bool, bool]:
    """Whether there is such a local account, and whether there is such an account at all."""
    full = [code for code, permits in Role.objects.values_list("codename", "permits") if set(Permit) <= set(permits)]
    names = [CODENAME + code for code in full]
    rows = SystemUserGrant.objects.filter(permission__codename__in=names, user__is_active=True, expires_at=None)
    return rows.filter(user__directory=None).exists(), rows.exists()
