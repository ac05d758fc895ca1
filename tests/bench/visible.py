"""``python -m tests.bench.visible [--machines N] [--json]``: what it costs to list what one may see, by the number of grants.

A page's rows of the list of machines for users with 1, 10 and 1,000 single shares, and for one who holds a role on a data
center, each beside the same rows unfiltered, and beside those filtered by django-guardian's own ``get_objects_for_user``. Once
with the user's roles read before, as on every page, which needs them for its frame and its buttons, filtered or not; and once
with all that ``visible`` asks by itself. Then the whole answer of ``GET /api/v1/vms/`` beside a super-admin's, who sees all. All
sides interleaved in one run, on the database that runs it. The ratio of CPU time, PostgreSQL's own process counted in, says
the same where the machine is busy with other things.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path

import django

if __name__ == "__main__":
    os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="bench-")
    os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings.test"
    django.setup()

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext, setup_test_environment
from guardian.shortcuts import get_objects_for_user

from compute import selectors
from compute.models import Cluster, Vm, VmUserGrant
from compute.views.listing import PER_PAGE
from portal.common.actor import Actor, Door, system_actor
from portal.hypervisors.models import Provider
from tenants import policy
from tenants.holdings import CODENAME
from tenants.models import DataCenter, Role, User
from tenants.permits import Permit
from tenants.roles import sync_roles
from tests.bench.table import Row, row, show

ROUNDS = 30
GRANTS = (1, 10, 1000)
CENTERS = 10
SHARE = f"{CODENAME}user-role"


def machines(count: int) -> list[Vm]:
    """So many, spread over data centers."""
    centers = DataCenter.objects.bulk_create(DataCenter(name=f"dc-{number}") for number in range(CENTERS))
    provider = Provider.objects.create(kind="double", name="bench", address="double:///nowhere")
    cluster = Cluster.objects.create(name="bench", provider=provider)
    common = {"cluster": cluster, "provider": provider, "memory_mib": 256, "vcpus": 1, "status": "up"}
    return Vm.objects.bulk_create(
        (Vm(name=f"vm-{number:06}", data_center=centers[number % CENTERS], **common) for number in range(count)),
        batch_size=1000,
    )


def sharer(vms: list[Vm], count: int) -> User:
    """Somebody to whom so many of them are shared one by one, spread evenly."""
    user = User.objects.create(username=f"shares-{count}")
    on_vm = ContentType.objects.get_for_model(Vm)
    permission, _made = Permission.objects.get_or_create(
        codename=SHARE, content_type=on_vm, defaults={"name": "UserRole"}
    )
    chosen = vms[:: max(1, len(vms) // count)][:count]
    VmUserGrant.objects.bulk_create(VmUserGrant(user=user, permission=permission, content_object=vm) for vm in chosen)
    return user


def page(rows: QuerySet[Vm]) -> int:
    """The rows of the first page, as the list of machines reads them."""
    return len(list(rows.order_by("name", "uid")[: PER_PAGE + 1]))


def everything() -> QuerySet[Vm]:
    """The same rows unfiltered."""
    return Vm.objects.select_related("data_center", "owner", "template", "host", "cluster", "provider")


def ours(user: User) -> Callable[[], int]:
    actor = Actor(user=user, door=Door.PAGE)
    return lambda: page(selectors.vms(actor))


def guardians(user: User) -> Callable[[], int]:
    """By the roles on machines that have the permit, which is as near as guardian's function comes to our question."""
    roles = [CODENAME + each.codename for each in Role.objects.all() if Permit.VM_VIEW in each.permits]
    known = set(Permission.objects.filter(content_type__model="vm").values_list("codename", flat=True))
    asked = [f"compute.{name}" for name in roles if name in known]

    def work() -> int:
        found = get_objects_for_user(user, asked, klass=everything(), any_perm=True, accept_global_perms=False)
        return page(found)

    return work


@dataclass(slots=True)
class Spent:
    """Milliseconds of each round, by the clock and of CPU time."""

    clock: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def cpu_time() -> float:
    """Milliseconds of CPU time so far, of this process and of the one that serves it at PostgreSQL."""
    if connection.vendor != "postgresql":
        return time.process_time() * 1000
    served = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat").read_text(encoding="ascii")
    return time.process_time() * 1000 + int(served.split()[0]) / 1e6


def interleaved(*works: Callable[[], object]) -> list[Spent]:
    """What each took, after rounds that are not counted."""
    spent = [Spent() for _work in works]
    for number in range(ROUNDS + 3):
        for work, found in zip(works, spent, strict=True):
            before, began = cpu_time(), time.perf_counter()
            work()
            took = (time.perf_counter() - began) * 1000
            if number >= 3:
                found.clock.append(took)
                found.cpu.append(cpu_time() - before)
    return spent


def compared(name: str, mine: Spent, against: str, theirs: Spent) -> Row:
    """One row, with both ratios."""
    cpu = statistics.median(mine.cpu) / statistics.median(theirs.cpu)
    return replace(row(name, "ms", mine.clock, against=against, floor=theirs.clock), cpu_ratio=cpu)


def figures(name: str, user: User) -> list[Row]:
    """One user's page beside both others, and how often it asks the database."""
    by_policy, by_guardian = ours(user), guardians(user)

    def unfiltered() -> int:
        return page(everything())

    with policy.one_look():
        on_page, on_bare = interleaved(by_policy, unfiltered)
    mine, theirs, bare = interleaved(by_policy, by_guardian, unfiltered)
    with CaptureQueriesContext(connection) as caught:
        by_policy()
    asked = len(caught)  # a request forgets what was asked before it
    return [
        *whole(name, user),
        compared(f"{name}, roles read before", on_page, "unfiltered", on_bare),
        compared(f"{name}, roles read anew", mine, "unfiltered", bare),
        compared(f"{name}, roles read anew", mine, "get_objects_for_user", theirs),
        row(f"{name}, queries", "queries", [asked]),
    ]


def whole(name: str, user: User) -> list[Row]:
    """The answer over HTTP, where there are as many machines on it."""
    if ours(user)() <= PER_PAGE:
        return []
    mine, roots = (asking(who) for who in (user, User.objects.get(username="root")))
    his, all_seen = interleaved(mine, roots)
    return [compared(f"{name}, API page of {PER_PAGE}", his, "a super-admin's", all_seen)]


def asking(user: User) -> Callable[[], None]:
    client = Client()
    client.force_login(user)

    def work() -> None:
        assert client.get("/api/v1/vms/", {"page_size": str(PER_PAGE)}).status_code == HTTPStatus.OK

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    setup_test_environment()
    call_command("migrate", verbosity=0)
    sync_roles()
    vms = machines(asked.machines)
    people = {f"{count} grants": sharer(vms, count) for count in GRANTS}
    admin = people["a data center"] = User.objects.create(username="admin")
    policy.grant(system_actor(), "data-center-admin", admin, DataCenter.objects.get(name="dc-0"))
    policy.grant(system_actor(), "super-admin", User.objects.create(username="root"), policy.system())
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    base = f"{asked.machines} machines on {connection.vendor}"
    rows = [each for name, user in people.items() for each in figures(f"{base}, {name}", user)]
    show(rows, as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
