"""What is nobody else's to read: secrets, whatever role one holds (AZ07), and what is personal (AZ14)."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.common.actor import system_actor
from portal.common.models import Session
from portal.common.sealed import seal_json
from portal.hypervisors.models import Provider
from tenants import policy
from tenants.models import Directory, Role, User
from tests.edge.access_bodies import address
from tests.edge.world import World
from tests.people import PASSWORD

CANARY = "a-password-of-a-hypervisor"
# Where something stands that was made of secrets, or beside them.
NEAR_SECRETS = (
    "/api/v1/providers/",
    "/api/v1/providers/{uid}/",
    "/api/v1/directories/",
    "/api/v1/directories/{uid}/",
    "/api/v1/tokens/",
    "/api/v1/data-centers/{uid}/tokens/",
    "/api/v1/vms/{uid}/",
    "/api/v1/jobs/{uid}/",
    "/api/v1/events/",
    "/providers/{uid}/",
    "/providers/{uid}/edit/",
    "/directories/{uid}/edit/",
    "/machines/{uid}/",
    "/machines/{uid}/console/",
)
MAIL, KEY, HOME = "bob@mail.example", "AAAAC3NzaC1lZDI1NTE5AAAAIbob", "198.51.100.77"
# Where bob, his machine and what he did are told of.
NEAR_BOB = (
    "/api/v1/vms/",
    "/api/v1/jobs/",
    "/api/v1/events/",
    "/api/v1/events/export/",
    "/api/v1/data-centers/{uid}/people/",
    "/api/v1/data-centers/{uid}/holders/",
    "/api/v1/grants/{kind}/{uid}/",
    "/",
    "/events/",
    "/data-centers/{uid}/people/",
    "/data-centers/{uid}/people/{user}/share/",
    "/data-centers/{uid}/who/",
    "/users/{uid}/",
)


def text_of(answer: Any) -> str:
    return (b"".join(answer) if answer.streaming else answer.content).decode(errors="replace")


@pytest.mark.long
@pytest.mark.once
def test_AZ07_no_role_shows_a_secret(world):  # noqa: N802
    sealed = seal_json({"password": CANARY})
    Provider.objects.update(sealed_secrets=sealed)
    secrets = (PASSWORD, CANARY, sealed, Directory.objects.get().sealed_password, "sealed_", "<domain")
    roles = list(Role.objects.values_list("codename", flat=True))
    assert len(roles) > 15
    met = set()
    for role in roles:
        user = User.objects.create_user(f"of-{role}"[:60], password="x")
        policy.grant(system_actor(), role, user, policy.system())
        client = Client()
        client.force_login(user)
        for path in NEAR_SECRETS:
            answer = client.get(address(world, path))
            text = text_of(answer)
            assert not [secret for secret in secrets if secret in text], (role, path)
            met |= {path} if answer.status_code == 200 else set()
    assert met == set(NEAR_SECRETS), "each of them was looked at by somebody"


@pytest.mark.long
@pytest.mark.once
def test_AZ14_mail_keys_and_address_of_a_person_are_told_to_nobody_beside_him(world):  # noqa: N802
    bob = world.place.users["bob"]
    User.objects.filter(pk=bob.pk).update(email=MAIL)
    Session.objects.filter(user_uid=bob.pk).update(client_address=HOME)
    wish: dict[str, Any] = {
        "data_center": world.ids["data_center"],
        "template": world.ids["template"],
        "name": "of-bob",
    }
    wish |= {"initial_run": {"user_name": "bob", "ssh_authorized_keys": [f"ssh-ed25519 {KEY} bob@laptop"]}}
    made = world.api("peer").post("/api/v1/vms/", wish, content_type="application/json", REMOTE_ADDR=HOME)
    assert made.status_code == 202, made.content
    uid = made.json()["vm"]["id"]
    of_machine = (f"/api/v1/vms/{uid}/", f"/api/v1/vms/{uid}/events/", f"/machines/{uid}/", f"/machines/{uid}/events/")
    for rank in ("outsider", "other_admin", "owner", "admin"):
        for path in (*NEAR_BOB, *of_machine):
            answer = reader(world, rank, path).get(address(world, path))
            found = [each for each in (MAIL, KEY, HOME) if each in text_of(answer)]
            assert not found, (rank, path, found)
    assert HOME in text_of(world.browser("root").get("/events/")), "super-admins alone see addresses"
    assert "of-bob" in text_of(world.browser("admin").get("/events/"))


def reader(world: World, rank: str, path: str) -> Client:
    return world.api(rank) if path.startswith("/api/") else world.browser(rank)
