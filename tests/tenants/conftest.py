"""The people of these tests: alice and bob of physics, charlie of informatics, an admin of each, and a super-admin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from portal.common.actor import Actor, Door, system_actor
from tenants import policy
from tenants.models import DataCenter, User
from tenants.roles import sync_roles
from tests.people import PASSWORD
from tests.snapshots import Once


@dataclass(frozen=True)
class People:
    """Everybody, with their data centers; no hypervisor."""

    physics: DataCenter
    informatics: DataCenter
    alice: User
    bob: User
    charlie: User
    physics_admin: User
    informatics_admin: User
    super_admin: User


def as_actor(user: User, **more: Any) -> Actor:
    """The user at the API's door."""
    return Actor(user=user, **{"door": Door.API, "request_id": uuid4().hex, "client_address": "192.0.2.7"} | more)


def make_people() -> People:
    sync_roles()
    physics, informatics = (DataCenter.objects.create(name=name) for name in ("physics", "informatics"))
    ranks = (
        ("alice", "end-user", physics),
        ("bob", "end-user", physics),
        ("charlie", "end-user", informatics),
        ("physics_admin", "data-center-admin", physics),
        ("informatics_admin", "data-center-admin", informatics),
        ("super_admin", "super-admin", policy.system()),
    )
    everybody = {name: User.objects.create_user(name, password=PASSWORD) for name, _role, _where in ranks}
    for name, role, where in ranks:
        policy.grant(system_actor(), role, everybody[name], where)
    return People(physics=physics, informatics=informatics, **everybody)


the_people: Final = Once(lambda _folder: make_people())


@pytest.fixture
def people(db: None, tmp_path: Path) -> People:
    return the_people(tmp_path)


@pytest.fixture
def lasting_people(transactional_db: None, tmp_path: Path) -> People:
    """The same, committed: other threads see them."""
    return the_people(tmp_path)
