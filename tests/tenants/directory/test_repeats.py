"""What changes something by the API: rehearsed it leaves nothing, repeated under its key it is done once."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.common.models import IdempotencyKey
from portal.events.models import Event
from tenants.models import Directory, DirectoryGroup, User
from tests.lab.slapd_server import GROUPS, PEOPLE, PORTAL, PORTAL_PASSWORD
from tests.tenants.directory.conftest import fresh, log_in

SECRET = "Prima-vera-1642"
NOBODY = "cn=nobody,dc=lab,dc=example"


class Api:
    """A super-admin's client: each method gives the answer of one request."""

    def __init__(self, user: User) -> None:
        self._client = Client()
        self._client.force_login(user)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {"Idempotency-Key": headers["key"]} if headers else {}
        send = getattr(self._client, method)
        return send(f"/api/v1/directories/{path}", body or {}, content_type="application/json", headers=named)

    def rehearse(self, method: str, path: str, body: Any = None) -> Any:
        """What would be answered; nothing of it is left, but that a directory was asked stays on record."""
        before = rows()
        answer = self.send(method, f"{path}?dry_run=1", body)
        assert answer.status_code == 200, answer.content
        assert answer.json()["possible"] is True
        assert rows() == before
        return answer.json()["answer"]

    def twice(self, path: str, body: Any = None) -> Any:
        """The same answer to the same request under one key."""
        first, second = (self.send("post", path, body, key=f"key-{path}") for _ in range(2))
        assert first.status_code in {200, 201}, first.content
        assert (second.status_code, second.json()) == (first.status_code, first.json())
        assert second["Idempotent-Replay"] == "true"
        return first.json()


def rows() -> list[Any]:
    kinds = (Directory, DirectoryGroup, User, IdempotencyKey)
    told = Event.objects.exclude(code__startswith="DIRECTORY_TEST")
    return [list(found.order_by("pk").values()) for found in (*(kind.objects for kind in kinds), told)]


@pytest.fixture
def api(people) -> Api:
    return Api(people.super_admin)


def test_a_directory_from_its_connecting_to_its_removal(people, api, slapd):
    name, group = fresh("once"), fresh("group")
    dn = slapd.person(name, SECRET)
    group_dn = slapd.group(group, [dn])
    given = {
        "name": "lab", "kind": "openldap", "urls": [slapd.ldaps_url], "ca_pem": slapd.ca_pem, "bind_dn": PORTAL,
        "password": PORTAL_PASSWORD, "base_dn": PEOPLE, "group_base_dn": GROUPS,
    }  # fmt: skip
    assert api.rehearse("post", "", given)["name"] == "lab"
    refused = api.send("post", "?dry_run=1", given | {"bind_dn": NOBODY})
    assert (refused.status_code, refused.json()["code"]) == (409, "directory_not_reached")
    path = f"{api.twice('', given)['id']}/"
    assert api.rehearse("patch", path, {"brake_percent": 50})["brake_percent"] == 50

    role = {"group": group, "role": "end-user", "target": str(people.physics.pk)}
    assert api.rehearse("post", f"{path}groups/", role)["dn"] == group_dn
    [mapping] = api.twice(f"{path}groups/", role)["mappings"]
    assert Event.objects.filter(code="GROUP_MAP_DONE").count() == 1

    browser = Client()
    log_in(name, SECRET, browser)
    slapd.change(group_dn, member=[NOBODY])
    [change] = api.rehearse("post", f"{path}sync/")["changes"]
    assert change["left"] == [group]
    [change] = api.twice(f"{path}sync/")["changes"]
    assert not User.objects.get(username=f"lab\\{name}").groups.exists()

    assert api.rehearse("patch", path, {"enabled": False})["enabled"] is False
    assert browser.get("/api/v1/me/").status_code == 200
    api.send("patch", path, {"enabled": False})
    refused = api.send("post", f"{path}sync/?dry_run=1")
    assert (refused.status_code, "Enable it first" in refused.json()["detail"]) == (409, True)
    api.rehearse("delete", f"{path}groups/{mapping['group']}/roles/end-user/{people.physics.pk}/")
    User.objects.filter(username=f"lab\\{name}").delete()
    api.rehearse("delete", path)
    assert api.send("delete", path).status_code == 204
