"""Whether machines run on KVM or are emulated: found out by trying, not by trusting the listing.

``/dev/kvm`` may be listed and fail at start, or run a machine's firmware and then hang or break in its boot loader. So a
tiny machine is started whose 512 bytes of code go the way of every boot loader: wait for the clock, protected mode, return
from an interrupt, paging, long mode. Then they write to the panic device, which libvirt shows as "crashed (panicked)": seen
from outside, nothing else looks like it. Anything but that within a few seconds means emulation.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import libvirt

from portal.hypervisors.errors import HypervisorError
from portal.hypervisors.libvirt import names
from portal.hypervisors.libvirt.connection import Session
from portal.hypervisors.libvirt.failures import calling
from portal.hypervisors.libvirt.storage import Storage
from portal.hypervisors.libvirt.xml import E, metadata, parse, write

log = logging.getLogger(__name__)

KVM = "kvm"
TCG = "tcg"
PROBE_SECONDS = 8.0
POLL_SECONDS = 0.05
HUNG_SECONDS = 3 * PROBE_SECONDS  # a try that has not come back by then counts as failed
# For how long what a try showed is believed. Emulation may have been a busy host's, or be mended just now.
TCG_SECONDS = 300.0
KVM_SECONDS = 3600.0
DISK_BYTES = 1024 * 1024  # the firmware boots from no smaller disk

# The boot sector, assembled; each line in AT&T syntax. It is loaded at 0x7c00.
CODE = bytes.fromhex(
    "fa 31c0 8ed8 8ec0 8ed0 bc007c"  # cli; xor %ax,%ax; mov %ax,%ds %es %ss; mov $0x7c00,%sp
    "ea117c0000"  # ljmp $0,$real
    "fb 8b1e6c04 83c302"  # real: sti; mov 0x46c,%bx; add $2,%bx (two ticks of the clock from now)
    "f4 391e6c04 72f9 fa"  # tick: hlt; cmp %bx,0x46c; jb tick; cli
    "66c7060010 03200000"  # movl $0x2003,0x1000 (page tables: 512 GiB ->
    "66c7060020 03300000"  # movl $0x3003,0x2000  -> 1 GiB ->
    "66c7060030 83000000"  # movl $0x0083,0x3000  -> one page of 2 MiB, as it is)
    "0f0116d07c"  # lgdt gdtr
    "0f20c0 0c01 0f22c0"  # mov %cr0,%eax; or $1,%al; mov %eax,%cr0 (protected mode)
    "ea4e7c0800"  # ljmp $8,$protected
    "66b81000 8ed8 8ed0 bc007c0000"  # protected: mov $0x10,%ax; mov %ax,%ds %ss; mov $0x7c00,%esp
    "9c 6a08 68647c0000 cf"  # pushf; push $8; push $paging; iret
    "b800100000 0f22d8"  # paging: mov $0x1000,%eax; mov %eax,%cr3
    "0f20e0 0c20 0f22e0"  # mov %cr4,%eax; or $0x20,%al; mov %eax,%cr4 (physical address extension)
    "b9800000c0 0f32 80cc01 0f30"  # mov $0xc0000080,%ecx; rdmsr; or $1,%ah; wrmsr (long mode)
    "0f20c0 0d00000080 0f22c0"  # mov %cr0,%eax; or $0x80000000,%eax; mov %eax,%cr0 (paging)
    "ea927c00001800"  # ljmp $0x18,$long
    "48b8 4947455453000000 50 5b"  # long: movabs $0x5354454749,%rax; push %rax; pop %rbx
    "4839c3 7507"  # cmp %rax,%rbx; jne stop
    "66ba0505 b001 ee"  # mov $0x505,%dx; mov $1,%al; out %al,(%dx) (the panic device)
    "f4 ebfd 0f1f00"  # stop: hlt; jmp stop
    "0000000000000000 ffff0000009bcf00"  # gdt: nothing; code of 32 bits;
    "ffff00000093cf00 ffff0000009baf00"  #      data; code of 64 bits
    "1f00 b07c0000"  # gdtr
)


def boot_sector() -> bytes:
    """A disk with the code in its boot sector."""
    return (CODE.ljust(510, b"\0") + b"\x55\xaa").ljust(DISK_BYTES, b"\0")


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a try showed, and until when that is believed."""

    kind: str
    until: float


@dataclass(eq=False, slots=True)
class _Try:
    """One that is under way."""

    began: float = field(default_factory=time.monotonic)
    over: threading.Event = field(default_factory=threading.Event)
    shown: str = ""  # where it came back with an answer

    @property
    def seconds_left(self) -> float:
        """Until it counts as failed."""
        return self.began + HUNG_SECONDS - time.monotonic()


