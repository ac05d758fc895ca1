"""What an engine says, under the contract's errors; and what of its words users may read."""

from __future__ import annotations

import pytest
from ovirtsdk4 import AuthError, Error, NotFoundError, types

from portal.hypervisors.errors import (
    AlreadyExists,
    Busy,
    Denied,
    HypervisorError,
    Invalid,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    Unavailable,
    Unsupported,
)
from portal.hypervisors.ovirt.connection import refuse_old
from portal.hypervisors.ovirt.failures import Garbled, LogInRefused, Page, calling, translated, words
from portal.hypervisors.ovirt.transport import Broken
from tests.hypervisors.ovirt_driver.replay import API
from tests.hypervisors.ovirt_driver.samples import read

pytestmark = pytest.mark.once
RUN = "[Cannot run VM. There is no host that satisfies current scheduling constraints. See below for details:, The host node7 did not satisfy internal filter Memory because its available memory is too low (123 MB) to run the VM.]"
FAULTS = [
    (409, "[Cannot add VM. The VM name is already in use, please choose a unique name and try again.]", AlreadyExists),
    (409, "[Cannot run VM. Related operation is currently in progress. Please try again later.]", Busy),
    (409, "[Cannot remove VM. VM is running.]", Busy),
    (409, "[Cannot reboot VM because the VM is in Wait For Launch status.]", Busy),
    (409, "[Cannot start VM. The following disks are locked: web_Disk1. Please try again in a few minutes.]", Busy),
    (409, "[Cannot add Virtual Disk. Low disk space on Storage Domain data1.]", NoCapacity),
    (409, RUN, NoCapacity),
    (409, "[User is not authorized to perform this action.]", Denied),
    (409, "[Cannot add VM. Something of a version to come.]", HypervisorError),
    (400, "[Cannot add VM. The given name is invalid.]", Invalid),
    (400, "[Cannot attach Virtual Disk. The specified disk does not exist.]", NotFound),
    (500, "[Internal Engine Error]", OutcomeUnknown),
]


def fault(code: int, detail: str) -> Error:
    made = Error(f"HTTP response code is {code}")
    made.code, made.fault = code, types.Fault(detail=detail, reason="Operation Failed")
    return made


@pytest.mark.parametrize(("code", "detail", "kind"), FAULTS)
def test_the_engines_faults_are_the_contracts(code: int, detail: str, kind: type[HypervisorError]) -> None:
    found = translated(fault(code, detail), what="try")
    assert type(found) is kind
    assert "try: HTTP response code" in found.detail


def test_who_may_not_and_what_is_not_there_is_told_by_the_code() -> None:
    for error, kind in ((AuthError("no"), Denied), (NotFoundError("no"), NotFound)):
        error.code, error.fault = (403 if kind is Denied else 404), None
        assert type(translated(error, what="try")) is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Broken("no route", was_sent=False, mutates=True), Unavailable),
        (Broken("time-out", was_sent=True, mutates=False), Unavailable),
        (Broken("time-out", was_sent=True, mutates=True), OutcomeUnknown),
        (Page(503, "html", mutates=True), Unavailable),
        (Page(502, "html", mutates=True), OutcomeUnknown),
        (Page(502, "html", mutates=False), Unavailable),
        (Page(200, "html", mutates=True), OutcomeUnknown),
        (Page(401, "html", mutates=True), Denied),
        (Page(404, "html", mutates=False), Unavailable),
        (Garbled("cut", mutates=True), OutcomeUnknown),
        (Garbled("cut", mutates=False), Unavailable),
        (LogInRefused("access_denied"), Denied),
        (LogInRefused("server_error"), Unavailable),
    ],
)
def test_what_was_sent_and_not_answered_may_have_taken_effect(error: Exception, kind: type[HypervisorError]) -> None:
    assert type(translated(error, what="try")) is kind


def test_a_value_that_cannot_be_read_is_no_answer_and_ours_stay_ours() -> None:
    for mutates, kind in ((True, OutcomeUnknown), (False, Unavailable)):
        with pytest.raises(kind), calling("read", mutates=mutates):
            read("<vm><memory>lots</memory></vm>")
    with pytest.raises(Busy), calling("read"):
        raise Busy


