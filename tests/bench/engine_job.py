"""``bin/test --exec .venv/bin/python -m tests.bench.engine_job [--json] [--short]``: the main job's figures on an engine.

Starts a whole portal with the engine double beside it, and purges it at the end. Rows 12 and 13: from the click to the first
progress message, and to a machine that runs, beside the SDK asked for the same machine; from a change on the engine to the
page; and what the engine is asked for while nothing changes and a hundred pages look on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import ovirtsdk4
from ovirtsdk4 import types

from tests.bench import first_message
from tests.bench.client import PortalClient
from tests.bench.table import Row, row, show
from tests.doubles.ovirt_engine.control import EngineDouble
from tests.up.portal_run import PortalRun

ROUNDS = 7
QUIET_SECONDS = 60
PAGES = 100
POLL_SECONDS = 0.005
# The double's own, and what is quick for an engine: it asks its hosts how their tasks are every 10 s (AsyncTaskPollingRate
# of its configuration).
MAKING_SECONDS = (0.15, 5.0)


def customer(run: PortalRun) -> tuple[PortalClient, dict[str, Any]]:
    """An end user of the demo who orders on the engine."""
    client = client_of(run, "alice")
    templates = client.call("GET", "templates/")["results"]
    template = next(each for each in templates if each["place"] == "ovirt")
    center = client.call("GET", "data-centers/")["results"][0]["id"]
    return client, {"template": template["id"], "data_center": center}


def client_of(run: PortalRun, username: str) -> PortalClient:
    login = next(each for each in run.status()["logins"] if each["username"] == username)
    return PortalClient(run.port, username=username, password=login["password"])


class Sdk:
    """The calls without a portal: the machine, its card, its start; and looks until it is made, and until it runs."""

    def __init__(self, engine: EngineDouble, like: str) -> None:
        ca = str(engine.folder / "ca.pem")
        self._system = ovirtsdk4.Connection(
            url=engine.url, username=engine.username, password=engine.password, ca_file=ca
        ).system_service()
        self._vms = self._system.vms_service()
        self._like = self._vms.vm_service(like).get(follow="nics")

    def once(self) -> float:
        """Milliseconds; what it made is removed again."""
        began = time.perf_counter()
        made = self._vms.add(
            types.Vm(
                name=f"raw-{uuid4().hex[:8]}",
                template=types.Template(id=self._like.original_template.id),
                cluster=types.Cluster(id=self._like.cluster.id),
                memory=self._like.memory,
                initialization=types.Initialization(host_name="raw"),
            )
        )
        service = self._vms.vm_service(made.id)
        profile = self._like.nics[0].vnic_profile.id
        service.nics_service().add(types.Nic(name="nic2", vnic_profile=types.VnicProfile(id=profile)))
        self._until(service, {types.VmStatus.DOWN})
        service.start()
        self._until(service, {types.VmStatus.UP, types.VmStatus.POWERING_UP})
        took = (time.perf_counter() - began) * 1000
        service.stop()
        self._until(service, {types.VmStatus.DOWN})
        service.remove()
        return took

    @staticmethod
    def _until(service: Any, wanted: set[types.VmStatus]) -> None:
        while service.get().status not in wanted:
            time.sleep(POLL_SECONDS)


def provisioning(
    client: PortalClient, engine: EngineDouble, order: dict[str, Any], *, rounds: int, making: float
) -> list[Row]:
    """``making``: seconds that the engine takes to make a machine."""
    engine.configure(thin_seconds=making)
    like, _running, _finished = ordered(client, engine, order)
    sdk = Sdk(engine, like["external_id"])
    sdk.once()
    running, finished, bare = [], [], []
    for _ in range(rounds):
        bare.append(sdk.once())
        made, up, done = ordered(client, engine, order)
        running.append(up)
        finished.append(done)
        remove(client, made["id"])
    remove(client, like["id"])
    against = "the SDK: add, card, start, looks"
    return [
        row(f"click to running machine, made in {making:g} s", "ms", running, against=against, floor=bare),
        row(f"click to finished job, made in {making:g} s", "ms", finished, against=against, floor=bare),
    ]


def ordered(client: PortalClient, engine: EngineDouble, order: dict[str, Any]) -> tuple[dict[str, str], float, float]:
    """The machine with its id there; milliseconds until it ran on the engine, and until the job had ended."""
    began = time.perf_counter()
    accepted = client.call("POST", "vms/", order | {"name": f"bench-{time.monotonic_ns()}"})
    uid = accepted["vm"]["id"]
    word = uid.replace("-", "")
    external_id = ""
    while not external_id:
        time.sleep(POLL_SECONDS)
        for key, body in engine.things("vms").items():
            if word in body["comment"] and body["status"] in {"up", "powering_up"}:
                external_id = key
    running = (time.perf_counter() - began) * 1000
    client.wait(accepted["job"]["id"])
    return {"id": uid, "external_id": external_id}, running, (time.perf_counter() - began) * 1000


def remove(client: PortalClient, uid: str) -> None:
    client.wait(client.call("POST", f"vms/{uid}/stop/", {})["job"]["id"])
    client.wait(client.call("DELETE", f"vms/{uid}/")["job"]["id"])


def freshness(client: PortalClient, engine: EngineDouble, order: dict[str, Any], *, rounds: int) -> list[Row]:
    """From a change that somebody makes on the engine to the machine's part of an open page."""
    machine, _running, _finished = ordered(client, engine, order)
    took = []
    with client.page_socket() as socket:
        socket.send(json.dumps({"watch": [f"vm:{machine['id']}"]}))
        told(socket)
        for number in range(2 * rounds):
            time.sleep(0.37)  # at no fixed place between two looks of the watcher
            began = time.perf_counter()
            engine.set_vm(machine["external_id"], status=("paused", "up")[number % 2])
            socket.recv(timeout=30)
            took.append((time.perf_counter() - began) * 1000)
            told(socket)
    remove(client, machine["id"])
    return [row("change on the engine to the open page", "ms", took)]


