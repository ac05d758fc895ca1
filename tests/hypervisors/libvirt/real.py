"""Two departments on a real libvirt with QEMU: made, used and purged by the portal's own services."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

from django.core.management import call_command

from compute import rules
from compute.models import Vm
from compute.services import vms
from compute.services.wishes import VmRequest
from portal.hypervisors.base import Driver
from portal.hypervisors.connect import driver_for, forget
from portal.hypervisors.models import Provider
from portal.hypervisors.specs import VmRef
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tests.guest.conftest import KeyPair, make_key
from tests.lab.libvirt_server import LibvirtServer
from tests.lab.rows import sweep
from tests.people import Institute, make_institute

# Tiny Linux needs no more; the pages of many machines are many.
MEMORY_MIB = 160
# A guest boots within seconds, on a machine that is busy with other tests it takes its time.
BOOT_SECONDS = 90.0
CALL_SECONDS = 40
SSH = "-F none -oBatchMode=yes -oConnectTimeout=5 -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oLogLevel=ERROR"


@dataclass(kw_only=True)
class RealPlace(Institute):
    """An institute whose provider is a real libvirt; its users' SSH key, and libvirt seen from behind."""

    libvirtd: LibvirtServer
    image: Path
    key: KeyPair

    @property
    def driver(self) -> Driver:
        """The driver of its provider, bounded."""
        return driver_for(self.provider)

    def ask(self, name: str, who: str = "alice", center: str = "physics", **more: Any) -> tuple[Vm, Job]:
        """A machine with the SSH key, asked for; its job is not yet run."""
        first = {"user_name": "alice", "ssh_authorized_keys": (self.key.public,), "memory_mib": MEMORY_MIB}
        template = more.pop("template", self.template)
        request = VmRequest(name, self.centers[center].pk, template.pk, **(first | more))
        return vms.create_vm(self.actor(who), request)

    def machine(self, name: str, who: str = "alice", center: str = "physics", **more: Any) -> Vm:
        """A machine that is there."""
        vm, job = self.ask(name, who, center, **more)
        self.ended(job)
        vm.refresh_from_db()
        return vm

    def do(self, verb: str, vm: Vm, who: str = "alice") -> Job:
        """A verb asked for and done."""
        return self.ended(getattr(vms, f"{verb}_vm")(self.actor(who), vm.pk))

    @staticmethod
    def ended(job: Job) -> Job:
        """The job, run to its good end."""
        done = run_to_end(job.pk)
        assert done.status == "finished", done.error
        return done

    def disks(self) -> set[UUID]:
        """The disks of ours that libvirt has, the template's image among them."""
        return {disk.ref.uid for disk in self.driver.our_disks(self.template.storage_domain.external_id)}

    def guest(self, vm: Vm) -> Guest:
        """The machine, seen from within."""
        return Guest(self, vm)


def domain_name(vm: Vm) -> str:
    """What libvirt calls a machine."""
    return rules.provider_name(vm.name, vm.pk.hex)


def ref(vm: Vm) -> VmRef:
    """How driver and portal name it."""
    return VmRef(vm.pk, vm.external_id)


def empty_image(folder: Path) -> Path:
    """A disk without a system, for machines that nobody looks into: to emulate the start of one is work."""
    image = folder / "empty.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1G"], check=True, timeout=30)
    return image


@contextmanager
def real_place(
    libvirtd: LibvirtServer, image: Path, folder: Path, *, template: Path | None = None
) -> Iterator[RealPlace]:
    """An institute on this libvirt; its template is of ``image`` unless another is named. At its end everything of the portal is
    purged and the rows are gone.
    """
    libvirtd.start()
    options = {"accelerator": "tcg"}
    institute = make_institute(folder, kind="libvirt", address=libvirtd.uri, options=options, image=template or image)
    key = make_key(folder / "alice", "alice@physics")
    known = (institute.provider, institute.template, institute.centers, institute.users)
    yield RealPlace(*known, libvirtd=libvirtd, image=image, key=key)
    libvirtd.start()
    call_command("purge_marked", yes=True)
    for uid in Provider.objects.values_list("uid", flat=True):
        forget(uid)
    sweep()


class Guest:
    """A machine, seen from within: over SSH as its user, through its agent as root."""

    def __init__(self, place: RealPlace, vm: Vm) -> None:
        self.place, self.vm, self.domain = place, vm, domain_name(vm)

    @cached_property
    def address(self) -> str:
        """The address that the driver shows for it, as soon as there is one."""
        return str(until(lambda: self.place.driver.addresses(ref(self.vm)), f"an address of {self.vm.name}")[0].ip)

    @cached_property
    def mac(self) -> str:
        return str(self.vm.nics.get().mac)

    @cached_property
    def tap(self) -> str:
        """The host's end of its network card, until it is switched off."""
        text = self.place.libvirtd.virsh("dumpxml", self.domain).stdout
        target = ET.fromstring(text).find("devices/interface/target")
        assert target is not None
        return target.attrib["dev"]

    def ssh(self, command: str, *, key: Path | None = None) -> subprocess.CompletedProcess[str]:
        """One attempt to run a command, with the key given at creation or another."""
        login = ["-i", str(key or self.place.key.private), f"alice@{self.address}"]
        arguments = ["ssh", *SSH.split(), *login, command]
        return subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=CALL_SECONDS
        )

    def says(self, command: str) -> str:
        """What a command prints there; as soon as SSH is up."""
        done: subprocess.CompletedProcess[str] = until(
            lambda: (said := self.ssh(command)).returncode != 255 and said, f"SSH of {self.vm.name}"
        )
        return done.stdout

    def as_root(self, script: str) -> str:
        """What a script prints that root runs there; the agent needs no network."""
        started = until(lambda: self._ask_agent("guest-exec", **_shell(script)), f"the agent of {self.vm.name}")
        ended = until(
            lambda: (said := self._ask_agent("guest-exec-status", pid=started["pid"]) or {}).get("exited") and said,
            "the script's end",
        )
        return base64.b64decode(ended.get("out-data", "")).decode("utf-8", "replace")

    def _ask_agent(self, command: str, **arguments: Any) -> dict[str, Any]:
        order = json.dumps({"execute": command, "arguments": arguments})
        done = self.place.libvirtd.virsh("qemu-agent-command", self.domain, order, "--timeout=10", check=False)
        answer: dict[str, Any] = json.loads(done.stdout)["return"] if done.returncode == 0 else {}
        return answer


def _shell(script: str) -> dict[str, Any]:
    return {"path": "/bin/sh", "arg": ["-c", script], "capture-output": True}


def until(happened: Callable[[], Any], what: str, *, seconds: float = BOOT_SECONDS, every: float = 0.2) -> Any:
    """The first answer that counts as true."""
    deadline = time.monotonic() + seconds
    while not (answer := happened()):
        assert time.monotonic() < deadline, f"no {what} within {seconds:g} s"
        time.sleep(every)
    return answer
