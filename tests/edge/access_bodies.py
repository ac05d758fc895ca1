"""What is sent to every address when the access tests walk it, and whose ids stand in it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group

from compute.services.upgrades import look_of
from portal.hypervisors.models import Provider
from tests.edge.world import World
from tests.people import PASSWORD

KINDS = {
    "clusters": "cluster",
    "storage-domains": "storage_domain",
    "networks": "network",
    "templates": "template",
}
NOUNS = {
    "storage-domains": "storage_domain",
    "data-centers": "data_center",
    "tokens": "token",
    "sessions": "session",
    "jobs": "job",
    "vms": "vm",
    "machines": "vm",
    "users": "user",
    "directories": "directory",
    "providers": "provider",
    "clusters": "cluster",
    "images": "image",
    "volume-offers": "volume_offer",
    "networks": "network",
    "vnic-profiles": "vnic_profile",
    "templates": "template",
    "roles": "custom_role",
    "grants": "data_center",
}
TO_ADOPT = {"POST /api/v1/unassigned-vms/adopt/": ("machines", True), "POST /unassigned/": ("machine", False)}
TO_MEASURE = {"POST /api/v1/unassigned-vms/measure/": "machines", "POST /unassigned/measure/": "machine"}
FIXED: dict[str, dict[str, Any]] = {
    "POST /api/v1/users/": {"username": "erna", "password": "another long one 42"},
    "PATCH /api/v1/users/{uid}/": {"password": "another long one 42", "present_password": PASSWORD},
    "POST /api/v1/data-centers/{uid}/people/": {"username": "bob", "role": "end-user"},
    "POST /api/v1/roles/": {"name": "Night shift", "permits": ["VM_VIEW", "VM_RUN"]},
    "PATCH /api/v1/roles/{uid}/": {"permits": ["VM_VIEW", "VM_RUN"]},
    "POST /roles/new/": {"name": "Night shift", "permits": ["VM_VIEW", "VM_RUN"]},
    "POST /roles/{uid}/edit/": {"name": "Helper", "permits": ["VM_VIEW", "VM_RUN"]},
    "POST /roles/{uid}/remove/": {},
    "POST /api/v1/grants/{kind}/{uid}/": {"role": "end-user", "user": "bob"},
    "POST /grants/{kind}/{uid}/": {"who": "user", "name": "bob", "role": "end-user"},
    "PATCH /api/v1/vms/{uid}/": {"protected": True},
    "POST /api/v1/tokens/": {"username": "alice", "password": PASSWORD, "name": "more", "permits": ["VM_VIEW"]},
    "POST /api/v1/data-centers/{uid}/tokens/": {
        "name": "deploy",
        "role": "end-user",
        "permits": ["VM_CREATE"],
        "expires_in": 600,
    },
    "POST /data-centers/{uid}/tokens/new/": {
        "password": PASSWORD,
        "name": "deploy",
        "role": "end-user",
        "scope": "write",
        "expires_in": "86400",
        "key": "k" * 32,
    },
    "POST /api/v1/jobs/{uid}/close/": {"reason": "Removed by hand.", "confirm": "web-1"},
    "POST /jobs/{uid}/close/": {"reason": "Removed by hand.", "confirm": "web-1"},
    "POST /api/v1/factor/": {"sealed": "x", "code": "123456"},
    "POST /api/v1/factor/codes/": {"code": "123456"},
    "POST /api/v1/factor/remove/": {"code": "123456"},
    "PUT /api/v1/factor-ranks/": {"roles": ["super-admin"]},
    "POST /factor/add/": {"sealed": "x", "code": "123456"},
    "POST /tokens/new/": {
        "name": "more",
        "scope": "write",
        "expires_in": "86400",
        "key": "k" * 32,
        "password": PASSWORD,
    },
    "POST /login/": {"username": "alice", "password": PASSWORD},
    "POST /language/": {"language": "el", "theme": "dark"},
    "POST /theme/": {"language": "el", "theme": "dark"},
    "PUT /api/v1/data-centers/{uid}/quota/": {"limits": {"machines": 5}},
    "PUT /api/v1/data-centers/{uid}/people/{user}/quota/": {"limits": {"machines": 5}},
}


def provider_body(world: World, operation: str) -> dict[str, Any]:
    old = world.place.provider
    if operation.startswith("PATCH"):
        return {"name": "renamed"}
    if operation == "POST /providers/{uid}/edit/":
        return {"name": "renamed", "kind": old.kind, "address": old.address}
    if operation.endswith("/accept-version/"):
        return {"look": look_of(Provider.objects.get(pk=old.pk))}
    new = {"kind": old.kind, "address": f"{old.address}2"}
    if operation in {"POST /api/v1/providers/", "POST /providers/new/"}:
        return new | {"name": "second"}
    return new if operation == "POST /api/v1/providers/test/" else {}


def cluster_body(world: World, operation: str) -> dict[str, Any]:
    if not operation.endswith((" /api/v1/clusters/", " /clusters/new/", "/clusters/{uid}/", "/clusters/{uid}/edit/")):
        return {}
    named = {"name": "joined", "memory_overcommit_percent": 200}
    return named if "{uid}" in operation else named | {"hosts": [world.ids["host"]]}


def directory_body(world: World, operation: str) -> dict[str, Any]:
    """Of directories: of one where nothing listens, so that a try of it ends at once."""
    if operation.startswith("PATCH"):
        return {"domains": ["uni.example"]}
    if operation.endswith(("/test/", "/new/", "/edit/", "/api/v1/directories/")) and "{uid}/test" not in operation:
        is_api, is_edit = "/api/" in operation, operation.endswith("/edit/")
        new = {
            "name": "staff" if is_edit else "second",
            "kind": "openldap",
            "urls": ["ldaps://127.0.0.1:1"] if is_api else "ldaps://127.0.0.1:1",
            "bind_dn": "cn=portal,dc=uni",
            "base_dn": "dc=uni",
        }
        secret = {} if is_edit else {"password": PASSWORD}
        return new | secret | ({} if is_api else {"starts_tls": "no", "brake_percent": "30", "domains": "uni.example"})
    if operation.endswith("/simulate/"):
        return {"username": "erna"}
    if operation.endswith("/remove/"):
        return {"role": "end-user", "target": world.ids["data_center"]}
    is_mapping = operation in {"POST /directories/{uid}/", "POST /api/v1/directories/{uid}/groups/"}
    return {"group": "staff", "role": "end-user", "target": world.ids["data_center"]} if is_mapping else {}


def network_body(world: World, operation: str) -> dict[str, Any]:
    if not operation.endswith(("/networks/", "/networks/new/")):
        return {}
    named = {"name": "second", "provider": world.ids["provider"]}
    return named | ({"data_center": world.ids["data_center"]} if "/api/" in operation else {})


def chosen_body(world: World, operation: str) -> dict[str, Any]:
    """Of forms over machines that were ticked, or that move."""
    if operation.endswith("/move/"):
        there = {"data_center": str(world.place.centers["informatics"].pk), "owner": "charlie"}
        return there if "/api/" in operation else there | {"action": "move"}
    if operation == "POST /grants/{kind}/{uid}/take/":
        return {"user": world.ids["user"], "role": "end-user"}
    if operation == "POST /machines/bulk/":
        return {"verb": "stop", "machine": world.ids["vm"], "key": "k" * 32}
    if operation in TO_MEASURE:
        return {TO_MEASURE[operation]: [world.ids["found_vm"]]}
    if operation not in TO_ADOPT:
        return {}
    named, several = TO_ADOPT[operation]
    chosen = world.ids["found_vm"]
    return {named: [chosen] if several else chosen, "data_center": world.ids["data_center"], "owner": ""}


def launch_body(world: World, operation: str) -> dict[str, Any]:
    if not operation.endswith("/data-centers/launch/"):
        return {}
    named = {"name": "chemistry", "admin": "bob", "clusters": [world.ids["cluster"]]}
    named |= {"storage_domains": [world.ids["storage_domain"]]}
    return named if "/api/" in operation else named | {"go": "launch", "key": "k" * 32}


def shelf_body(world: World, operation: str) -> dict[str, Any]:
    """Of images and templates."""
    if operation == "POST /api/v1/images/":
        return {"name": "disk", "format": "raw", "size_bytes": 10, "data_center": world.ids["data_center"]}
    if operation == "POST /api/v1/templates/":
        named = {name: world.ids[name] for name in ("data_center", "storage_domain")}
        return {"name": "new", "image": world.ids["ready_image"]} | named
    if operation in {"POST /api/v1/volume-offers/", "POST /storage-domains/{uid}/volumes/offer/"}:
        named = {"storage_domain": world.ids["storage_domain"]} if "/api/" in operation else {}
        return named | {"name": "golden.qcow2", "data_center": world.ids["data_center"]}
    if operation == "POST /templates/{uid}/edit/":
        return {"name": "ours", "icon": "server", "memory_mib": 256, "memory_min_mib": 128, "vcpus": 1}
    if operation in {"POST /templates/{uid}/assign/", "POST /templates/{uid}/unassign/"}:
        return {"data_center": world.ids["data_center"]}
    return {}


def address(world: World, path: str) -> str:
    """The address of the world's own thing of that noun."""
    nouns = path.removeprefix("/api/v1").split("/")
    named = {name: world.ids.get(name, "") for name in ("user", "group", "role", "target", "found")}
    named |= {"kind": "data_center", "number": str(Group.objects.get(name="staff everybody").pk)}
    named["token"] = world.ids.get("service_token", "")
    return path.format(
        uid=world.ids.get(NOUNS.get(nouns[1], ""), ""),
        resource=world.ids.get(KINDS.get(path.split("/")[-3:][0], ""), ""),
        dimension="machines",
        **named,
    )


