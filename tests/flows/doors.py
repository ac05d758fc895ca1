"""Clients of both doors, in this process and in ones that can be killed."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from django.http import HttpResponse
from django.test import Client

from portal.common import idempotency
from tenants.models import User
from tenants.services.tokens import create_token
from tests.flows.place import Place

VMS = "/api/v1/vms/"
FORM = "/machines/new/"


class Api:
    """A person with a bearer token."""

    def __init__(self, place: Place, username: str, **kept: Any) -> None:
        wish: dict[str, Any] = {"name": "t", "scope": "write", "expires_in": 3600} | kept
        _row, self.token = create_token(place.actor(username), **wish)
        self.place = place

    def post(self, path: str, body: object = None, *, key: str = "") -> HttpResponse:
        """A request, with an ``Idempotency-Key`` if one is given."""
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Idempotency-Key": key} if key else {})
        return Client().post(path, json.dumps(body or {}), content_type="application/json", headers=headers)

    def get(self, path: str) -> HttpResponse:
        """What is there."""
        return Client().get(path, headers={"Authorization": f"Bearer {self.token}"})

    def create(self, name: str = "web-1", *, key: str = "", **more: Any) -> HttpResponse:
        """A machine asked for."""
        return self.post(VMS, self.body(name, **more), key=key)

    def body(self, name: str, **more: Any) -> dict[str, Any]:
        """What asks for a machine."""
        center = self.place.centers["physics"]
        return {"name": name, "data_center": str(center.pk), "template": str(self.place.template.pk)} | more


class Browser:
    """A person at the pages."""

    def __init__(self, place: Place, username: str) -> None:
        self.user, self.place = User.objects.get(username=username), place

    def client(self) -> Client:
        """A client of its own, for a thread."""
        client = Client()
        client.force_login(self.user)
        return client

    def review(self, name: str, **more: str) -> dict[str, str]:
        """The form that the review page holds, with its key."""
        values = {"name": name, "template": str(self.place.template.pk), "run": "1"}
        values |= {"data_center": str(self.place.centers["physics"].pk)} | more
        answer = self.client().post(FORM, values | {"action": "review"})
        assert answer.status_code == 200, answer.content.decode()
        return values | {"key": answer.context["key"], "action": "create"}


# --- what processes do that are killed: called by name in a fork


def post_and_die_before_the_commit(token: str, body: dict[str, Any], key: str) -> None:
    """Killed when the work is done and the key is about to get its answer."""
    idempotency.IdempotencyKey.save = lambda *_args, **_more: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
    post(token, body, key)


def post(token: str, body: dict[str, Any], key: str) -> None:
    """A request of the API."""
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
    client = Client(SERVER_NAME="localhost")  # outside pytest nothing lets the test client's own name in
    answer = client.post(VMS, json.dumps(body), content_type="application/json", headers=headers)
    assert answer.status_code == 202, answer.content
