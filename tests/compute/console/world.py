"""Alice and Bob of one department, Charlie of another, a machine of Alice's whose screen is a double, and the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

import pytest
import requests
from django.conf import settings
from django.test import Client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from compute.models import Cluster, Console, Vm
from compute.services.consoles import ConsoleRequest, OpenedConsole, open_console
from portal.common.actor import Actor, Door, system_actor
from portal.events.models import Event
from portal.hypervisors.identity import portal_id
from portal.hypervisors.models import Provider
from tenants import policy
from tenants.models import DataCenter, User
from tenants.roles import sync_roles
from tests.compute.console.screen import Screen
from tests.doubles.hypervisor_state import HypervisorDouble

PASSWORD = "a long enough password"


@dataclass
class World:
    """Everything that a test of consoles stands on. ``address`` is the server's, without a path."""

    double: HypervisorDouble
    screen: Screen
    people: dict[str, User]
    vm: Vm
    address: str = ""
    browsers: dict[str, Client] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return f"http://{self.address}"

    def actor(self, name: str, **changes: Any) -> Actor:
        """A person by a door, without a log-in unless one is given."""
        return Actor(user=self.people[name], door=Door.PAGE, client_address="192.0.2.7", **changes)

    def log_in(self, name: str) -> str:
        """A browser's log-in; its session key."""
        browser = self.browsers.setdefault(name, Client())
        browser.force_login(self.people[name])
        return browser.session.session_key

    def open(self, name: str = "alice", **login: Any) -> OpenedConsole:
        """A ticket, asked for by the service; by a log-in when ``session_key`` or ``token_uid`` names one."""
        return open_console(self.actor(name, **login), self.vm.pk, ConsoleRequest())

    def grant(self, name: str, role: str = "user-role") -> None:
        policy.grant(system_actor(), role, self.people[name], self.vm)

    def revoke(self, name: str, role: str = "user-role") -> None:
        policy.revoke(system_actor(), role, self.people[name], self.vm)

    def connect(self, opened: OpenedConsole, **changes: Any) -> ClientConnection:
        """A socket at a console, with its ticket unless the test says otherwise."""
        return self.connect_to(opened.console.uid, ticket=opened.ticket, **changes)

    def connect_to(
        self, uid: object, *, ticket: str = "", origin: str | None = None, session_key: str = "", **headers: str
    ) -> ClientConnection:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if session_key:
            fields["Cookie"] = f"{settings.SESSION_COOKIE_NAME}={session_key}"
        return connect(
            f"ws://{self.address}/ws/consoles/{uid}/",
            subprotocols=["binary", f"ticket.{ticket}"] if ticket else ["binary"],
            additional_headers=fields,
            origin=origin,
            compression=None,
            proxy=None,
            open_timeout=20,
        )

    def status(self, *args: Any, **changes: Any) -> int:
        """The HTTP status with which a socket is turned away; 101 when it is not."""
        knock = self.connect if isinstance(args[0], OpenedConsole) else self.connect_to
        try:
            with knock(*args, **changes):
                pass
        except InvalidStatus as refused:
            return refused.response.status_code
        return 101

    def post(self, name: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        """A POST of a browser that is logged in, over the wire."""
        session_key = self.browsers[name].session.session_key
        token = "t" * 32
        cookies = {settings.SESSION_COOKIE_NAME: session_key, settings.CSRF_COOKIE_NAME: token}
        headers = {"X-CSRFToken": token, "Origin": self.origin, **options.pop("headers", {})}
        return requests.post(
            f"{self.origin}{path}", json=body, cookies=cookies, headers=headers, timeout=20, allow_redirects=False
        )

    def events(self, opened: OpenedConsole) -> list[Event]:
        """What the audit log says of a console, oldest first."""
        return list(Event.objects.filter(correlation_id=opened.console.uid).order_by("at", "uid"))


class Link(Protocol):
    """What a console's client needs of a websocket."""

    def send(self, data: bytes, /) -> None:
        """One message."""

    def recv(self, timeout: float) -> Any:
        """The next message."""


def greet(socket: Link, canary: bytes) -> None:
    """Be an RFB client until the screen's canary comes."""
    assert take(socket, 12) == b"RFB 003.008\n"
    socket.send(b"RFB 003.008\n")
    assert take(socket, 2) == b"\x01\x01"
    socket.send(b"\x01")
    assert take(socket, 4) == b"\0\0\0\0"
    socket.send(b"\x01")
    assert take(socket, len(canary)) == canary


def take(socket: Link, count: int) -> bytes:
    """So many bytes, in however many messages."""
    data = b""
    while len(data) < count:
        data += socket.recv(timeout=20)
    assert len(data) == count
    return data


def farewell(socket: ClientConnection) -> tuple[int, str]:
    """How the server ends a socket: close code and reason."""
    with pytest.raises(ConnectionClosed) as closed:
        exhaust(socket)
    assert closed.value.rcvd is not None, "the connection broke without a close"
    return closed.value.rcvd.code, closed.value.rcvd.reason


def exhaust(socket: ClientConnection) -> None:
    """Take whatever comes until the end, which is an exception."""
    while True:
        socket.recv(timeout=30)


def eventually(holds: Callable[[], Any]) -> Any:
    """Wait until something holds, and give it; fails if it never does."""
    deadline = time.monotonic() + 20
    while not (found := holds()):
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)
    return found


@contextmanager
def make_world(folder: Any) -> Iterator[World]:
    """The rows and the doubles; no server yet."""
    sync_roles()
    physics, informatics = (DataCenter.objects.create(name=name) for name in ("physics", "informatics"))
    people = {name: User.objects.create_user(name, password=PASSWORD) for name in ("alice", "bob", "charlie", "admin")}
    for name, center in (("alice", physics), ("bob", physics), ("charlie", informatics)):
        policy.grant(system_actor(), "end-user", people[name], center)
    policy.grant(system_actor(), "data-center-admin", people["admin"], physics)
    double = HypervisorDouble(folder)
    screen = Screen(b"CANARY-of-alices-machine")
    double.configure(console_port=screen.port)
    provider = Provider.objects.create(kind="double", name="double", address=double.address, capabilities={})
    planted = double.plant_vm("alices-machine", state="up", portal_id=portal_id())
    vm = Vm.objects.create(
        uid=UUID(planted),
        name="alices-machine",
        data_center=physics,
        owner=people["alice"],
        cluster=Cluster.objects.create(name="cluster", provider=provider),
        provider=provider,
        external_id=planted,
        status="up",
        memory_mib=256,
        vcpus=1,
    )
    policy.grant(system_actor(), "user-vm-manager", people["alice"], vm)
    try:
        yield World(double, screen, people, vm)
    finally:
        screen.close()


def console_row(opened: OpenedConsole) -> Console:
    """The row as it is now."""
    return Console.objects.get(uid=opened.console.uid)
