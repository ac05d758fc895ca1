"""libvirt's errors become ours, and its words never a user's."""

from __future__ import annotations

import errno
from typing import Any

import libvirt
import pytest

from portal.hypervisors import errors
from portal.hypervisors.libvirt.failures import calling, is_missing, translated

TEXT = "Cannot access /var/lib/libvirt/images/secret.qcow2 on host7 as libvirt:s3cret"
CASES = {
    libvirt.VIR_ERR_NO_DOMAIN: errors.NotFound,
    libvirt.VIR_ERR_NO_STORAGE_VOL: errors.NotFound,
    libvirt.VIR_ERR_NO_NWFILTER: errors.NotFound,
    libvirt.VIR_ERR_DOM_EXIST: errors.AlreadyExists,
    libvirt.VIR_ERR_STORAGE_VOL_EXIST: errors.AlreadyExists,
    libvirt.VIR_ERR_OPERATION_INVALID: errors.Busy,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: errors.Busy,
    libvirt.VIR_ERR_AUTH_FAILED: errors.Denied,
    libvirt.VIR_ERR_OPERATION_DENIED: errors.Denied,
    libvirt.VIR_ERR_NO_SUPPORT: errors.Unsupported,
    libvirt.VIR_ERR_XML_ERROR: errors.Invalid,
    libvirt.VIR_ERR_NO_MEMORY: errors.NoCapacity,
    libvirt.VIR_ERR_INTERNAL_ERROR: errors.HypervisorError,
    libvirt.VIR_ERR_OPERATION_FAILED: errors.HypervisorError,
    999_999: errors.HypervisorError,
}
WORDS = {
    "qemu-img: disk.qcow2: No space left on device": errors.NoCapacity,
    "Unable to write: Disk quota exceeded": errors.NoCapacity,
    "cannot set up guest memory 'pc.ram': Cannot allocate memory": errors.NoCapacity,
    "pool 'p' has asynchronous jobs running.": errors.Busy,
    "Network is already in use by interface virbr0": errors.RangeOnHost,
}


def failure(
    code: int, text: str = TEXT, *, domain: int = libvirt.VIR_FROM_QEMU, number: int = 0
) -> libvirt.libvirtError:
    """An error as the library raises it."""
    error = libvirt.libvirtError("")
    error.err = (code, domain, text, libvirt.VIR_ERR_ERROR, None, None, None, number, 0)
    error.args = (text,)
    return error


@pytest.mark.parametrize(("code", "kind"), CASES.items())
def test_each_code_has_a_kind_of_error(code: int, kind: type[errors.HypervisorError]) -> None:
    assert type(translated(failure(code), what="try")) is kind


@pytest.mark.parametrize(("text", "kind"), WORDS.items())
def test_what_has_no_code_of_its_own_is_known_by_its_words(text: str, kind: type[errors.HypervisorError]) -> None:
    assert type(translated(failure(libvirt.VIR_ERR_INTERNAL_ERROR, text), what="try")) is kind


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.ENOMEM])
def test_a_full_host_is_known_by_the_kernels_number(number: int) -> None:
    assert type(translated(failure(libvirt.VIR_ERR_SYSTEM_ERROR, number=number), what="try")) is errors.NoCapacity


@pytest.mark.parametrize(
    ("why", "kind"),
    {"No such file or directory": errors.DiskGone, "Permission denied": errors.HypervisorError}.items(),
)
def test_a_machine_whose_disks_file_is_gone_is_known_by_libvirts_words(
    why: str, kind: type[errors.HypervisorError]
) -> None:
    """As libvirt 9.0 says it, of the disk itself and of what it lies over."""
    for file in (
        "storage file '/srv/pool/secret.qcow2' (as uid:64055, gid:108)",
        "backing file '/srv/pool/base.qcow2' of storage file '/srv/pool/secret.qcow2' (as uid:64055, gid:108)",
    ):
        text = f"Cannot access {file}: {why}"
        error = translated(failure(libvirt.VIR_ERR_SYSTEM_ERROR, text, number=errno.ENOENT), what="run")
        assert (type(error), "secret" in error.public) == (kind, False)


@pytest.mark.parametrize("domain", [libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE])
def test_a_connection_that_breaks_under_a_call_leaves_its_outcome_unknown(domain: int) -> None:
    for code in (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_INVALID_CONN):
        assert type(translated(failure(code, domain=domain), what="try")) is errors.OutcomeUnknown
    # The other end answered, through the same channel.
    assert type(translated(failure(libvirt.VIR_ERR_NO_DOMAIN, domain=domain), what="try")) is errors.NotFound


@pytest.mark.parametrize(
    "code", [libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INTERNAL_ERROR]
)
def test_a_connection_that_does_not_open_changed_nothing(code: int) -> None:
    error = translated(failure(code, domain=libvirt.VIR_FROM_RPC), what="connect", opening=True)
    assert type(error) is errors.Unavailable
    denied = translated(failure(libvirt.VIR_ERR_AUTH_FAILED), what="connect", opening=True)
    assert type(denied) is errors.Denied


@pytest.mark.parametrize("code", CASES)
def test_IN19_what_users_read_holds_no_host_path_or_secret(code: int) -> None:  # noqa: N802
    with pytest.raises(errors.HypervisorError) as raised, calling("try"):
        raise failure(code)
    assert not any(word in raised.value.public + str(raised.value) for word in ("/var", "host7", "s3cret"))
    assert "try: Cannot access" in raised.value.detail


def test_other_exceptions_pass_as_they_are() -> None:
    def work() -> Any:
        with calling("try"):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        work()


def test_absence_is_told_from_failure() -> None:
    assert is_missing(failure(libvirt.VIR_ERR_NO_STORAGE_POOL))
    assert not is_missing(failure(libvirt.VIR_ERR_INTERNAL_ERROR, "no storage pool with matching name"))
