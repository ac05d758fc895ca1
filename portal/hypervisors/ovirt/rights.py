"""Whether a service account may do what the portal does: its permissions on the engine, down to their permits."""

from __future__ import annotations

from typing import Any

from portal.hypervisors.findings import Finding
from portal.hypervisors.specs import Connection

SUPER_USER = "SuperUser"
MOST_ROLES = 50

# By the engine's own checks: what making, running, showing and deleting machines and their disks asks for.
NEEDED = (
    "create_vm",
    "delete_vm",
    "edit_vm_properties",
    "configure_vm_network",
    "configure_vm_storage",
    "create_disk",
    "attach_disk",
    "edit_disk_properties",
    "delete_disk",
    "run_vm",
    "shut_down_vm",
    "stop_vm",
    "reboot_vm",
    "connect_to_vm",
)


def found(connection: Connection, sdk: Any) -> Finding:
    """Which permits the account lacks everywhere; ``sdk`` is an open connection of the vendor's, whose errors are raised.

    A permit that it has on part of the engine alone counts: where the rest is not ours, nothing more is wanted.
    """
    data = {"user": connection.username}
    system = sdk.system_service()
    user = system.get().authenticated_user
    if user is None or not user.id:
        return Finding("rights", "permits_unknown", data, is_warning=True)
    has = _permits(system, _roles(system, user.id))
    missing = [permit for permit in NEEDED if permit not in has] if has is not None else []
    if missing:
        return Finding("rights", "permits_missing", data | {"permits": ", ".join(missing)})
    return Finding("rights", data=data)


def _roles(system: Any, user_id: str) -> dict[str, str | None]:
    """The user's roles, those of its groups among them as the engine lists them: their names by their ids."""
    permissions = system.users_service().user_service(user_id).permissions_service().list()
    roles = (one.role for one in permissions if one.role is not None)
    return {role.id: role.name for role in list({role.id: role for role in roles}.values())[:MOST_ROLES]}


def _permits(system: Any, roles: dict[str, str | None]) -> set[str] | None:
    """What the roles permit, in the API's words; None: everything."""
    found: set[str] = set()
    for uid, name in roles.items():
        role = system.roles_service().role_service(uid)
        if (name or role.get().name) == SUPER_USER:
            return None
        found |= {str(permit.name).lower() for permit in role.permits_service().list()}
    return found
