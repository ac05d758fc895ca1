"""Permits (rights to one verb) and the predefined roles. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Permit(StrEnum):
    """The right to one verb, in oVirt's manner (its engine calls them action groups)."""

    SYSTEM_MANAGE = "SYSTEM_MANAGE"
    PROVIDER_VIEW = "PROVIDER_VIEW"
    PROVIDER_MANAGE = "PROVIDER_MANAGE"
    USER_MANAGE = "USER_MANAGE"
    GRANT = "GRANT"
    DATA_CENTER_VIEW = "DATA_CENTER_VIEW"
    DATA_CENTER_EDIT = "DATA_CENTER_EDIT"
    QUOTA_VIEW = "QUOTA_VIEW"
    QUOTA_EDIT = "QUOTA_EDIT"
    QUOTA_CONSUME = "QUOTA_CONSUME"
    TEMPLATE_VIEW = "TEMPLATE_VIEW"
    TEMPLATE_USE = "TEMPLATE_USE"
    TEMPLATE_CREATE = "TEMPLATE_CREATE"
    TEMPLATE_EDIT = "TEMPLATE_EDIT"
    TEMPLATE_DELETE = "TEMPLATE_DELETE"
    IMAGE_VIEW = "IMAGE_VIEW"
    IMAGE_UPLOAD = "IMAGE_UPLOAD"
    IMAGE_DELETE = "IMAGE_DELETE"
    NETWORK_VIEW = "NETWORK_VIEW"
    NETWORK_USE = "NETWORK_USE"
    VM_CREATE = "VM_CREATE"
    VM_VIEW = "VM_VIEW"
    VM_EDIT = "VM_EDIT"
    VM_DELETE = "VM_DELETE"
    VM_RUN = "VM_RUN"
    VM_SHUT_DOWN = "VM_SHUT_DOWN"
    VM_STOP = "VM_STOP"
    VM_REBOOT = "VM_REBOOT"
    VM_CONNECT = "VM_CONNECT"
    JOB_VIEW = "JOB_VIEW"
    JOB_CANCEL = "JOB_CANCEL"
    JOB_MANAGE = "JOB_MANAGE"
    EVENT_VIEW = "EVENT_VIEW"


VIEWING = frozenset(permit for permit in Permit if permit.value.endswith("_VIEW"))
"""What a token that may only read can do at most."""

ASSIGNED = frozenset({Permit.TEMPLATE_VIEW, Permit.TEMPLATE_USE, Permit.NETWORK_VIEW, Permit.NETWORK_USE})
"""What an assignment conveys; edit, delete and grant come through the owner."""


@dataclass(frozen=True, slots=True)
class PredefinedRole:
    """A role that comes with the portal; read-only."""

    codename: str
    name: str
    description: str
    permits: frozenset[Permit]
    administrative: bool = False
    views_children: bool = True


_P = Permit
_VM_VERBS = frozenset({_P.VM_VIEW, _P.VM_RUN, _P.VM_SHUT_DOWN, _P.VM_STOP, _P.VM_REBOOT, _P.VM_CONNECT})

PREDEFINED = (
    PredefinedRole("super-admin", "Super-admin", "Everything, everywhere.", frozenset(Permit), administrative=True),
    PredefinedRole(
        "data-center-admin",
        "Data center admin",
        "Runs one data center: its machines, people, templates and quota shares.",
        frozenset(Permit) - {_P.SYSTEM_MANAGE, _P.PROVIDER_VIEW, _P.PROVIDER_MANAGE},
        administrative=True,
    ),
    PredefinedRole(
        "end-user",
        "End user",
        "Makes machines in a data center from its templates, within its quota.",
        frozenset(
            {
                _P.DATA_CENTER_VIEW,
                _P.VM_CREATE,
                _P.TEMPLATE_VIEW,
                _P.TEMPLATE_USE,
                _P.NETWORK_VIEW,
                _P.NETWORK_USE,
                _P.QUOTA_VIEW,
                _P.QUOTA_CONSUME,
            }
        ),
        views_children=False,
    ),
    # oVirt's UserVmManager and UserRole, as far as their verbs exist here.
    PredefinedRole(
        "user-vm-manager",
        "UserVmManager",
        "Everything on one machine; its maker gets it.",
        _VM_VERBS | {_P.VM_EDIT, _P.VM_DELETE, _P.GRANT, _P.JOB_VIEW, _P.JOB_CANCEL, _P.EVENT_VIEW},
    ),
    PredefinedRole("user-role", "UserRole", "Uses a machine: runs it, stops it, sits at its console.", _VM_VERBS),
)