class _Known:
    """What this process found out and is about to, by libvirt's address: one try at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.shown: dict[str, _Shown] = {}
        self.tries: dict[str, _Try] = {}

    def believed(self, address: str) -> str:
        """What is known of it and not too old; else nothing."""
        with self.lock:
            shown = self.shown.get(address)
        return shown.kind if shown is not None and time.monotonic() < shown.until else ""

    def begin(self, address: str) -> tuple[_Try, bool]:
        """The try that is under way, and whether it is the caller's own: nobody else's was, or one that hangs for long."""
        with self.lock:
            tried = self.tries.get(address)
            if tried is not None and tried.seconds_left > -TCG_SECONDS:
                return tried, False
            self.tries[address] = own = _Try()
            return own, True

    def end(self, address: str, own: _Try, kind: str = "") -> None:
        """It came back; ``kind``: what it showed, if anything."""
        own.shown = kind
        with self.lock:
            if self.tries.get(address) is own:
                del self.tries[address]
                if kind:
                    seconds = KVM_SECONDS if kind == KVM else TCG_SECONDS
                    self.shown[address] = _Shown(kind, time.monotonic() + seconds)
        own.over.set()


_known = _Known()


class Accelerator:
    """The accelerator of one connection."""

    def __init__(self, session: Session, storage: Storage) -> None:
        self._session = session
        self._storage = storage

    def chosen(self, *, anew: bool = False) -> str:
        """ "kvm" or "tcg": the provider's option ``accelerator``, else what a try showed, here and not long ago.

        ``anew``: what was shown before is not believed; it is tried.
        """
        forced = self._session.connection.options.get("accelerator", "")
        if forced in {KVM, TCG}:
            return forced
        if self._session.is_test:
            return KVM
        address = self._session.connection.address
        while anew or not (believed := _known.believed(address)):
            tried, is_own = _known.begin(address)
            if is_own:
                return self._tried(address, tried)
            # Another call tries; if it is caught in one that hangs, those after it do not walk into it too.
            if not tried.over.wait(max(0.0, tried.seconds_left)):
                return TCG
            if tried.shown:
                return tried.shown
        return believed

    def _tried(self, address: str, own: _Try) -> str:
        kind = ""
        try:
            kind = KVM if self._is_listed() and self._works() else TCG
        finally:
            _known.end(address, own, kind)  # of one that failed nothing is known: the next call tries again
        return kind

    def _is_listed(self) -> bool:
        with calling("read capabilities"):
            root = parse(self._session.libvirt().getCapabilities())
        return any(
            domain.get("type") == KVM
            for arch in root.iterfind("guest/arch")
            if arch.get("name") == "x86_64"
            for domain in arch.iterfind("domain")
        )

    def _works(self) -> bool:
        try:
            with calling("try the accelerator"):
                return self._boots()
        except HypervisorError as error:
            if error.can_retry:
                raise
            log.warning("KVM is listed and does not start a machine; machines will be emulated: %s", error.detail)
            return False

    def _boots(self) -> bool:
        pool = self._pool()
        volume = self._storage.ensure_volume(pool, f"{self._session.prefix}-{names.BOOT_PROBE}", boot_sector())
        # Destroyed with the connection, whatever becomes of this process.
        flags = libvirt.VIR_DOMAIN_START_AUTODESTROY
        domain = self._session.libvirt().createXML(self._xml(pool, volume), flags)
        try:
            return self._arrives(domain)
        finally:
            domain.destroy()

    def _pool(self) -> str:
        """Our first storage domain, made where it is not there yet."""
        name = self._session.prefix
        return self._storage.ensure_storage_domain(name, path="").external_id

    @staticmethod
    def _arrives(domain: Any) -> bool:
        until = time.monotonic() + PROBE_SECONDS
        while time.monotonic() < until:
            state, reason = domain.state()[:2]
            if state == libvirt.VIR_DOMAIN_CRASHED:
                return bool(reason == libvirt.VIR_DOMAIN_CRASHED_PANICKED)
            if state != libvirt.VIR_DOMAIN_RUNNING:
                log.warning("KVM is listed and broke in a boot loader; machines will be emulated")
                return False
            time.sleep(POLL_SECONDS)
        log.warning("KVM is listed and a machine hung on it; machines will be emulated")
        return False

    def _xml(self, pool: str, volume: str) -> str:
        uid = uuid4()
        disk = E.disk(
            E.driver(name="qemu", type="raw"),
            E.source(pool=pool, volume=volume),
            E.target(dev="vda", bus="virtio"),
            E.readonly(),
            type="volume",
            device="disk",
        )
        return write(
            E.domain(
                E.name(names.probe(self._session.portal_id)),
                E.uuid(str(uid)),
                metadata(self._session.marker(uid)),
                E.memory("32", unit="MiB"),
                E.vcpu("1"),
                E.os(E.type("hvm", arch="x86_64", machine="q35"), E.boot(dev="hd")),
                E.features(E.acpi(), E.apic()),
                E.on_crash("preserve"),
                E.devices(disk, E.panic(model="isa"), E.memballoon(model="none")),
                type=KVM,
            )
        )
