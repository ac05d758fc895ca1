"""What a running machine's screen shows."""

from __future__ import annotations

from typing import Any

import libvirt

from portal.hypervisors.errors import Busy, NoCapacity, Unsupported
from portal.hypervisors.libvirt.connection import Session
from portal.hypervisors.libvirt.failures import calling
from portal.hypervisors.libvirt.vms import Machines
from portal.hypervisors.specs import LARGEST_SCREENSHOT, VmRef

FIRST_SCREEN = 0


def screenshot(session: Session, machines: Machines, ref: VmRef) -> bytes:
    """The bytes of an image as the hypervisor makes it: PNG, or PPM of QEMU before 7.1. See the contract."""
    with calling("take a screenshot"):
        domain, _facts = machines.ours(ref.uid)
        if not domain.isActive():
            raise Busy("The machine is not running.", detail=f"domain {ref.uid} has no screen")
        stream = session.libvirt().newStream(0)
        try:
            domain.screenshot(stream, FIRST_SCREEN, 0)
        except libvirt.libvirtError as error:
            # A machine without a video card; libvirt has no code of its own for that.
            if error.get_error_code() == libvirt.VIR_ERR_INVALID_ARG:
                raise Unsupported(detail=f"domain {ref.uid} has no screen") from error
            raise
        return _received(stream)


def _received(stream: Any) -> bytes:
    """All of it, unless it is larger than any screen: then the rest is left where it is."""
    found = bytearray()
    try:
        while chunk := stream.recv(256 * 1024):
            found += chunk
            if len(found) > LARGEST_SCREENSHOT:
                raise NoCapacity(detail=f"a screenshot of more than {LARGEST_SCREENSHOT} bytes")
        stream.finish()
    except BaseException:
        stream.abort()
        raise
    return bytes(found)
