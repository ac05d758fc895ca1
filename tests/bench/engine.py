"""``python -m tests.bench.engine [--machines N] [--json]``: reading an oVirt engine (its double) that has many machines.

Row 7: a whole compare in which nothing changed, beside the SDK listing the same machines with the same followed links, both
sides interleaved in one run. The requests of an inventory, for 1,000, N and 10,000 machines: they grow by pages alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import django

if __name__ == "__main__":
    os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="bench-")
    os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings.test"
    django.setup()

import ovirtsdk4
from django.core.management import call_command
from django.test.utils import setup_test_environment

from compute.models import FoundVm
from compute.sync.inventory import sync_provider
from portal.common.sealed import seal_json
from portal.hypervisors.connect import driver_for, forget
from portal.hypervisors.models import Provider
from tests.bench.inventory import interleaved
from tests.bench.table import Row, row, show
from tests.doubles.ovirt_engine.control import EngineDouble

FOLLOW = "nics,disk_attachments.disk"
PAGE = 500  # as the driver asks
MANY = 10_000


def connected(engine: EngineDouble) -> Provider:
    return Provider.objects.create(
        name="engine",
        kind="ovirt",
        address=engine.url,
        username=engine.username,
        ca_pem=engine.ca_pem,
        sealed_secrets=seal_json({"password": engine.password}),
    )


class Sdk:
    """The vendor's own list, page by page."""

    def __init__(self, engine: EngineDouble) -> None:
        ca = engine.folder / "ca.pem"
        self._system = ovirtsdk4.Connection(
            url=engine.url, username=engine.username, password=engine.password, ca_file=str(ca)
        ).system_service()

    def all(self) -> int:
        service, found, number = self._system.vms_service(), 0, 1
        while True:
            page = service.list(search=f"sortby name asc page {number}", max=PAGE, follow=FOLLOW)
            for vm in page:
                len(vm.nics or ()), [each.disk.id for each in vm.disk_attachments or ()]
            found, number = found + len(page), number + 1
            if len(page) < PAGE:
                return found


def requests_of(engine: EngineDouble, provider: Provider, *, planted: int, machines: int) -> Row:
    """Of one inventory, after the machines that it lacks were put there."""
    engine.plant_many(machines - planted, f"bench-{planted}-{{number}}")
    engine.calls(clear=True)
    driver_for(provider).inventory()
    return row(f"requests of an inventory, {machines:,} machines", "", [len(engine.calls())])


def measure(engine: EngineDouble, machines: int) -> list[Row]:
    provider = connected(engine)
    rows = [requests_of(engine, provider, planted=0, machines=1000)]
    engine.configure(strict=False)  # all that is measured was held to the API once
    if machines > 1000:
        rows.append(requests_of(engine, provider, planted=1000, machines=machines))
    sync_provider(provider)
    assert FoundVm.objects.filter(provider=provider).count() >= machines
    sdk = Sdk(engine)
    assert sdk.all() >= machines
    ours, bare = interleaved(lambda: sync_provider(provider), sdk.all)
    against = f"the SDK's list, follow={FOLLOW}"
    rows.append(row(f"compare of {machines:,} machines, nothing changed", "ms", ours, against=against, floor=bare))
    if machines < MANY:
        rows.append(requests_of(engine, provider, planted=machines, machines=MANY))
    forget(provider.pk)
    assert engine.violations() == []
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    setup_test_environment()
    call_command("migrate", verbosity=0)
    engine = EngineDouble(Path(tempfile.mkdtemp(prefix="bench-engine-")))
    engine.start()
    try:
        with redirect_stdout(sys.stderr):
            rows = measure(engine, asked.machines)
    finally:
        engine.stop()
    show(rows, as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