def body(world: World, operation: str) -> dict[str, Any]:
    if operation in FIXED:
        return FIXED[operation]
    if found := chosen_body(world, operation) or network_body(world, operation) or cluster_body(world, operation):
        return found
    if "/people/" in operation or operation.startswith(("POST /users/", "POST /data-centers/{uid}/quota/")):
        known = {"username": "bob" if "/people/" in operation else "erna", "role": "end-user", "machines": "5"}
        secret = "another long one 42"
        return known | {"password": secret, "again": secret, "present": PASSWORD}
    if found := shelf_body(world, operation) or launch_body(world, operation):
        return found
    if "/directories/" in operation or "/providers/" in operation:
        return (directory_body if "/directories/" in operation else provider_body)(world, operation)
    if operation in {"POST /api/v1/vms/", "POST /machines/new/"}:
        wish = {"name": "web-2", "data_center": world.ids["data_center"], "template": world.ids["template"]}
        return wish if "/api/" in operation else wish | {"action": "create", "key": "k" * 32}
    if operation.split()[1].endswith(("data-centers/", "data-centers/new/", "/edit/")):
        return {"name": "physics" if "/edit/" in operation else "chemistry", "description": "ours"}
    if operation.startswith("PATCH"):
        return {"description": "ours"}
    if "/data-centers/" in operation and operation.split("/")[-2] in world.ids:
        return {"id": world.ids[operation.split("/")[-2]]}
    return {}
