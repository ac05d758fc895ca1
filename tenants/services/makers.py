"""What comes with a new object without being given: in one place, as oVirt's engine does it.

There the maker of a machine gets UserVmManager, of a disk DiskOperator, of a template TemplateOwner and UserTemplateBasedVm,
"unless already able to manipulate its permissions" (``AddVmCommand.addVmPermission``, ``AddVmTemplateCommand``).
"""

from __future__ import annotations

from dataclasses import replace

from django.db.models import Model
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from portal.common.actor import Actor, Bounds
from portal.common.errors import NotPermitted, Reason
from tenants import policy
from tenants.holdings import live
from tenants.kinds import kind_of
from tenants.models import DataCenter, Role, User
from tenants.permits import Permit
from tenants.services.grant_ends import end_of


def give_to_maker(actor: Actor, target: Model) -> None:
    """The roles of its kind's makers, unless he rules it from above: then it stays his for as long as he rules there.

    Whether he does is asked of him, not of the token by which he made it: what it lacks would be given to him for good.
    """
    whole = replace(actor, scope="write", bounds=Bounds())
    if actor.user is not None and Permit.GRANT not in policy.permits_on(whole, [target])[target.pk]:
        give_to_owner(actor, actor.user, target)


def give_to_owner(actor: Actor, owner: User, target: Model) -> None:
    """The same to whose it is in any case: a machine is on its owner's share of the quota, whatever else he holds."""
    policy.grant_owner(policy.system_grantor(actor), kind_of(type(target)).of_maker, owner, target)


def refuse_appointing(actor: Actor, model: type[Model], center: DataCenter) -> None:
    """Raise ``NotPermitted`` for whoever could not give somebody, for good, what an owner of such an object gets there.

    It is the portal that gives it, so whoever says whose an object is would give more, or for longer, than he holds.
    """
    if actor.is_system:
        return
    worth = Role.objects.filter(codename__in=kind_of(model).of_maker).values_list("permits", flat=True)
    given = {str(Permit.GRANT)}.union(*worth)
    if beyond := sorted(given - policy.permits_on(actor, [center])[center.pk]):
        text = _("Its owner would get what you do not hold in %(data_center)s: %(permits)s. Leave it without an owner.")
        told = text % {"data_center": center.name, "permits": ", ".join(beyond)}
        raise NotPermitted(told, reasons=(Reason("beyond_own", told, "owner", {"permits": beyond}),))
    if end := end_of(actor, given, center):
        text = _("Its owner would keep for good what you hold until %(end)s only. Leave it without an owner.")
        told = text % {"end": date_format(timezone.localtime(end), "SHORT_DATETIME_FORMAT")}
        raise NotPermitted(told, reasons=(Reason("longer_than_own", told, "owner", {"end": end.isoformat()}),))


def share_as_before(before: Model, target: Model) -> None:
    """Whoever was given a role on an object gets it on what takes its place (the next version of a template), for as long."""
    kind = kind_of(type(target))
    for table, who in ((kind.user_grants, "user"), (kind.group_grants, "group")):
        fields = (f"{who}_id", "permission_id", "grantor_uid", "grantor_name", "expires_at")
        rows = live(table._default_manager.filter(content_object=before)).values(*fields)
        table._default_manager.bulk_create([table(content_object=target, **row) for row in rows])
