"""IN09: what a libvirt tells of a display is looked at before a password is set and a way to it is opened."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from portal.hypervisors.errors import DisplayOutside, DisplayPort, DisplayRefused
from portal.hypervisors.libvirt import consoles
from portal.hypervisors.libvirt.consoles import Consoles
from portal.hypervisors.libvirt.domain_xml import DomainFacts, read_domain
from portal.hypervisors.specs import ConsoleTarget, VmRef

pytestmark = pytest.mark.once
UID = UUID(int=7)
TOLD = """<domain type='kvm'><name>web</name><uuid>{uid}</uuid><memory>65536</memory><vcpu>1</vcpu><devices>
<graphics type='vnc' port='{port}' listen='{listen}'><listen type='address' address='{address}'/></graphics>
</devices></domain>"""


class Told:
    """A session with a far libvirt, and the machines that it tells of; what it was asked to do."""

    is_local, connection = False, None

    def __init__(self, **display: Any) -> None:
        self.text, self.set = TOLD.format(uid=UID, **display), 0

    def ours(self, _uid: UUID) -> tuple[Told, DomainFacts]:
        return self, read_domain(self.text)

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802 - libvirt's name
        return self.text

    def updateDeviceFlags(self, _element: str, _flags: int) -> None:  # noqa: N802 - libvirt's name
        self.set += 1


def asked(told: Told, monkeypatch: pytest.MonkeyPatch) -> tuple[ConsoleTarget, list[int]]:
    ways: list[int] = []
    monkeypatch.setattr(consoles.tunnel, "way_to", lambda _connection, port, **_more: ways.append(port) or "/way")
    there: Any = told
    return Consoles(there, there, protocols=("vnc",)).console(VmRef(UID, str(UID)), protocol="vnc"), ways


@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0", "::", "localhost"])  # noqa: S104
def test_IN09_a_display_on_loopback_gets_a_way(listen: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: N802
    target, ways = asked(told := Told(port=5901, listen=listen, address=listen), monkeypatch)
    assert (target.unix_path, ways, told.set) == ("/way", [5901], 1)


@pytest.mark.parametrize(
    ("port", "listen", "address", "refused"),
    [
        (22, "127.0.0.1", "127.0.0.1", DisplayPort),
        (5899, "127.0.0.1", "127.0.0.1", DisplayPort),
        (65536, "127.0.0.1", "127.0.0.1", DisplayPort),
        (6379, "192.0.2.7", "192.0.2.7", DisplayOutside),
        (5901, "127.0.0.1", "192.0.2.7", DisplayOutside),
        (5901, "192.0.2.7", "127.0.0.1", DisplayOutside),
        (5901, "::1", "::1", DisplayOutside),
    ],
)
def test_IN09_no_other_does(  # noqa: N802
    port: int, listen: str, address: str, refused: type[DisplayRefused], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(port=port, listen=listen, address=address)
    monkeypatch.setattr(consoles, "fresh_password", lambda: pytest.fail("a password was made"))
    with pytest.raises(refused):
        asked(told, monkeypatch)
    assert told.set == 0
