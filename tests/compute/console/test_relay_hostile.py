"""Peers of ill will on either side of the relay: each is bounded in time and bytes, and refused by name."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace

import pytest

from compute.console_relay import MESSAGE_LIMIT, RelayError
from portal.hypervisors.specs import ConsoleTarget
from tests.compute.console.peers import SHORT, Client, vnc_server, welcome


def saying(*parts: bytes):
    """A server that says its part line by line, each but the first after something was heard, then hangs up."""

    async def talk(reader, writer):
        for number, part in enumerate(parts):
            if number:
                await reader.read(64)
            writer.write(part)
        await writer.drain()
        await reader.read(64)

    return talk


async def refusal(talk, *, timeouts=None, **changes) -> str:
    async with vnc_server(talk) as target:
        client = Client(replace(target, **changes), timeouts=timeouts)
        with pytest.raises(RelayError) as refused:
            await client.relay.open()
        assert not client.got
        assert not client.closed.done()  # what never opened does not close either
        return refused.value.code


TLS = {"tls_ca_pem": "unread", "allow_plain": False}
GREETING = b"RFB 003.008\n"
PROVIDERS = {
    "http": ((b"HTTP/1.1 400 Bad",), {}, "protocol"),
    "ssh": ((b"SSH-2.0-OpenSSH_9.2p1\r\n",), {}, "protocol"),
    "older than any": ((b"RFB 003.002\n",), {}, "protocol"),
    "no type": ((GREETING, b"\0" + struct.pack(">I", 4) + b"busy"), {}, "refused"),
    "no type, old": ((b"RFB 003.003\n", struct.pack(">II", 0, 4) + b"busy"), {}, "refused"),
    "endless reason": ((GREETING, b"\0\xff\xff\xff\xff" + b"x" * 100_000), {}, "refused"),
    "unknown types": ((GREETING, b"\x03\x05\x06\x1e"), {}, "security"),
    "silent": ((b"",), {}, "timed_out"),
    "silent in the middle": ((GREETING, b"\x01\x02", b"\0" * 8), {"password": "x"}, "timed_out"),
    "denies": ((GREETING, b"\x01\x02", b"\0" * 16, struct.pack(">II", 1, 2) + b"no"), {"password": "x"}, "denied"),
    "denies, 3.7": ((b"RFB 003.007\n", b"\x01\x02", b"\0" * 16, b"\0\0\0\1"), {"password": "x"}, "denied"),
    "other VeNCrypt": ((GREETING, b"\x01\x13", b"\0\x01"), TLS, "security"),
    "withdraws VeNCrypt": ((GREETING, b"\x01\x13", b"\0\x02", b"\x01"), TLS, "protocol"),
    "no sub-type": ((GREETING, b"\x01\x13", b"\0\x02", b"\0\0"), TLS, "security"),
    "anonymous TLS": ((GREETING, b"\x01\x13", b"\0\x02", b"\0\x01" + struct.pack(">I", 257)), TLS, "security"),
    "speaks before TLS": (
        (GREETING, b"\x01\x13", b"\0\x02", b"\0\x01" + struct.pack(">I", 260), b"\x01\0\0\0\0"),
        TLS,
        "protocol",
    ),
}


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_provider_that_does_not_keep_to_rfb_is_refused(name):
    parts, changes, code = PROVIDERS[name]
    timeouts = SHORT if code == "timed_out" else None
    assert await refusal(saying(*parts), timeouts=timeouts, **changes) == code


async def test_CO10_a_provider_that_talks_nonsense_inside_tls_is_refused(authority):  # noqa: N802
    parts = (GREETING, b"\x01\x13", b"\0\x02", b"\0\x01" + struct.pack(">I", 260), b"\x01", b"no TLS at all" * 10)
    changes = {"tls_ca_pem": authority.pem, "allow_plain": False}
    assert await refusal(saying(*parts), **changes) == "tls_failed"


async def test_a_provider_that_hangs_up_is_named():
    async def talk(reader, writer):
        writer.write(b"RFB 0")

    assert await refusal(talk) == "hung_up"


async def test_nobody_there_is_unreachable(tmp_path):
    async with vnc_server(welcome) as target:
        pass  # the port was real a moment ago
    with pytest.raises(RelayError, match="unreachable"):
        await Client(target).relay.open()
    with pytest.raises(RelayError, match="unreachable"):
        await Client(replace(target, unix_path=str(tmp_path / "none"))).relay.open()


async def test_other_protocols_are_not_this_relays():
    with pytest.raises(RelayError, match="unsupported"):
        await Client(ConsoleTarget(protocol="spice", host="127.0.0.1", port=5900, allow_plain=True)).relay.open()


@pytest.mark.parametrize(
    ("version", "offer"), [(b"RFB 003.003\n", struct.pack(">I", 1)), (b"RFB 003.007\n", b"\x01\x01")]
)
async def test_an_older_provider_serves_a_client_of_today(version, offer):
    async def talk(reader, writer):
        writer.write(version)
        assert await reader.readexactly(12) == version
        writer.write(offer)
        if version.endswith(b"7\n"):
            assert await reader.readexactly(1) == b"\x01"
        assert await reader.readexactly(1) == b"\x01"  # ClientInit, without a SecurityResult before
        writer.write(b"ServerInit")

    async with vnc_server(talk) as target:
        client = Client(target)
        await client.enter()
        await client.relay.received(b"\x01")
        assert await client.exactly(10) == b"ServerInit"
        await client.relay.close("done")


async def served(client: Client, *messages: bytes) -> str:
    """The reason why a relay before a proper server ends with a client that sends these."""
    await client.relay.open()
    for message in messages:
        await client.relay.received(message)
    return await client.reason()


@pytest.mark.parametrize(
    "messages",
    [
        (b"GET / HTTP/1.1\r\n\r\n",),
        (b"\0" * 12,),
        (b"RFB 003.009\n",),
        (b"RFB 004.000\n",),
        (b"RFB 000.000\n",),
        (b"RFB \xb2\xb3\xb9.008\n",),
        (GREETING, b"\x02"),
        (GREETING, b"\x13"),
        (GREETING, b"\0"),
        (GREETING + b"\x01" + b"x" * 64,),
        (b"x" * 65,),
        (b"R" * MESSAGE_LIMIT,),
    ],
)
async def test_CO11_a_client_that_is_no_rfb_client_is_refused(messages):  # noqa: N802
    async with vnc_server(welcome) as target:
        assert await served(Client(target), *messages) == "client_protocol"


@pytest.mark.parametrize("messages", [(), (b"RFB 003",), (GREETING,), tuple([b""] * 100)])
async def test_CO11_a_handshake_that_never_ends_is_ended(messages):  # noqa: N802
    async with vnc_server(welcome) as target:
        assert await served(Client(target, timeouts=SHORT), *messages) == "client_timeout"


@pytest.mark.parametrize("size", [MESSAGE_LIMIT + 1, 64 * 1024 * 1024])
async def test_CO11_an_oversize_message_ends_the_console(size):  # noqa: N802
    heard = bytearray()

    async def talk(reader, writer):
        await welcome(reader, writer)
        heard.extend(await reader.read())

    async with vnc_server(talk) as target:
        client = Client(target)
        await client.enter()
        await client.relay.received(b"x" * size)
        assert await client.reason() == "oversize"
        await client.relay.received(b"and more")
        await asyncio.sleep(0.05)
        assert not heard


async def test_a_provider_that_is_slow_byte_by_byte_runs_out_of_time():
    async def talk(reader, writer):
        for byte in b"RFB 003.008\n" * 10:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.1)

    assert await refusal(talk, timeouts=SHORT) == "timed_out"


async def test_closing_while_the_provider_is_silent_leaves_nothing_open():
    gone = asyncio.Event()

    async def talk(reader, writer):
        await reader.read()
        gone.set()

    async with vnc_server(talk) as target:
        client = Client(target)
        opening = asyncio.create_task(client.relay.open())
        await asyncio.sleep(0.05)
        await client.relay.close("left")
        with pytest.raises(RelayError):
            await opening
        async with asyncio.timeout(10):
            await gone.wait()
        assert not client.closed.done()
