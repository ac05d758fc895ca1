"""The demo that bin/up makes is a working portal, and its machines outlive the portal but not --purge."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from typing import Any
from uuid import uuid4

import pytest

from tests.up.portal_run import PortalRun, eventually

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("libvirtd")]
BYSTANDER = (
    "<network><name>bystander</name><forward mode='nat'/><ip address='10.99.0.1' netmask='255.255.255.0'/></network>"
)


def test_the_demo_runs_machines_that_outlive_the_portal_but_not_its_purge(portal_run: PortalRun) -> None:
    virsh("net-define", "/dev/stdin", given=BYSTANDER)
    machines, pools = there("list"), there("pool-list")  # of whoever has a portal on this machine
    started = portal_run.up("--detach")
    assert started.returncode == 0, started.stdout + started.stderr
    ranks = sorted((login["rank"], login["data_center"]) for login in portal_run.status()["logins"])
    assert ranks == sorted([
        ("super-admin", ""),
        *(("data-center-admin", name) for name in ("informatics", "physics")),
        *(("end-user", name) for name in ("informatics", "physics") for _ in range(2)),
    ])  # fmt: skip
    uid = make_machine(portal_run, "alice")
    assert uid in virsh("list", "--uuid")
    assert portal_run.up("--stop").returncode == 0
    assert uid in virsh("list", "--uuid")
    try_with_an_engine(portal_run)
    purged = portal_run.up("--purge")
    assert purged.returncode == 0, purged.stdout + purged.stderr
    # A machine that tried the accelerator for a process that ended goes with its connection, soon after.
    assert eventually(lambda: there("list") == machines)
    assert there("pool-list") == pools
    assert "bystander" in virsh("net-list", "--all", "--name").split()
    assert "physics" not in virsh("net-list", "--all", "--name").split()
    virsh("net-undefine", "bystander")


def try_with_an_engine(run: PortalRun) -> None:
    """The flag later, on what is there: one user has machines of two providers under one quota. Then without it again."""
    started = run.up("--detach", "--with-ovirt")
    assert started.returncode == 0, started.stdout + started.stderr
    assert run.process("engine")["status"] == "running"
    uid, token = make_machine(run, "alice", provider="engine"), token_of(run, "alice")
    listed = call(run, "vms/", token=token)["results"]
    assert len(listed) == 2
    assert len({one["data_center"] for one in listed}) == 1
    assert eventually(lambda: call(run, f"vms/{uid}/", token=token)["status"] == "up")
    assert run.engine().violations() == []
    assert run.up("--stop").returncode == 0
    assert run.living() == [], "the engine's machines end with it"
    again = run.up("--detach")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "engine" not in [entry["name"] for entry in run.status()["processes"]]
    root = token_of(run, "admin")
    assert eventually(lambda: provider_status(run, root, "engine") == "unreachable", seconds=60)
    assert provider_status(run, root, "local") == "up"


def provider_status(run: PortalRun, token: str, name: str) -> str:
    rows = call(run, "providers/", token=token)["results"]
    return str(next(row["status"] for row in rows if row["name"] == name))


def token_of(run: PortalRun, username: str) -> str:
    password = next(login["password"] for login in run.status()["logins"] if login["username"] == username)
    ask = {"username": username, "password": password, "name": "test", "scope": "write"}
    return str(call(run, "tokens/", ask)["token"])


def make_machine(run: PortalRun, username: str, *, provider: str = "local") -> str:
    """A running machine of this user from that provider's template, made through the API; its UUID."""
    token = token_of(run, username)
    kind = {"local": "libvirt", "engine": "ovirt"}[provider]
    templates = call(run, "templates/", token=token)["results"]
    template = next(one["id"] for one in templates if one["place"] == kind)
    data_center = call(run, "data-centers/", token=token)["results"][0]["id"]
    wanted = {"name": f"outlives-{provider}", "data_center": data_center, "template": template, "run": True}
    accepted = call(run, "vms/", wanted, token=token)
    job = f"jobs/{accepted['job']['id']}/"
    final = {"finished", "failed", "aborted", "closed", "stuck"}
    assert eventually(lambda: call(run, job, token=token)["status"] in final, seconds=90)
    assert call(run, job, token=token)["status"] == "finished"
    return str(accepted["vm"]["id"])


def call(run: PortalRun, path: str, body: dict[str, Any] | None = None, *, token: str = "") -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid4())}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"http://127.0.0.1:{run.port}/api/v1/{path}", data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        content: dict[str, Any] = json.load(answer)
    return content


def there(kind: str) -> set[str]:
    """The names of all machines, or of all pools ("pool-list")."""
    return set(virsh(kind, "--all", "--name").split())


def virsh(*arguments: str, given: str = "") -> str:
    command = ["virsh", "-q", "-c", "qemu:///system", *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=30).stdout
