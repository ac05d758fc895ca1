"""IN09: whatever a hypervisor says of where a display listens, the portal knocks at displays of its hosts alone."""

from __future__ import annotations

import pytest

from portal.hypervisors.displays import ENGINE_PORTS, MOST_NAMES, QEMU_PORTS, Home, Reach, checked, is_here
from portal.hypervisors.errors import DisplayElsewhere, DisplayNotThere, DisplayPort, DisplayRefused
from portal.hypervisors.libvirt.driver import LibvirtDriver
from portal.hypervisors.ovirt.driver import OvirtDriver
from portal.hypervisors.specs import ConsoleTarget

pytestmark = pytest.mark.once

NODES = (
    Home(("node1.example", "192.0.2.1", "2001:db8::1"), has_machine=True),
    Home(("node2.example", "192.0.2.2", "10.0.0.5")),
    Home(("evil.example", "127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "fe80::1", "2130706433")),  # noqa: S104
)
NAMES = {
    "node1.example": {"192.0.2.1", "198.51.100.1"},
    "node2.example": {"192.0.2.2", "198.51.100.2"},
    "evil.example": {"169.254.169.254"},
    "2130706433": {"127.0.0.1"},  # as the resolver reads a number
    "both.example": {"192.0.2.1", "127.0.0.1"},
    "database.example": {"10.0.0.5"},
    "stranger.example": {"10.0.0.9"},
}
FAR = Reach(ENGINE_PORTS, homes=NODES)
HERE = Reach(QEMU_PORTS, is_here=True)


def tried(told: str, reach: Reach, port: int = 5900, **more: str) -> ConsoleTarget:
    return checked(ConsoleTarget("vnc", told, port, **more), reach, resolve=lambda name: NAMES.get(name, set()))


@pytest.mark.parametrize(
    ("told", "pinned"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.2", "192.0.2.2"),  # it was moved a moment ago
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:0DB8::0:1", "2001:db8::1"),
        ("Node1.example", "192.0.2.1"),
        ("198.51.100.1", "198.51.100.1"),  # what its host's name leads to
    ],
)
def test_IN09_a_display_of_a_host_of_the_inventory_is_connected_to_by_the_address_that_was_looked_at(  # noqa: N802
    told: str, pinned: str
) -> None:
    names = {key.casefold(): value for key, value in NAMES.items()}
    found = checked(ConsoleTarget("vnc", told, 5900), FAR, resolve=lambda name: names.get(name.casefold(), set()))
    assert (found.host, found.tls_hostname) == (pinned, told)


@pytest.mark.parametrize(
    "told",
    [
        "10.0.0.9",
        "198.51.100.2",  # the name of another host leads there, which is not looked up
        "stranger.example",
        "both.example",
        "evil.example",
        "127.0.0.1",
        "127.1.2.3",
        "::1",
        "::ffff:127.0.0.1",
        "2130706433",
        "0.0.0.0",  # noqa: S104
        "::",
        "169.254.169.254",
        "fe80::1",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_IN09_no_other_address_is_connected_to_whatever_a_hosts_name_is_said_to_be(told: str) -> None:  # noqa: N802
    with pytest.raises(DisplayElsewhere):
        tried(told, FAR)


@pytest.mark.parametrize(
    "told", ["", "nowhere.example", "node1.example.", "fe80::1%eth0", "127.1", "a b", "192.0.2.1/32"]
)
def test_IN09_what_leads_nowhere_is_told_apart(told: str) -> None:  # noqa: N802
    with pytest.raises(DisplayNotThere):
        tried(told, FAR)


@pytest.mark.parametrize(
    ("port", "reach"),
    [(22, FAR), (5432, FAR), (5899, FAR), (6924, FAR), (9200, FAR), (0, HERE), (-1, HERE), (5899, HERE), (65536, HERE)],
)
def test_IN09_no_port_is_connected_to_that_displays_do_not_have(port: int, reach: Reach) -> None:  # noqa: N802
    with pytest.raises(DisplayPort):
        tried("192.0.2.1" if reach is FAR else "127.0.0.1", reach, port)
    with pytest.raises(DisplayPort):
        tried("127.0.0.1", reach, port, unix_path="/way")


def test_IN09_a_service_of_the_portals_own_is_no_display(monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: N802
    """Redis' port lies among those of displays."""
    far = Reach(ENGINE_PORTS, homes=NODES, own=("database.example",))
    assert tried("192.0.2.2", far, 6379).host == "192.0.2.2"
    here = Reach(QEMU_PORTS, is_here=True, own=("127.0.0.1",))
    assert tried("127.0.0.1", HERE, 6379).port == 6379
    for told, reach in (("10.0.0.5", far), ("127.0.0.1", here), ("127.0.0.2", here)):
        with pytest.raises(DisplayElsewhere, match=DisplayElsewhere.default):
            tried(told, reach, 6379)


def test_IN09_few_names_are_looked_up_however_many_a_hypervisor_says_and_each_once() -> None:  # noqa: N802
    """Each may take its time, and meanwhile others' screens wait."""
    asked: list[str] = []

    def resolve(name: str) -> set[str]:
        asked.append(name)
        return {"10.1.0.1", "10.1.0.2", "10.1.0.3"} if name == "many.example" else set()

    told = Home(("192.0.2.7", *(f"name{number}.example" for number in range(64))), has_machine=True)
    with pytest.raises(DisplayElsewhere):
        checked(ConsoleTarget("vnc", "many.example", 5900), Reach(ENGINE_PORTS, homes=(told,)), resolve=resolve)
    assert asked == ["many.example"] + [f"name{number}.example" for number in range(MOST_NAMES)]
    known = Home((*told.addresses, "10.1.0.2", "10.1.0.3", "10.1.0.1"))
    reach = Reach(ENGINE_PORTS, homes=(known,))
    assert checked(ConsoleTarget("vnc", "many.example", 5900), reach, resolve=resolve).host == "10.1.0.1"


def test_IN09_loopback_is_for_providers_on_this_machine(tmp_path: object) -> None:  # noqa: N802
    assert tried("127.0.0.1", HERE).host == "127.0.0.1"
    assert tried("127.0.0.1", Reach(QEMU_PORTS), unix_path="/way").unix_path == "/way", "the far host's own loopback"
    assert LibvirtDriver.is_here("qemu:///system")
    assert not LibvirtDriver.is_here("qemu+ssh://stegi@127.0.0.1/system")
    assert not LibvirtDriver.is_here("nonsense")
    assert OvirtDriver.is_here("https://127.0.0.1:8443/ovirt-engine/api")
    assert not OvirtDriver.is_here("https://192.0.2.9/ovirt-engine/api")
    assert not is_here("both.example", resolve=lambda name: NAMES[name])


def test_every_refusal_says_what_helps_and_no_address() -> None:
    for kind in DisplayRefused.__subclasses__():
        assert "administrator" in kind.default
        assert str(kind(detail="192.0.2.1")) == kind.default
