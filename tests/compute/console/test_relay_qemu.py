"""The relay before a real QEMU: every way in, and every refusal of a certificate."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from compute.console_relay import RelayError
from portal.hypervisors.specs import ConsoleTarget
from tests.compute.console.peers import Client
from tests.compute.console.qemu import PASSWORD

pytestmark = pytest.mark.libvirt


@pytest.fixture
def target(authority):
    def build(qemu, **changes):
        plain = ConsoleTarget(protocol="vnc", host="127.0.0.1", port=qemu.port, allow_plain=True)
        return replace(plain, **changes)

    return build


@pytest.fixture
def secured(target, authority):
    """A target that demands TLS by the lab's CA."""

    def build(qemu, **changes):
        wanted = {"tls_ca_pem": authority.pem, "tls_hostname": "vnc.lab", "allow_plain": False, **changes}
        return target(qemu, **wanted)

    return build


async def screen(client: Client) -> str:
    """Enter, and have QEMU draw: the bytes of a guest's screen really come through."""
    await client.enter()
    name = await client.initialise()
    await client.relay.received(struct.pack(">BBHi", 2, 0, 1, 0))  # SetEncodings: Raw
    await client.relay.received(struct.pack(">BBHHHH", 3, 0, 0, 0, 16, 16))
    assert (await client.exactly(1)) == b"\0"
    await client.relay.close("done")
    assert client.relay.bytes_up == 1 + 8 + 10
    assert client.relay.bytes_down > 24
    return name


async def refusal(client: Client) -> str:
    with pytest.raises(RelayError) as refused:
        await client.relay.open()
    assert not client.got, "the client was greeted before the provider consented"
    assert PASSWORD not in str(refused.value)
    return refused.value.code


async def test_a_server_without_password(machines, target):
    assert "open" in await screen(Client(target(machines("open"))))


async def test_a_password(machines, target):
    assert "locked" in await screen(Client(target(machines("locked", password=True), password=PASSWORD)))


async def test_a_certificate(machines, secured):
    assert "tls" in await screen(Client(secured(machines("tls", tls="right"))))


async def test_a_certificate_and_a_password(machines, secured):
    qemu = machines("tls-locked", password=True, tls="right")
    assert "tls-locked" in await screen(Client(secured(qemu, password=PASSWORD)))


@pytest.mark.parametrize("version", [b"RFB 003.003\n", b"RFB 003.007\n"])
async def test_an_older_client_reaches_a_server_of_today(machines, target, version):
    client = Client(target(machines("locked", password=True), password=PASSWORD))
    await client.relay.open()
    assert await client.exactly(12) == b"RFB 003.008\n"
    await client.relay.received(version)
    if version.endswith(b"7\n"):
        assert await client.exactly(2) == b"\x01\x01"
        await client.relay.received(b"\x01\x01")  # the type, and ClientInit at once: 3.7 sends no result for None
    else:
        assert await client.exactly(4) == b"\0\0\0\x01"
        await client.relay.received(b"\x01")
    assert "locked" in await client.server_init()
    await client.relay.close("done")


async def test_a_wrong_password_is_denied(machines, target):
    client = Client(target(machines("locked", password=True), password="kanarina"))
    assert await refusal(client) == "denied"


async def test_CO15_an_empty_password_is_never_sent(machines, target, secured):  # noqa: N802
    assert await refusal(Client(target(machines("locked", password=True)))) == "empty_password"
    assert await refusal(Client(secured(machines("tls-locked", password=True, tls="right")))) == "empty_password"


async def test_CO10_another_ca_is_refused(machines, secured):  # noqa: N802
    assert await refusal(Client(secured(machines("stranger", tls="stranger")))) == "certificate_untrusted"


async def test_CO10_another_host_is_refused(machines, secured):  # noqa: N802
    assert await refusal(Client(secured(machines("tls", tls="right"), tls_hostname="other.lab"))) == (
        "certificate_wrong_host"
    )
    assert await refusal(Client(secured(machines("tls", tls="right"), tls_hostname=""))) == "certificate_wrong_host"


async def test_CO10_an_expired_certificate_is_refused(machines, secured):  # noqa: N802
    assert await refusal(Client(secured(machines("expired", tls="expired")))) == "certificate_expired"


async def test_CO10_plain_vnc_needs_to_be_allowed(machines, target, secured):  # noqa: N802
    qemu = machines("locked", password=True)
    assert await refusal(Client(target(qemu, password=PASSWORD, allow_plain=False))) == "plain_refused"
    assert await refusal(Client(secured(qemu, password=PASSWORD))) == "security"
    assert await refusal(Client(secured(qemu, password=PASSWORD, allow_plain=True))) == "security"  # no downgrade


async def test_CO10_a_ca_that_is_no_certificate_is_refused(machines, secured):  # noqa: N802
    assert await refusal(Client(secured(machines("tls", tls="right"), tls_ca_pem="nonsense"))) == "tls_failed"


async def test_a_server_that_dies_closes_the_console(machines, target):
    qemu = machines("dies")
    client = Client(target(qemu))
    await client.enter()
    await client.initialise()
    qemu.stop()
    assert await client.reason() == "provider_closed"
