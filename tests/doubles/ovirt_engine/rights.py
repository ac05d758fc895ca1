"""Who may do what: the permits that an account has through its permissions."""

from __future__ import annotations

from tests.doubles.ovirt_engine.asked import Asked, Refused
from tests.doubles.ovirt_engine.store import Record
from tests.doubles.ovirt_engine.world import World

FORBIDDEN = "[User is not authorized to perform this action.]"


def _roles(world: World, user: str) -> list[tuple[Record, Record]]:
    found = ((one, world.find("roles", one["role"])) for one in world.all("permissions") if one["user"] == user)
    return [(permission, role) for permission, role in found if role]


def is_admin(world: World, user: str) -> bool:
    """Whether an account has any role of type admin; others must ask with ``Filter: true``."""
    return any(role["administrative"] for _, role in _roles(world, user))


def has(world: World, user: str, permit: str, *objects: str) -> bool:
    """Whether an account has a permit on the whole system or on one of these objects (and what they are in)."""
    for permission, role in _roles(world, user):
        if permit in role["permits"] and (_system(permission) or set(objects) & set(_targets(permission))):
            return True
    return False


def require(world: World, asked: Asked, permit: str, *objects: str) -> None:
    """Raises ``Refused`` as the engine does where a permit is missing."""
    if not has(world, asked.user, permit, *objects):
        raise Refused(403, FORBIDDEN)


def visible(world: World, user: str, key: str) -> bool:
    """Whether an account sees an object: by a permission on it, or on the whole system."""
    return any(_system(one) or key in _targets(one) for one, _ in _roles(world, user))


def around(world: World, vm: Record) -> tuple[str, ...]:
    """A VM and what it is in."""
    cluster = world.find("clusters", vm["cluster"]) or {}
    return (vm["id"], vm["cluster"], cluster.get("data_center", ""))


def _targets(permission: Record) -> list[str]:
    return [value for name, value in permission.items() if name not in ("id", "user", "role") and value]


def _system(permission: Record) -> bool:
    return not _targets(permission)
