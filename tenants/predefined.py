"""The roles that come with the portal: the institute's three ranks, and oVirt's, under their names there. Pure.

oVirt's are its engine's (``packaging/dbscripts/data/00500_insert_roles.sql`` and ``00700_insert_roles_groups.sql`` with the
upgrades after them), as far as their verbs exist here. Its words for ours:

    CREATE_VM, DELETE_VM, EDIT_VM_PROPERTIES, RUN_VM ...  VM_CREATE, VM_DELETE, VM_EDIT, VM_RUN ...
    CREATE_VM on a template                               TEMPLATE_USE
    CONFIGURE_VM_NETWORK on a vNIC profile                NETWORK_USE on it
    CREATE_DISK, ACCESS_IMAGE_STORAGE                     IMAGE_UPLOAD
    DELETE_DISK                                           IMAGE_DELETE
    MANIPULATE_PERMISSIONS                                GRANT
    CONSUME_QUOTA                                         QUOTA_CONSUME
    AUDIT_LOG_MANAGEMENT                                  EVENT_VIEW
    LOGIN                                                 DATA_CENTER_VIEW, and the permit to see what the role is about

oVirt's SuperUser and DataCenterAdmin are our first two ranks. Its roles over hosts, clusters, storage, MAC pools and
networks' making are not here, for all of that is the one permit PROVIDER_MANAGE, nor those of nouns that do not exist
yet. A role joins by one entry, and a line of ``docs/policy.md``, which a test compares.
"""

from __future__ import annotations

from dataclasses import dataclass

from tenants.permits import VIEWING, Permit


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
OF_SYSTEM = frozenset({_P.SYSTEM_MANAGE, _P.PROVIDER_VIEW, _P.PROVIDER_MANAGE})
"""What is only ever asked of the whole system."""

RANKS = (
    PredefinedRole("super-admin", "Super-admin", "Everything, everywhere.", frozenset(Permit), administrative=True),
    PredefinedRole(
        "data-center-admin",
        "Data center admin",
        "Runs one data center: its machines, people, templates and quota shares.",
        frozenset(Permit) - OF_SYSTEM,
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
)

OVIRT = (
    PredefinedRole(
        "user-vm-manager",
        "UserVmManager",
        "Everything on one machine; its maker gets it.",
        _VM_VERBS | {_P.VM_EDIT, _P.VM_DELETE, _P.GRANT, _P.JOB_VIEW, _P.JOB_CANCEL, _P.EVENT_VIEW},
    ),
    PredefinedRole("user-role", "UserRole", "Uses a machine: runs it, stops it, sits at its console.", _VM_VERBS),
    PredefinedRole(
        "power-user-role",
        "PowerUserRole",
        "Makes machines and templates and uploads images; sees what is its own.",
        frozenset({_P.DATA_CENTER_VIEW, _P.VM_CREATE, _P.TEMPLATE_CREATE, _P.IMAGE_UPLOAD}),
        views_children=False,
    ),
    PredefinedRole(
        "vm-creator",
        "VmCreator",
        "Makes machines, of templates and on networks that it is given besides, within a quota of which it may consume.",
        frozenset({_P.DATA_CENTER_VIEW, _P.VM_CREATE}),
        views_children=False,
    ),
    PredefinedRole(
        "user-template-based-vm",
        "UserTemplateBasedVm",
        "Makes machines of a template.",
        frozenset({_P.TEMPLATE_VIEW, _P.TEMPLATE_USE}),
        views_children=False,
    ),
    PredefinedRole(
        "template-creator",
        "TemplateCreator",
        "Makes templates.",
        frozenset({_P.DATA_CENTER_VIEW, _P.TEMPLATE_CREATE}),
        views_children=False,
    ),
    PredefinedRole(
        "template-owner",
        "TemplateOwner",
        "Changes, deletes and shares a template; its maker gets it.",
        frozenset({_P.TEMPLATE_VIEW, _P.TEMPLATE_EDIT, _P.TEMPLATE_DELETE, _P.GRANT}),
    ),
    PredefinedRole(
        "template-admin",
        "TemplateAdmin",
        "Makes, changes, deletes and shares the templates of a data center, and reads its events.",
        frozenset({_P.DATA_CENTER_VIEW, _P.TEMPLATE_VIEW, _P.TEMPLATE_CREATE, _P.TEMPLATE_EDIT, _P.TEMPLATE_DELETE})
        | {_P.IMAGE_VIEW, _P.GRANT, _P.EVENT_VIEW},
        administrative=True,
    ),
    PredefinedRole(
        "disk-creator",
        "DiskCreator",
        "Uploads images of disks.",
        frozenset({_P.DATA_CENTER_VIEW, _P.IMAGE_UPLOAD}),
        views_children=False,
    ),
    PredefinedRole(
        "disk-operator",
        "DiskOperator",
        "Sees, uploads, removes and shares an image; its uploader gets it.",
        frozenset({_P.IMAGE_VIEW, _P.IMAGE_UPLOAD, _P.IMAGE_DELETE, _P.GRANT}),
    ),
    PredefinedRole(
        "vnic-profile-user",
        "VnicProfileUser",
        "Puts machines on a network.",
        frozenset({_P.NETWORK_VIEW, _P.NETWORK_USE}),
    ),
    PredefinedRole(
        "quota-consumer",
        "QuotaConsumer",
        "Consumes of a data center's quota.",
        frozenset({_P.QUOTA_CONSUME}),
        views_children=False,
    ),
    PredefinedRole(
        "audit-log-manager",
        "AuditLogManager",
        "Reads the events of a data center.",
        frozenset({_P.DATA_CENTER_VIEW, _P.EVENT_VIEW}),
        administrative=True,
        views_children=False,
    ),
    PredefinedRole(
        "read-only-admin",
        "ReadOnlyAdmin",
        "Sees everything of a data center and changes nothing.",
        VIEWING - OF_SYSTEM,
        administrative=True,
    ),
)

PREDEFINED = RANKS + OVIRT
