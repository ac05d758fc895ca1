"""``python -m tests.bench.inventory [--domains N] [--json]``: reading a libvirt with many machines, and a list beside a dead one.

Row 6: a whole compare in which nothing changed, beside the two libvirt calls that name and number the same domains. Row 15: the
list of machines while another provider never answers, beside the same list without it. Both sides interleaved in one run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from uuid import uuid4

import django

if __name__ == "__main__":
    os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="bench-")
    os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings.test"
    django.setup()

import libvirt
from django.core.management import call_command
from django.test import Client
from django.test.utils import setup_test_environment

from compute.models import FoundVm, Vm
from compute.sync.inventory import sync_provider
from portal.hypervisors.models import Provider
from tests.bench.table import Row, row, show
from tests.doubles.hypervisor_state import Fault, HypervisorDouble
from tests.lab.libvirt_server import LibvirtServer
from tests.pages.conftest import Demo

ROUNDS = 5
DOMAIN = (
    "<domain type='qemu'><name>{name}</name><uuid>{uid}</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>"
    "<os><type arch='x86_64'>hvm</type></os></domain>"
)


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


def many_domains(count: int) -> tuple[libvirt.virConnect, list[libvirt.virDomain]]:
    conn = libvirt.open("qemu:///system")
    return conn, [conn.defineXML(DOMAIN.format(name=f"bench-{n:05}", uid=uuid4())) for n in range(count)]


def row_6(count: int) -> list[Row]:
    """The compare of foreign machines: each is looked at, and none is written when it did not change."""
    conn, domains = many_domains(count)
    try:
        provider = Provider.objects.create(kind="libvirt", name="bench", address="qemu:///system")
        sync_provider(provider)
        assert FoundVm.objects.filter(provider=provider).count() >= count

        def raw() -> None:
            conn.listAllDomains()
            conn.getAllDomainStats()

        ours, bare = interleaved(lambda: sync_provider(provider), raw)
    finally:
        for domain in domains:
            domain.undefine()
    against = "listAllDomains + getAllDomainStats"
    return [row(f"compare of {count} domains, nothing changed", "ms", ours, against=against, floor=bare)]


def row_15(folder: Path) -> list[Row]:
    """The page reads rows alone, so a provider that hangs costs it nothing."""
    demo = Demo(folder)
    vm = demo.make_vm("alice")
    fields = {f.attname: getattr(vm, f.attname) for f in Vm._meta.concrete_fields if f.attname not in {"uid", "name"}}
    Vm.objects.bulk_create(Vm(**fields, name=f"bench-{n}") for n in range(500))
    client: Client = demo.browser("admin")
    silent = HypervisorDouble(folder / "silent")
    silent.fail("*", Fault.HANG, times=-1)

    def page() -> None:
        assert client.get("/").status_code == 200

    def with_a_dead_one() -> None:
        dead = Provider.objects.create(kind="double", name="dead", address=silent.address)
        page()
        dead.delete()

    def without() -> None:
        other = Provider.objects.create(kind="double", name="dead", address=silent.address, enabled=False)
        page()
        other.delete()

    dead, alone = interleaved(with_a_dead_one, without)
    silent.heal()
    return [row("list page, one provider never answers", "ms", dead, against="the same, disabled", floor=alone)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domains", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    setup_test_environment()
    call_command("migrate", verbosity=0)
    with redirect_stdout(sys.stderr):
        rows = row_15(Path(os.environ["DATA_DIR"]))
    server = LibvirtServer()
    server.start()
    try:
        rows += row_6(asked.domains)
    finally:
        server.close()
    show(rows, as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
