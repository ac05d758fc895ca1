"""Readiness: what is good enough, by figures alone."""

from __future__ import annotations

import socket
from uuid import uuid4

import pytest

from compute.diagnosis import told
from compute.readiness_rules import DomainState, HostState, graded, known_findings
from portal.hypervisors.findings import Finding
from portal.hypervisors.libvirt import surroundings
from portal.hypervisors.reaching import skew
from portal.hypervisors.specs import Connection


@pytest.mark.parametrize(
    ("seconds", "status"),
    [("0", "ok"), ("5", "ok"), ("-5", "ok"), ("6", "warning"), ("-300", "warning"), ("301", "failed"), ("-86400", "failed")],
)  # fmt: skip
def test_a_clock_warns_above_5_seconds_and_fails_above_5_minutes(seconds: str, status: str) -> None:
    [one] = told([graded(Finding("clock", data={"skew_seconds": seconds}))])
    assert one.status == status
    assert seconds.lstrip("-") in one.text
    assert bool(one.remedy) == (status != "ok")


@pytest.mark.parametrize(
    ("shown", "off"), [(99.0, -1.0), (100.0, 0.0), (101.5, 0.0), (102.0, 0.0), (107.0, 5.0), (0.0, -100.0)]
)
def test_a_clock_is_only_as_wrong_as_is_proven(shown: float, off: float) -> None:
    assert skew(shown, before=100.0, after=102.0) == off


def host(**more: object) -> HostState:
    values = {"accelerator": "kvm", "features": frozenset({"vmx"}), "version": "9", "cluster": "lab", "others": {}}
    return HostState("ov-node1", **(values | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hosts", "domains", "expected"),
    [
        ([host()], [DomainState("nas", is_active=True, percent=79)], {"virtualization": "ok", "versions": "ok", "disk": "ok"}),
        ([host(accelerator="tcg")], [], {"virtualization": "warning", "versions": "ok", "disk": "failed"}),
        ([host(accelerator="")], [DomainState("nas", is_active=True, percent=80)], {"virtualization": "unknown", "versions": "ok", "disk": "warning"}),
        ([host(others={"ov-node2": "8"})], [DomainState("nas", is_active=True, percent=90)], {"virtualization": "ok", "versions": "warning", "migration": "unknown", "disk": "failed"}),
        ([host()], [DomainState("units", is_active=True, percent=0, holds_disks=False)], {"virtualization": "ok", "versions": "ok", "disk": "failed"}),
        ([host()], [DomainState("nas", is_active=True, percent=0), DomainState("units", is_active=True, percent=0, tells_use=False)], {"virtualization": "ok", "versions": "ok", "disk": "ok"}),
        ([host(others={"ov-node2": "9"})], [DomainState("nas", is_active=False, percent=0)], {"virtualization": "ok", "versions": "ok", "migration": "unknown", "disk": "failed"}),
    ],
)  # fmt: skip
def test_what_the_rows_tell_is_judged_and_each_failure_has_a_hint(
    hosts: list[HostState], domains: list[DomainState], expected: dict[str, str]
) -> None:
    checks = told(known_findings(hosts, domains))
    assert {check.step: check.status for check in checks} == expected
    for check in checks:
        assert "%(" not in check.text + check.remedy
        assert bool(check.remedy) == (check.status != "ok"), check


@pytest.mark.parametrize("listens", [False, True])
def test_a_local_hypervisor_has_our_clock_and_its_plain_port_is_looked_at(
    listens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(surroundings, "PLAIN_PORT", listener.getsockname()[1])
        if not listens:
            listener.close()
        local = Connection("libvirt", "qemu:///system", uuid4(), uuid4())
        found = {probe.step: graded(probe.look()) for probe in surroundings.probes(local)}
    assert found["plain_port"].code == ("plain_port_open" if listens else "")
    assert (found["clock"].code, found["screens"].code) == ("", "")


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ({}, "name_no_reverse"),
        ({"192.0.2.7": "node.islab.local"}, ""),
        ({"192.0.2.7": "other.islab.local"}, "name_reverse_other"),
    ],
)
def test_a_name_must_lead_there_and_back(names: dict[str, str], code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"node.islab.local": "192.0.2.7", "other.islab.local": "192.0.2.8"}

    def forward(host: str, *_args: object, **_more: object) -> list[object]:
        return [(0, 0, 0, "", (known[host], 0))]

    def back(address: str) -> tuple[str, list[str], list[str]]:
        if address not in names:
            raise socket.herror
        return names[address], [], [address]

    monkeypatch.setattr(socket, "getaddrinfo", forward)
    monkeypatch.setattr(socket, "gethostbyaddr", back)
    far = Connection("libvirt", "qemu+ssh://me@node.islab.local/system", uuid4(), uuid4())
    look = next(probe.look for probe in surroundings.probes(far) if probe.step == "name_back")
    assert look().code == code
