"""Permits in people's words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# Of whatever is in a data center or in the whole system.
TITLES: dict[str, StrOrPromise] = {
    "SYSTEM_MANAGE": _("Run the whole institute"),
    "PROVIDER_VIEW": _("See providers"),
    "PROVIDER_MANAGE": _("Connect providers"),
    "USER_MANAGE": _("Manage users"),
    "GRANT": _("Give roles"),
    "DATA_CENTER_VIEW": _("See data centers"),
    "DATA_CENTER_EDIT": _("Change data centers"),
    "QUOTA_VIEW": _("See quotas"),
    "QUOTA_EDIT": _("Set quotas"),
    "QUOTA_CONSUME": _("Use the quota"),
    "TEMPLATE_VIEW": _("See templates"),
    "TEMPLATE_USE": _("Make machines from templates"),
    "TEMPLATE_CREATE": _("Make templates"),
    "TEMPLATE_EDIT": _("Change templates"),
    "TEMPLATE_DELETE": _("Delete templates"),
    "IMAGE_VIEW": _("See images"),
    "IMAGE_UPLOAD": _("Upload images"),
    "IMAGE_DELETE": _("Remove images"),
    "NETWORK_VIEW": _("See networks"),
    "NETWORK_USE": _("Attach machines to networks"),
    "VM_CREATE": _("Create machines"),
    "VM_VIEW": _("See machines"),
    "VM_EDIT": _("Change machines"),
    "VM_DELETE": _("Delete machines"),
    "VM_RUN": _("Run machines"),
    "VM_SHUT_DOWN": _("Shut machines down"),
    "VM_STOP": _("Stop machines"),
    "VM_REBOOT": _("Reboot machines"),
    "VM_CONNECT": _("Sit at consoles"),
    "JOB_VIEW": _("See jobs"),
    "JOB_CANCEL": _("Cancel jobs"),
    "JOB_MANAGE": _("End stuck jobs"),
    "EVENT_VIEW": _("Read events"),
}