def told(socket: Any) -> None:
    """Take what is still to come, until nothing does."""
    while True:
        try:
            socket.recv(timeout=1.5)
        except TimeoutError:
            return


def quiet(
    client: PortalClient, lookers: list[PortalClient], engine: EngineDouble, order: dict[str, Any], *, seconds: float
) -> list[Row]:
    """Requests per minute while nothing changes, without pages and with a hundred that look on."""
    machine, _running, _finished = ordered(client, engine, order)
    time.sleep(10)  # for its address, and whatever else is looked for after a start
    rows = [row("engine's requests a minute, nothing changes, no page", "", [asked(engine, seconds)])]
    with ExitStack() as stack:
        for number in range(PAGES):
            socket = stack.enter_context(lookers[number % len(lookers)].page_socket())
            socket.send(json.dumps({"watch": [f"vm:{machine['id']}", "jobs"]}))
        beside = asked(engine, seconds)
    rows.append(row(f"the same, {PAGES} pages look on", "", [beside]))
    remove(client, machine["id"])
    return rows


def asked(engine: EngineDouble, seconds: float) -> float:
    engine.calls(clear=True)
    time.sleep(seconds)
    return len(engine.calls()) * 60 / seconds


def measure(run: PortalRun, *, rounds: int, seconds: float) -> list[Row]:
    engine = run.engine()
    client, order = customer(run)
    remove(client, ordered(client, engine, order)[0]["id"])  # once held to the API in all that is measured
    engine.configure(strict=False)
    with first_message.running_floor(f"unix://{run.data / 'redis' / 'redis.sock'}") as floor:
        rows = first_message.measure(client, floor, order, rounds=rounds)
    for making in MAKING_SECONDS:
        rows += provisioning(client, engine, order, rounds=rounds, making=making)
    engine.configure(thin_seconds=MAKING_SECONDS[0])
    rows += freshness(client, engine, order, rounds=rounds)
    # One person has no more than fifty pages open.
    lookers = [client, client_of(run, "physics-admin")]
    rows += quiet(client, lookers, engine, order, seconds=seconds)
    assert engine.violations() == []
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--short", action="store_true", help="one round of each")
    options = parser.parse_args()
    run = PortalRun.new()
    try:
        started = run.up("--detach", "--with-ovirt")
        assert started.returncode == 0, started.stdout + started.stderr
        short = options.short
        rows = measure(run, rounds=1 if short else ROUNDS, seconds=10 if short else QUIET_SECONDS)
    finally:
        run.up("--purge")
        run.close()
    show(rows, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
