"""Credentials are replaced while calls and the watcher are at work: nothing breaks off, and nothing is told as down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import pytest

from compute.services import providers
from compute.services.providers import ProviderEdit
from compute.sync import watcher
from compute.sync.inventory import sync_provider
from compute.sync.watcher import ProviderWatcher
from portal.common.actor import Actor
from portal.events.models import Event
from portal.hypervisors.connect import driver_for
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import DiskFound, DiskSpec, Inventory
from tests.hypervisors.far.test_connecting import over_ssh
from tests.hypervisors.libvirt.real import until
from tests.lab.far_host import FarHost

pytestmark = [pytest.mark.libvirt, pytest.mark.long]
MIB = 1024**2


class Watched:
    """A provider's watcher at work: by which secrets it read all, and what it would tell of one that does not answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read_by: list[str] = []
        self.silent: list[str] = []
        monkeypatch.setattr(watcher, "RETRY_SECONDS", 0.1)
        monkeypatch.setattr(watcher, "sync_provider", self._read)
        monkeypatch.setattr(ProviderWatcher, "_silent", lambda _watcher, error: self.silent.append(error.detail))

    def _read(self, provider: Provider) -> Inventory:
        found = sync_provider(provider)
        self.read_by.append(provider.sealed_secrets)
        return found

    @contextmanager
    def at_work(self, row: Provider) -> Iterator[None]:
        stop = threading.Event()
        thread = ProviderWatcher(row.pk, stop)
        thread.start()
        try:
            until(lambda: self.has_read(row), "the watcher at work")
            yield
        finally:
            stop.set()
            thread.join(30)

    def has_read(self, row: Provider) -> bool:
        assert self.silent == []
        return row.sealed_secrets in self.read_by


@contextmanager
def in_flight(row: Provider, spec: DiskSpec) -> Iterator[Callable[[], DiskFound]]:
    """An upload that has sent half of its bytes and waits; calling sends the rest, and gives what came of it."""
    half_way, go_on = threading.Event(), threading.Event()

    def chunks() -> Iterator[bytes]:
        yield bytes(MIB // 2)
        half_way.set()
        assert go_on.wait(60)
        yield b"\1" * (MIB // 2)

    def rest() -> DiskFound:
        go_on.set()
        return call.result(60)

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(lambda: driver_for(row).upload_disk(spec, chunks=chunks()))
        try:
            assert half_way.wait(60)
            yield rest
        finally:
            go_on.set()


def replace_key(far: FarHost, root: Actor, row: Provider) -> None:
    """The new key is let in, given to the portal, and the old one shut out."""
    allowed = far.folder / "user.pub"
    allowed.write_text(f"{far.public('user')}\n{far.public('stranger')}\n")
    providers.edit_provider(root, row.pk, ProviderEdit(secrets={"ssh_key": far.key("stranger")}))
    allowed.write_text(f"{far.public('stranger')}\n")


def test_credentials_are_replaced_under_a_call_in_flight_and_nothing_is_told_as_down(far, root, monkeypatch):
    allowed = (far.folder / "user.pub").read_text()
    row, watched = providers.connect_provider(root, name="far", **over_ssh(far)), Watched(monkeypatch)
    spec = DiskSpec(uuid4(), providers.pool_name(), MIB, format="raw")
    try:
        with watched.at_work(row), in_flight(row, spec) as rest:
            replace_key(far, root, row)
            now = Provider.objects.get(pk=row.pk)
            assert now.sealed_secrets != row.sealed_secrets
            assert driver_for(now).about().host_name == "far.example", "the next call, by the new ones"
            uploaded = rest()
            assert uploaded.size_bytes == MIB, "the one in flight, by the old ones"
            assert driver_for(row).find_disk(uploaded.ref) == uploaded, "for who holds the old ones still"
            until(lambda: watched.has_read(now), "the watcher to go on by the new ones")
        assert watched.silent == []
        assert Provider.objects.get(pk=row.pk).status == "up"
        assert not Event.objects.filter(severity__in=["error", "alert"]).exists()
        folder = far.folder / "root/var/lib/libvirt/images" / providers.pool_name()
        assert [path.read_bytes() for path in folder.glob(f"*{spec.uid}*")] == [bytes(MIB // 2) + b"\1" * (MIB // 2)]
    finally:
        (far.folder / "user.pub").write_text(allowed)
