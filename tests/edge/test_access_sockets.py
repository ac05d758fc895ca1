"""AZ01 for websockets: every route, opened by every rank, answers what this table says; one that is missing here fails."""

from __future__ import annotations

import re
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import connections

from compute.services.consoles import ConsoleRequest, open_console
from portal.asgi import application, websocket
from portal.jobs.models import Job
from tests.edge.access_table import API_RANKS
from tests.edge.world import World, the_world

# The code with which the socket is closed at once; "open" when it is not; "no" when it is not even accepted. A console
# is asked for by its owner: without the ticket his log-in alone opens it, with the ticket nobody else's does.
SOCKETS = {
    "/ws/page/": "4401 4401 open open open open open open open",
    "/ws/vms/": "4401 4401 open open open open open open open",
    "/ws/jobs/{uid}/": "4401 4401 4404 4404 4404 open open open open",
    "/ws/consoles/{uid}/": "no no no no no no open no no",
    "/ws/consoles/{uid}/ ticket": "open open no no no open open no no",
    "/": "no no no no no no no no no",  # whatever else
}


@pytest.fixture
def world(transactional_db, tmp_path, monkeypatch) -> World:
    # A thread's connection that is kept open would stop the test's database from being removed.
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", 0)
    world = the_world(tmp_path)
    Job.objects.filter(pk=world.job.pk).update(status="queued")
    return world


def scope(world: World, route: str, rank: str) -> dict[str, Any]:
    """The handshake: a cookie with our origin, but for the reader, whose log-in is a token; for a console a new one."""
    path, _, by_ticket = route.partition(" ")
    headers, uid, protocols = [], world.ids["job"], []
    if rank in world.sessions:
        cookie = f"{settings.SESSION_COOKIE_NAME}={world.sessions[rank]}".encode()
        headers = [(b"cookie", cookie), (b"origin", settings.PUBLIC_ORIGINS[0].encode())]
    elif rank in world.tokens:
        headers = [(b"authorization", f"Bearer {world.tokens[rank]}".encode())]
    if "consoles" in path:
        asking = world.place.actor("alice", session_key=world.sessions["owner"])
        opened = open_console(asking, world.vm.pk, ConsoleRequest())
        uid, protocols = opened.console.pk, ["binary"] + ([f"ticket.{opened.ticket}"] if by_ticket else [])
    return {
        "type": "websocket",
        "path": path.format(uid=uid),
        "query_string": b"",
        "headers": headers,
        "subprotocols": protocols,
    }


async def knock(handshake: dict[str, Any]) -> str:
    """Open and leave: whatever the socket said meanwhile was said at its opening."""
    socket = ApplicationCommunicator(application, handshake)
    await socket.send_input({"type": "websocket.connect"})
    await socket.send_input({"type": "websocket.disconnect", "code": 1000})
    await socket.wait(120)
    said = [socket.output_queue.get_nowait() for _ in range(socket.output_queue.qsize())]
    if said[0]["type"] != "websocket.accept":
        return "no"
    closed = [message.get("code") for message in said if message["type"] == "websocket.close"]
    refused = [code for code in closed if code in {4401, 4403, 4404}]
    return str(refused[0]) if refused else "open"


async def test_AZ01_every_socket_answers_every_rank_as_the_table_says(world):  # noqa: N802
    found = {}
    for route in SOCKETS:
        handshakes = [await database_sync_to_async(scope)(world, route, rank) for rank in API_RANKS]
        found[route] = " ".join([await knock(handshake) for handshake in handshakes])
    assert found == SOCKETS


def test_AZ01_no_socket_is_missing_from_the_table():  # noqa: N802
    paths = {"/" + re.sub(r"<[^>]*>", "{uid}", str(route.pattern)) for route in websocket.routes}
    assert {route.split()[0] for route in SOCKETS} == paths
