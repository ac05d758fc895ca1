"""A department on a real libvirt, another beside it on a double, and the watcher as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from compute.models import Vm
from compute.services.providers import connect_provider, own_storage, share_out
from compute.services.templates import TemplateRequest, import_template
from portal.common.actor import system_actor
from portal.hypervisors.models import Provider
from tests.hypervisors.libvirt.real import RealPlace, empty_image, real_place, until
from tests.jobs.workers import REPOSITORY, database_url
from tests.lab.libvirt_server import LibvirtServer


@pytest.fixture
def db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The rows are the package's: no test of it takes back what another has made."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="package")
def package_place(
    session_libvirtd: LibvirtServer,
    tiny_linux_image: Path,
    django_db_setup: None,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RealPlace]:
    folder = tmp_path_factory.mktemp("place")
    template = empty_image(folder)
    with (
        django_db_blocker.unblock(),
        real_place(session_libvirtd, tiny_linux_image, folder, template=template) as place,
    ):
        yield place


@pytest.fixture
def place(db: None, package_place: RealPlace) -> Iterator[RealPlace]:
    """An institute on a real libvirt, whose machines have no system. A test may freeze, kill or stop it: the next one finds it answering."""
    package_place.libvirtd.start()
    yield package_place
    if package_place.libvirtd.is_running:
        package_place.libvirtd.thaw()


@pytest.fixture(scope="package")
def package_pair(package_place: RealPlace) -> tuple[Vm, Vm]:
    return package_place.machine("one"), package_place.machine("two", "bob")


@pytest.fixture
def pair(package_pair: tuple[Vm, Vm], place: RealPlace) -> tuple[Vm, Vm]:
    """Two machines that run, alice's and bob's."""
    for vm, who in zip(package_pair, ("alice", "bob"), strict=True):
        vm.refresh_from_db()
        if vm.status == "down":
            place.do("run", vm, who)
    return package_pair


@pytest.fixture(scope="package")
def far(package_place: RealPlace, tmp_path_factory: pytest.TempPathFactory) -> Vm:
    """A machine of informatics on another provider, a double."""
    folder = tmp_path_factory.mktemp("far")
    actor, place = system_actor(), package_place
    provider = connect_provider(actor, name="far", kind="double", address=f"double://{folder}/hypervisor")
    image = folder / "image.qcow2"
    image.write_bytes(b"QFI\xfb" + bytes(1020))
    template, job = import_template(actor, TemplateRequest("Far", image, own_storage(provider), 1, 256, 128))
    place.ended(job)
    template.refresh_from_db()
    share_out(actor, place.centers["informatics"], provider=provider, templates=(template,))
    return place.machine("far", "charlie", "informatics", template=template)


@pytest.fixture(scope="package")
def watcher(package_place: RealPlace, far: Vm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """``manage.py watch`` on the test's database."""
    with watching(tmp_path_factory.mktemp("watcher") / "log"):
        yield


@contextmanager
def watching(log: Path) -> Iterator[None]:
    environment = os.environ | {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "portal.settings.test"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "watch"], cwd=REPOSITORY, env=environment, stdout=output, stderr=output
        )
    try:
        until(lambda: not Provider.objects.exclude(watcher_holder__contains=f":{process.pid}").exists(), "the watcher")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
