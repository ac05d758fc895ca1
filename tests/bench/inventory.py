"""``python -m tests.bench.inventory [--domains N] [--json]``: reading a libvirt with many machines, and a list beside a dead one.

Row 6: a whole compare in which nothing changed, of which every fifth machine is ours, beside the libvirt calls that name and
number the same domains, with all their statistics and with the state alone, which is all that the compare asks. Row 15: the
list of machines while the provider of half of them never answers and the watcher hangs at it, beside the same list while it
does answer. Both sides in turns in one run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import django

if __name__ == "__main__":
    os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="bench-")
    os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings.test"
    django.setup()

import libvirt
from django.core.management import call_command
from django.test.utils import setup_test_environment
from lxml import etree

from compute.models import FoundVm, Vm
from compute.sync.inventory import sync_provider
from portal.hypervisors.identity import portal_id
from portal.hypervisors.libvirt import xml
from portal.hypervisors.models import Provider, ProviderStatus
from portal.hypervisors.specs import Marker
from tests.bench.table import Row, row, show
from tests.doubles.hypervisor_state import Fault, HypervisorDouble
from tests.lab.libvirt_server import LibvirtServer
from tests.lab.servers import wait_until
from tests.pages.conftest import Demo

ROUNDS = 5
DOMAIN = (
    "<domain type='qemu'><name>{name}</name><uuid>{uid}</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>"
    "<os><type arch='x86_64'>hvm</type></os>{metadata}</domain>"
)
OURS_EVERY = 5
MACHINES = 500
TURNS = 2
PAGES = 20  # of each turn


def interleaved(first: Callable[[], object], second: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Milliseconds of each, after one round that is not counted."""
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS + 1):
        for work, times in zip((first, second), found, strict=True):
            began = time.perf_counter()
            work()
            if number:
                times.append((time.perf_counter() - began) * 1000)
    return found


def many_domains(conn: libvirt.virConnect, count: int, provider: Provider, like: Vm) -> list[libvirt.virDomain]:
    """Switched off; those of ours have their mark and their row."""
    domains, rows = [], []
    for number in range(count):
        uid, metadata = uuid4(), ""
        if number % OURS_EVERY == 0:
            metadata = etree.tostring(xml.metadata(Marker(portal_id(), uid)), encoding="unicode")
            rows.append(
                copy_of(like, uid, f"off-{number}", provider_id=provider.pk, external_id=str(uid), status="down")
            )
        domains.append(conn.defineXML(DOMAIN.format(name=f"bench-{number:05}", uid=uid, metadata=metadata)))
    Vm.objects.bulk_create(rows)
    return domains


def copy_of(vm: Vm, uid: UUID, name: str, **changes: Any) -> Vm:
    fields = {field.attname: getattr(vm, field.attname) for field in Vm._meta.concrete_fields}
    return Vm(**fields | {"uid": uid, "name": name} | changes)


def row_6(count: int, like: Vm) -> list[Row]:
    """Each machine is looked at, and none is written when it did not change."""
    conn = libvirt.open("qemu:///system")
    provider = Provider.objects.create(kind="libvirt", name="bench", address="qemu:///system")
    domains = many_domains(conn, count, provider, like)
    try:
        sync_provider(provider)
        ours_there = Vm.objects.filter(provider=provider, status="down").count()
        assert FoundVm.objects.filter(provider=provider).count() + ours_there >= count

        def raw() -> None:
            conn.listAllDomains()
            conn.getAllDomainStats()

        def raw_states() -> None:
            conn.listAllDomains()
            conn.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)

        ours, bare = interleaved(lambda: sync_provider(provider), raw)
        again, states = interleaved(lambda: sync_provider(provider), raw_states)
    finally:
        for domain in domains:
            domain.undefine()
    name, against = f"compare of {count} domains, nothing changed", "listAllDomains + getAllDomainStats"
    return [
        row(name, "ms", ours, against=against, floor=bare),
        row(name, "ms", again, against=f"{against} of the state alone", floor=states),
    ]


def row_15(demo: Demo, like: Vm) -> list[Row]:
    """The page reads rows alone, so a provider that hangs costs it nothing."""
    double = HypervisorDouble(demo.folder / "silent")
    other = Provider.objects.create(kind="double", name="silent", address=double.address)
    providers = {True: (other, double), False: (like.provider, demo.double)}
    rows = []
    for number in range(MACHINES):
        provider, place = providers[number % 2 == 0]
        external_id = place.plant_vm(f"bench-{number}", portal_id=portal_id())
        rows.append(
            copy_of(like, UUID(external_id), f"bench-{number}", provider_id=provider.pk, external_id=external_id)
        )
    Vm.objects.bulk_create(rows)
    answering: list[float] = []
    silent: list[float] = []
    with watching():
        for _ in range(TURNS):
            wait_until(lambda: status_of(other) == ProviderStatus.UP, "the provider to be seen", seconds=120)
            answering += pages(demo)
            for method in ("about", "inventory", "find_vm"):
                double.fail(method, Fault.HANG, times=-1)
            silent += pages(demo)
            wait_until(lambda: status_of(other) != ProviderStatus.UP, "its silence to be seen", seconds=240)
            silent += pages(demo)
            double.heal()
    against = "the same while it answers"
    return [row(f"list of {MACHINES} machines, half on a silent one", "ms", silent, against=against, floor=answering)]


def pages(demo: Demo) -> list[float]:
    client, took = demo.browser("admin"), []
    for number in range(PAGES + 1):
        began = time.perf_counter()
        assert client.get("/").status_code == HTTPStatus.OK
        if number:
            took.append((time.perf_counter() - began) * 1000)
    return took


def status_of(provider: Provider) -> str:
    provider.refresh_from_db()
    return provider.status


@contextmanager
def watching() -> Iterator[None]:
    """The watcher, as a process of its own, over the same database."""
    watcher = subprocess.Popen([sys.executable, "manage.py", "watch"], env=dict(os.environ))
    try:
        yield
    finally:
        watcher.terminate()
        try:
            watcher.wait(20)
        except subprocess.TimeoutExpired:
            watcher.kill()
            watcher.wait(5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domains", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    setup_test_environment()
    call_command("migrate", verbosity=0)
    with redirect_stdout(sys.stderr):
        demo = Demo(Path(os.environ["DATA_DIR"]))
        like = demo.make_vm("alice")
        rows = row_15(demo, like)
    server = LibvirtServer()
    server.start()
    try:
        rows += row_6(asked.domains, like)
    finally:
        server.close()
    show(rows, as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