def test_an_engine_that_is_too_old_is_refused_and_a_newer_one_is_not() -> None:
    for version, is_refused in (
        ("4</major><minor>2", True),
        ("4</major><minor>3", False),
        ("5</major><minor>0", False),
    ):
        api = read(API.replace("4</major><minor>5", version))
        if not is_refused:
            refuse_old(api)
            continue
        with pytest.raises(Unsupported, match=r"version 4\.2 is too old: 4\.3 is the oldest"):
            refuse_old(api)
    refuse_old(read("<api/>"))


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("[Cannot run VM. VM is running.]", "Cannot run VM. VM is running."),
        (RUN, "Cannot run VM. There is no host that satisfies current scheduling constraints."),
        ("Cannot run VM. The host node7 is down.", "Cannot run VM."),
        ("[Cannot add Virtual Disk. Low disk space on Storage Domain Fast.]", "Cannot add Virtual Disk."),
        ("[Cannot add Virtual Disk. Low disk space on Storage Domain storage.]", "Cannot add Virtual Disk."),
        ("Cannot run VM. Disk D is locked by VM Y.", "Cannot run VM."),
        ("Cannot attach Virtual Disk. Disk is locked by Mallory.", "Cannot attach Virtual Disk."),
        (
            "[Cannot start VM. The following disks are locked: web_Disk1. Please try again in a few minutes.]",
            "Cannot start VM. Please try again in a few minutes.",
        ),
        ("Cannot add VM. The Cluster Physics does not support this.", "Cannot add VM."),
        ("Cannot add VM. Data Center Institute is down.", "Cannot add VM."),
        ("Cannot add VM. Quota Biology exceeded.", "Cannot add VM."),
        ("Cannot run VM. VM payroll is locked.", "Cannot run VM."),
        ("Cannot remove Virtual Disk. Disk 'web' is attached to VM (payroll).", "Cannot remove Virtual Disk."),
        ("The vNIC profile students is not in use.", ""),
        ("Failed to complete VM payroll creation.", ""),
        (
            "Failed to complete VM creation: the volume could not be copied.",
            "Failed to complete VM creation: the volume could not be copied.",
        ),
        ("The storage went away.", "The storage went away."),
        (
            "[Cannot add VM. The VM name is already in use, please choose a unique name and try again.]",
            "Cannot add VM. The VM name is already in use, please choose a unique name and try again.",
        ),
        (
            "Cannot run VM. The relevant Storage Domain is inaccessible. Please handle Storage Domain issues and retry the operation.",
            "Cannot run VM. The relevant Storage Domain is inaccessible. Please handle Storage Domain issues and retry the operation.",
        ),
        (
            "Cannot add VM. Not enough MAC addresses left in MAC Address Pool.",
            "Cannot add VM. Not enough MAC addresses left in MAC Address Pool.",
        ),
        (
            "Cannot edit VM. The VM is performing an operation on a Snapshot. Please wait for the operation to finish, and try again.",
            "Cannot edit VM. The VM is performing an operation on a Snapshot. Please wait for the operation to finish, and try again.",
        ),
        ("Host node7.example.org cannot be reached.", ""),
        ("Cannot connect to 10.0.0.7.", ""),
        ("Cannot connect to fe80::1.", ""),
        ("Cannot read /rhev/data-center/mnt. Try again.", "Try again."),
        ("Volume 3f0c2a5e-7d1b-4c55-9d5e-0123456789ab is broken.", ""),
        ("Cannot ${action} ${type}. Try again.", "Try again."),
        ("User alice@internal failed. <b>Try</b>.", ""),
        ("The password is s3cret.", ""),
        ("x" * 400, ""),
        ("", ""),
    ],
)
def test_users_read_what_names_nothing_of_the_engines_inside(said: str, shown: str) -> None:
    assert words(said) == shown
    found = translated(fault(409, said), what="try")
    # Where why it was is hidden, and which kind of reason it is was understood, that kind's own words say more.
    is_bare = shown.startswith("Cannot") and shown.count(".") == 1 and type(found) is not HypervisorError
    assert found.public == (f"The engine says: {shown}" if shown and not is_bare else type(found).default)
