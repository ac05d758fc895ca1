"""The one place where libvirt's errors become ours.

``public`` sentences say nothing of hosts, paths or credentials: libvirt's own text goes to ``detail``, for the log.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import libvirt

from portal.hypervisors.errors import (
    AlreadyExists,
    Busy,
    Denied,
    DiskGone,
    HypervisorError,
    Invalid,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    RangeOnHost,
    Unavailable,
    Unsupported,
)

T = TypeVar("T")

_KINDS: dict[type[HypervisorError], tuple[int, ...]] = {
    NotFound: (
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_NO_NETWORK,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_NO_STORAGE_VOL,
        libvirt.VIR_ERR_NO_NWFILTER,
        libvirt.VIR_ERR_NO_INTERFACE,
        libvirt.VIR_ERR_NO_DOMAIN_METADATA,
    ),
    AlreadyExists: (
        libvirt.VIR_ERR_DOM_EXIST,
        libvirt.VIR_ERR_NETWORK_EXIST,
        libvirt.VIR_ERR_STORAGE_VOL_EXIST,
    ),
    Busy: (
        libvirt.VIR_ERR_RESOURCE_BUSY,
        libvirt.VIR_ERR_OPERATION_TIMEOUT,  # another call holds the machine
        libvirt.VIR_ERR_OPERATION_INVALID,  # not in this state: look again
        libvirt.VIR_ERR_BLOCK_COPY_ACTIVE,
        libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    ),
    Unavailable: (
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_OPEN_FAILED,
        libvirt.VIR_ERR_UNKNOWN_HOST,
        libvirt.VIR_ERR_GNUTLS_ERROR,
        libvirt.VIR_ERR_SSH,
        libvirt.VIR_ERR_LIBSSH,
    ),
    Denied: (
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_ACCESS_DENIED,
        libvirt.VIR_ERR_OPERATION_DENIED,
    ),
    Unsupported: (
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
    ),
    Invalid: (
        libvirt.VIR_ERR_XML_ERROR,
        libvirt.VIR_ERR_XML_DETAIL,
        libvirt.VIR_ERR_XML_INVALID_SCHEMA,
        libvirt.VIR_ERR_INVALID_ARG,
        libvirt.VIR_ERR_INVALID_MAC,
        libvirt.VIR_ERR_PARSE_FAILED,
    ),
    NoCapacity: (libvirt.VIR_ERR_NO_MEMORY,),
}
_BY_CODE = {code: kind for kind, codes in _KINDS.items() for code in codes}

_FULL_ERRNO = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM}
# What libvirt reports without a code of its own ("internal error", "operation failed"), by its words or those of QEMU and
# qemu-img, which it passes on.
_WORDS: dict[str, type[HypervisorError]] = {
    "No space left on device": NoCapacity,
    "Disk quota exceeded": NoCapacity,
    "Cannot allocate memory": NoCapacity,
    "has asynchronous jobs running": Busy,
    "Network is already in use by interface": RangeOnHost,
    "storage volume name": Busy,  # "... already in use": another call makes this copy
}
# Of a machine whose disk's file is not there, or one that it lies over; the kernel's number alone may be of any file.
_DISK_GONE = re.compile(r"Cannot access (storage|backing) file .*No such file or directory", re.DOTALL)
# Of a machine on a network that is stopped or unknown, or on a bridge that the host does not have.
_NETWORK_GONE = re.compile(r"network '.*' is not active|no network with matching name|Cannot get interface MTU on")
# What SSH says, which libvirt passes on: the host is not the one that was pinned; it does not take the key.
_OTHER_HOST_KEY = "Host key verification failed"
_SSH_DENIED = "Permission denied ("
_TRANSPORT = {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}


@contextmanager
def calling(what: str, *, opening: bool = False) -> Iterator[None]:
    """Run libvirt calls and raise our errors in place of libvirt's. ``opening``: nothing has been asked for yet."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise translated(error, what=what, opening=opening) from error


def translated(error: libvirt.libvirtError, *, what: str, opening: bool = False) -> HypervisorError:
    """Our error for one of libvirt's."""
    detail = f"{what}: {error} (libvirt error {error.get_error_code()}/{error.get_error_domain()})"
    if opening and _OTHER_HOST_KEY in str(error):
        return Unavailable("The hypervisor's host shows another key than the one that was pinned.", detail=detail)
    kind = _kind(error)
    if not opening and (kind is Unavailable or _is_broken_transport(error, kind)):
        kind = OutcomeUnknown
    if opening and kind not in {Denied, Unsupported}:
        kind = Unavailable
    return kind(detail=detail)


def those_there(listed: Iterable[Any], read: Callable[[Any], T]) -> Iterator[T]:
    """What is read of each of the listed objects; one that went meanwhile is left out. Within ``calling``."""
    for each in listed:
        try:
            result = read(each)
        except libvirt.libvirtError as error:
            if not is_missing(error):
                raise
        else:
            yield result


def named(volumes: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Volumes by name. A file whose name is no UTF-8 is left out: none of ours, and of no name by which it could be asked for."""
    for volume in volumes:
        try:
            name = volume.name()
        except UnicodeDecodeError:
            continue
        yield name, volume


def is_taken(error: BaseException) -> bool:
    """Whether a volume could not be made because another call has begun it: then it is not ours to remove."""
    if not isinstance(error, libvirt.libvirtError):
        return False
    return error.get_error_code() == libvirt.VIR_ERR_STORAGE_VOL_EXIST or _kind(error) is Busy


def is_missing(error: libvirt.libvirtError) -> bool:
    """Whether the object asked for is simply not there."""
    return _BY_CODE.get(error.get_error_code()) is NotFound


def is_without_network(error: libvirt.libvirtError) -> bool:
    """Whether a machine did not start for want of something that it has a card on."""
    return _NETWORK_GONE.search(str(error)) is not None


def refuse_silence(error: libvirt.libvirtError, *, what: str) -> None:
    """Raise ours for a connection that broke; whatever else libvirt says is for the caller, who can do without."""
    ours = translated(error, what=what)
    if isinstance(ours, Unavailable):
        raise ours from error


def _kind(error: libvirt.libvirtError) -> type[HypervisorError]:
    code, text = error.get_error_code(), str(error)
    if code == libvirt.VIR_ERR_SYSTEM_ERROR and error.get_int1() in _FULL_ERRNO:
        return NoCapacity
    if _DISK_GONE.search(text):
        return DiskGone
    said = (kind for words, kind in _WORDS.items() if words in text)
    if code == libvirt.VIR_ERR_SYSTEM_ERROR and _SSH_DENIED in text:
        return Denied
    return _BY_CODE.get(code) or next(said, HypervisorError)


def _is_broken_transport(error: libvirt.libvirtError, kind: type[HypervisorError]) -> bool:
    """The connection broke under the call: it was sent, or was not, and may have taken effect."""
    return kind is HypervisorError and error.get_error_domain() in _TRANSPORT
