"""A template of a machine sealed by the real virt-sysprep on a real libvirt: what was planted is gone, the rest is whole and boots."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from compute import sealing
from compute.models import StorageDomain, Template
from portal.jobs.models import Job
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.patience import until
from tests.flows.real_place import RealPlace, clear_real_place, make_real_place
from tests.flows.test_real_copies import finished
from tests.flows.test_real_images import answers, asked
from tests.jobs.workers import Workers
from tests.lab.libvirt_server import LibvirtServer

pytestmark = pytest.mark.django_db(transaction=True)

GUEST_PACKAGES = Path(__file__).resolve().parents[2] / ".state" / "cache" / "tiny-linux"
ROOT_AT = 32 * 1024 * 1024  # where on its disk the root of Tiny Linux begins
SECRET = os.urandom(64).hex()
GONE = ("/etc/ssh/ssh_host_ed25519_key", "/etc/dropbear/dropbear_ed25519_host_key", "/var/log/auth.log", "/root/.ssh/id_ed25519",
        "/root/.python_history", "/var/lib/git/.ssh/id_ed25519", "/var/lib/cloud/instance/user-data.txt")  # fmt: skip
KEPT = "/etc/motd"


@pytest.fixture
def place(
    transactional_db: None, tmp_path: Path, libvirtd: LibvirtServer, tiny_linux_image: Path, settings: Any
) -> Iterator[RealPlace]:
    settings.IMAGE_SPOOL, settings.DATA_DIR = tmp_path / "spool", tmp_path
    settings.SYSPREP_FOLDER = "/usr/bin"
    settings.SYSPREP_KERNEL, settings.SYSPREP_MODULES = map(str, kernel(tmp_path))
    sealing.remember("", is_emulated=True)  # a try is one start more; the KVM of a machine of tests may hang
    place = make_real_place(tmp_path, libvirtd, planted(tiny_linux_image, tmp_path))
    yield place
    clear_real_place(place)


def kernel(folder: Path) -> tuple[Path, Path]:
    """That of Tiny Linux with its modules, so that none need be installed; they lack the list that an installation makes."""
    [tree] = GUEST_PACKAGES.glob("tree-*")
    [image] = (tree / "boot").glob("vmlinuz-*")
    version = image.name.removeprefix("vmlinuz-")
    modules = folder / "lib" / "modules" / version
    shutil.copytree(tree / "lib" / "modules" / version, modules)
    subprocess.run(["depmod", "-b", folder, version], check=True)
    return image, modules


def planted(image: Path, folder: Path) -> Path:
    """The image with what a machine has after some time, and something that is to stay."""
    raw, made, secret = folder / "disk.raw", folder / "planted.qcow2", folder / "secret"
    secret.write_text(SECRET)
    identity = folder / "machine-id"
    identity.write_text("0123456789abcdef0123456789abcdef\n")
    kept = folder / "motd"
    kept.write_text("as it was\n")
    folders = (
        "/etc/ssh",
        "/root/.ssh",
        "/var/lib/git",
        "/var/lib/git/.ssh",
        "/var/lib/cloud",
        "/var/lib/cloud/instance",
    )
    writes = [*((secret, name) for name in GONE), (identity, "/etc/machine-id"), (kept, KEPT)]
    commands = [*(f"mkdir {name}" for name in folders), *(f"write {source} {name}" for source, name in writes)]
    qemu_img("convert", "-O", "raw", image, raw)
    debugfs(raw, "\n".join(commands), write=True)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, made)
    assert SECRET.encode() in made.read_bytes()
    return made


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)


def debugfs(raw: Path, commands: str, *, write: bool = False) -> str:
    command = ["debugfs", *(["-w"] if write else []), "-f", "-", f"{raw}?offset={ROOT_AT}"]
    return subprocess.run(command, input=commands, check=True, capture_output=True, text=True).stdout


@pytest.mark.timeout(600)  # two starts of the programs' own machine, emulated, and one of the guest
def test_a_sealed_template_holds_nothing_of_the_machine_is_whole_and_boots(
    place: RealPlace, workers: Workers, tmp_path: Path
) -> None:
    root = Client()
    root.force_login(place.users["root"])
    center, domain = str(place.centers["physics"].pk), StorageDomain.objects.get(external_id=place.pool)
    source = {"name": "source", "data_center": center, "template": str(place.template.pk), "run": False}
    first = asked(root, "vms", source | {"initial_run": {"user_name": "ada"}})
    finished(workers, first)
    wish = {"storage_domain": str(domain.pk), "memory_mib": 192, "memory_min_mib": 128, "data_center": center}
    wish |= {"has_cloud_init": True, "has_agent": True, "seal": True}
    told = asked(root, "templates", wish | {"name": "Sealed", "vm": first["vm"]["id"]})
    finished(workers, told)
    row = Template.objects.get(pk=told["template"]["id"])
    assert (row.status, row.is_sealed) == ("ok", True)

    image = Path(place.virsh("vol-path", f"{place.pool}-{row.pk}.qcow2", "--pool", place.pool).strip())
    assert SECRET.encode() not in image.read_bytes(), "what is deleted is not on the disk either"
    raw = tmp_path / "sealed.raw"
    qemu_img("convert", "-f", "qcow2", "-O", "raw", image, raw)
    whole = subprocess.run(["e2fsck", "-fn", f"{raw}?offset={ROOT_AT}"], capture_output=True, text=True, check=False)
    assert whole.returncode == 0, whole.stdout
    assert debugfs(raw, f"cat {KEPT}").count("as it was") == 1
    assert "Size: 0\n" in debugfs(raw, "stat /etc/machine-id"), "each machine makes its own"
    assert "Inode:" in debugfs(raw, f"stat {KEPT}")
    for name in GONE:
        assert "Inode:" not in debugfs(raw, f"stat {name}"), name

    copy = asked(root, "vms", source | {"name": "copy", "template": str(row.pk), "run": True})
    finished(workers, copy)
    until(lambda: answers(place, copy["vm"]["id"]), seconds=150)
    assert_nothing_lost(place)
    assert Job.objects.filter(operation="compute.sealed_template_of_machine", status="finished").exists()
