"""What comes with a new object without being given: in one place, as oVirt's engine does it.

There the maker of a machine gets UserVmManager, of a disk DiskOperator, of a template TemplateOwner and UserTemplateBasedVm,
"unless already able to manipulate its permissions" (``AddVmCommand.addVmPermission``, ``AddVmTemplateCommand``).
"""

from __future__ import annotations

from dataclasses import replace

from django.db.models import Model

from portal.common.actor import Actor, Bounds
from tenants import policy
from tenants.holdings import live
from tenants.kinds import kind_of
from tenants.models import User
from tenants.permits import Permit


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


def share_as_before(before: Model, target: Model) -> None:
    """Whoever was given a role on an object gets it on what takes its place (the next version of a template), for as long."""
    kind = kind_of(type(target))
    for table, who in ((kind.user_grants, "user"), (kind.group_grants, "group")):
        fields = (f"{who}_id", "permission_id", "grantor_uid", "grantor_name", "expires_at")
        rows = live(table._default_manager.filter(content_object=before)).values(*fields)
        table._default_manager.bulk_create([table(content_object=target, **row) for row in rows])
