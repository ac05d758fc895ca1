"""The raw phase: every byte once and in order, bounded memory whoever is slow, nothing left behind."""

from __future__ import annotations

import asyncio
import hashlib
import random
from pathlib import Path

import pytest

from compute.console_relay import BUFFER_LIMIT, MESSAGE_LIMIT, Timeouts
from tests.compute.console.peers import Client, vnc_server, welcome

pytestmark = pytest.mark.long

MIB = 1024 * 1024
ONE_READ = 256 * 1024  # what an event loop takes from a socket at once


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def settle(holds) -> None:
    """Wait until something holds; fails if it never does."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


async def test_every_byte_arrives_once_and_in_order_both_ways():
    up, down = random.randbytes(3 * MIB), random.randbytes(5 * MIB)
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def talk(reader, writer):
        await welcome(reader, writer)

        async def speak():
            for start in range(0, len(down), 70_001):
                writer.write(down[start : start + 70_001])
                await writer.drain()

        speaking = asyncio.create_task(speak())
        heard.set_result(await reader.readexactly(len(up)))
        await speaking

    async with vnc_server(talk) as target:
        client = Client(target)
        await client.enter()
        position = 0
        while position < len(up):
            size = random.choice([1, 8, 1000, 100_000, MESSAGE_LIMIT])
            await client.relay.received(up[position : position + size])
            position += size
        assert hashlib.sha256(await heard).digest() == hashlib.sha256(up).digest()
        assert await client.exactly(len(down)) == down
        assert await client.reason() == "provider_closed"
        assert (client.relay.bytes_up, client.relay.bytes_down) == (len(up), len(down))


async def test_what_a_provider_says_before_it_hangs_up_still_arrives():
    async def talk(reader, writer):
        await welcome(reader, writer)
        writer.write(b"last words" * 100_000)
        await writer.drain()

    async with vnc_server(talk) as target:
        client = Client(target)
        await client.enter()
        assert await client.exactly(1_000_000) == b"last words" * 100_000
        assert await client.reason() == "provider_closed"


async def test_CO11_a_stalled_client_stalls_its_provider_and_grows_nothing():  # noqa: N802
    said = 0

    async def talk(reader, writer):
        nonlocal said
        await welcome(reader, writer)
        while said < 64 * MIB:
            writer.write(b"s" * 65536)
            await writer.drain()
            said += 65536

    async with vnc_server(talk) as target:
        client = Client(target)
        await client.enter()
        client.flowing.clear()
        held = -1
        while held != said or client.relay._provider._size < BUFFER_LIMIT:  # until the provider is blocked
            held = said
            await asyncio.sleep(0.3)
        assert said < 64 * MIB, "nothing held the provider back"
        waiting = client.relay._provider._size
        assert BUFFER_LIMIT <= waiting < BUFFER_LIMIT + ONE_READ
        client.flowing.set()
        await settle(lambda: len(client.got) >= 64 * MIB)
        await client.relay.close("done")


async def test_CO11_a_stalled_provider_stalls_its_client_and_grows_nothing():  # noqa: N802
    listening = asyncio.Event()
    heard = 0

    async def talk(reader, writer):
        nonlocal heard
        await welcome(reader, writer)
        await listening.wait()
        while data := await reader.read(MIB):
            heard += len(data)

    async def send_all(client):
        for _ in range(64):
            await client.relay.received(b"u" * MESSAGE_LIMIT)

    async with vnc_server(talk) as target:
        client = Client(target)
        await client.enter()
        sending = asyncio.create_task(send_all(client))
        held = -1
        while held != client.relay.bytes_up:
            held = client.relay.bytes_up
            await asyncio.sleep(0.3)
        assert client.relay.bytes_up < 64 * MIB
        assert client.relay._provider.transport.get_write_buffer_size() <= 2 * MESSAGE_LIMIT
        listening.set()
        await sending
        await settle(lambda: heard == 64 * MIB)
        await client.relay.close("done")


async def test_a_provider_that_reads_nothing_for_too_long_is_given_up():
    async def talk(reader, writer):
        await welcome(reader, writer)
        await asyncio.sleep(60)

    async with vnc_server(talk) as target:
        client = Client(target, timeouts=Timeouts(stall=0.3))
        await client.enter()
        while not client.relay.closed_reason:
            await client.relay.received(b"u" * MESSAGE_LIMIT)
        assert await client.reason() == "provider_stalled"


async def test_closing_frees_a_client_and_a_provider_that_are_both_stalled():
    async def talk(reader, writer):
        await welcome(reader, writer)
        writer.write(b"s" * 8 * MIB)
        await asyncio.sleep(60)

    async with vnc_server(talk) as target:
        client = Client(target)
        await client.enter()
        client.flowing.clear()
        sending = asyncio.create_task(client.relay.received(b"u" * MESSAGE_LIMIT))
        more = [asyncio.create_task(client.relay.received(b"u" * MESSAGE_LIMIT)) for _ in range(20)]
        await asyncio.sleep(0.1)
        await client.relay.close("revoked")
        assert await client.reason() == "revoked"
        async with asyncio.timeout(20):  # the provider's last bytes get their moment, then it is cut off
            await asyncio.gather(sending, *more)


async def test_a_client_whose_socket_fails_closes_the_provider():
    gone = asyncio.Event()

    async def talk(reader, writer):
        await welcome(reader, writer)
        await reader.readexactly(1)
        writer.write(b"for nobody")
        await reader.read()
        gone.set()

    async def broken(data: bytes) -> None:
        raise ConnectionResetError

    async with vnc_server(talk) as target:
        client = Client(target)
        await client.enter()
        client.relay._send = broken
        await client.relay.received(b"\x01")
        assert await client.reason() == "client_gone"
        async with asyncio.timeout(10):
            await gone.wait()


async def test_CO09_no_byte_crosses_between_consoles_over_500_random_cycles():  # noqa: N802
    """Two machines, each with a canary of its own, opened and left at random moments, several at once."""
    canaries = [b"ALPHA-7f3a", b"OMEGA-91c2"]

    def saying(canary):
        async def talk(reader, writer):
            await welcome(reader, writer)
            while await reader.read(64):
                writer.write(canary * random.randint(1, 2000))
                await writer.drain()

        return talk

    async def cycle(number, targets):
        own = number % 2
        client = Client(targets[own])
        opening = asyncio.create_task(client.enter())
        if random.random() < 0.3:
            await asyncio.sleep(random.random() * 0.01)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        else:
            await opening
            for _ in range(random.randint(1, 4)):
                await client.relay.received(b"\x01")
                await client.exactly(0 if random.random() < 0.5 else len(canaries[own]))
            await asyncio.sleep(random.random() * 0.01)
        await client.relay.close("left")
        assert canaries[1 - own] not in client.got
        assert not bytes(client.got).translate(None, b"RFB 03.\n\x00\x01" + canaries[own])

    async with vnc_server(saying(canaries[0])) as one, vnc_server(saying(canaries[1])) as two:
        before = descriptors()
        for batch in range(50):
            await asyncio.gather(*(cycle(batch * 10 + number, (one, two)) for number in range(10)))
        await settle(lambda: descriptors() <= before)


async def test_CO13_descriptors_and_tasks_return_to_baseline_after_1000_opens_and_aborts():  # noqa: N802
    async def talk(reader, writer):
        await welcome(reader, writer)
        await reader.read()

    async with vnc_server(talk) as target:
        await (warm := Client(target)).enter()
        await warm.relay.close("left")
        await settle(lambda: len(asyncio.all_tasks()) == 1)
        before = descriptors()
        for _ in range(250):
            clients = [Client(target) for _ in range(4)]
            await asyncio.gather(clients[0].enter(), clients[1].enter(), clients[2].relay.open())
            opening = asyncio.create_task(clients[3].relay.open())
            await asyncio.sleep(0)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            for client in clients:
                await client.relay.close("left")
        await settle(lambda: len(asyncio.all_tasks()) == 1 and descriptors() <= before)


@pytest.mark.parametrize("times", [1, 3])
async def test_closing_again_is_harmless_and_told_once(times):
    async def talk(reader, writer):
        await welcome(reader, writer)
        await reader.read()

    async with vnc_server(talk) as target:
        client = Client(target)
        await client.enter()
        for number in range(times):
            await client.relay.close(f"reason {number}")
        assert await client.reason() == client.relay.closed_reason == "reason 0"
