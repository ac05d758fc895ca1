"""SE01: after the main job with all its failures and refusals, no secret is anywhere in clear but where it was asked for."""

from __future__ import annotations

import base64
import html
import json
import secrets
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.compute.console.world import greet
from tests.doubles.hypervisor_state import Fault
from tests.edge.installation import Installation, Listener, exchanged
from tests.edge.tls_socket import TlsSocket
from tests.lab.servers import wait_until

END_SECONDS = 120  # far beyond what anything takes, on whatever machine


@pytest.fixture
def installation(postgres: Any, tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path, postgres)
    try:
        made.start()
        yield made
    finally:
        made.close()


class Client:
    """A person with a token, and whatever he was answered that was no secret of his own."""

    def __init__(self, installation: Installation) -> None:
        self.at = installation
        self.answers: list[str] = []
        self.browser = requests.Session()
        self._tls = ssl.create_default_context(cafile=installation.ca)

    def ask(self, method: str, path: str, *, told: bool = False, **options: Any) -> requests.Response:
        """By the browser, or where a header says who asks, without it. ``told``: the answer shows a secret, this once."""
        http = self.browser if "Authorization" not in options.get("headers", {}) else requests
        answer = http.request(
            method, self.at.origin + path, timeout=END_SECONDS, allow_redirects=False, verify=self.at.ca, **options
        )
        if not told:
            self.answers.append(exchanged(answer))
        return answer

    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.at.canaries['token']}"}

    def post(self, path: str, body: Any, *, told: bool = False, **headers: str) -> requests.Response:
        return self.ask("POST", f"/api/v1{path}", told=told, json=body, headers=self.bearer() | headers)

    def get(self, path: str) -> Any:
        return self.ask("GET", f"/api/v1{path}", headers=self.bearer()).json()

    def socket(self, path: str, **options: Any) -> TlsSocket:
        options = {"additional_headers": self.bearer(), "open_timeout": END_SECONDS} | options
        return TlsSocket(f"wss://{self.at.address}{path}", tls=self._tls, **options)

    def refused(self, path: str, **options: Any) -> None:
        """A socket that does not come to be."""
        with pytest.raises((InvalidStatus, ConnectionClosed)), self.socket(path, **options) as socket:
            socket.recv(END_SECONDS)

    def ended(self, job: str) -> str:
        """How a job ended, as the websocket tells it."""
        told: dict[str, Any] = {}
        with suppress(ConnectionClosed), self.socket(f"/ws/jobs/{job}/") as socket:
            while True:
                text = str(socket.recv(END_SECONDS))
                self.answers.append(text)
                told = json.loads(text)
        return str(told["status"])


def test_SE01_the_search_finds_a_secret_in_each_of_its_forms():  # noqa: N802
    secret = 'a<b>&"c/d+e='
    forms = ('a<b>&"c/d+e=', "a%3Cb%3E%26%22c%2Fd%2Be%3D", "a&lt;b&gt;&amp;&quot;c/d+e=", 'a<b>&\\"c/d+e=')
    forms += ("613c623e2622632f642b653d", "YTxiPiYiYy9kK2U9")
    for form in forms:
        assert found({"it": secret}, {"here": f"xx{form}yy", "there": "nothing"}), form
    assert found({"it": secret}, {"here": "a<b>&"}) == []


@pytest.mark.redis
@pytest.mark.timeout(300)
def test_SE01_no_secret_is_left_anywhere_in_clear(installation):  # noqa: N802
    listener = Listener(installation.redis)
    listener.start()
    client = Client(installation)
    log_in(client)
    do_the_main_job(client)
    make_mistakes(client)
    let_everything_fail(client)
    places = dict(installation.listings()) | dict(installation.tables())
    places["redis"] = installation.redis.say("KEYS", "*").decode(errors="replace")
    refuse_to_start(installation)
    listener.stop()
    installation.stop()
    places |= {f"log of {name}": text for name, text in installation.logs().items()}
    places["what redis heard"] = listener.heard.decode(errors="replace")
    places |= {f"answer {number}": text for number, text in enumerate(client.answers)}
    assert_lively(places)
    hits = found(installation.canaries, places)
    assert not hits, "\n\n".join(hits)


def log_in(client: Client) -> None:
    """By the page, and by the API; wrong first."""
    canaries = client.at.canaries
    for password in ("wrong", canaries["password of alice"]):
        page = client.ask("GET", "/login/")
        form = {"username": "alice", "password": password, "csrfmiddlewaretoken": client.browser.cookies["csrftoken"]}
        headers = {"Referer": f"{client.at.origin}/login/"}
        answer = client.ask("POST", "/login/", told=password != "wrong", data=form, headers=headers)
        assert answer.status_code == (401 if password == "wrong" else 302), page.text
    canaries["session key"] = client.browser.cookies["sessionid"]
    for path in ("/", "/jobs/", "/machines/new/", "/api/v1/me/", "/api/v1/schema/", "/api/v1/docs/"):
        client.ask("GET", path)
    credentials = {"username": "alice", "name": "t", "scope": "write"}
    for password in ("wrong", canaries["password of alice"]):
        body = credentials | {"password": password}
        made = requests.post(f"{client.at.origin}/api/v1/tokens/", json=body, verify=client.at.ca, timeout=END_SECONDS)
    canaries["token"] = made.json()["token"]


def do_the_main_job(client: Client) -> None:
    """Make a machine with first-boot data, sit at its console, turn it off, delete it."""
    canaries = client.at.canaries
    canaries["ssh key"] = f"AAAAC3NzaC1lZDI1NTE5AAAAI{secrets.token_hex(20)}"
    canaries["comment of the ssh key"] = f"canary{secrets.token_hex(8)}@lab"
    canaries["user of the machine"] = f"u{secrets.token_hex(8)}"
    canaries["host name of the machine"] = f"h{secrets.token_hex(8)}"
    canaries["idempotency key"] = f"canary-{secrets.token_hex(16)}"
    vm = make_machine(client, "web-1")
    for path in (f"/vms/{vm}/", "/vms/", "/jobs/", "/tokens/", "/templates/", "/data-centers/"):
        client.get(path)
    for path in (f"/machines/{vm}/", f"/machines/{vm}/console/", f"/machines/{vm}/delete/", "/"):
        client.ask("GET", path)
    sit_at_the_console(client, vm)
    for verb in ("reboot", "stop"):
        job = client.post(f"/vms/{vm}/{verb}/", {}).json()["job"]["id"]
        assert client.ended(job) == "finished", verb
    job = client.ask("DELETE", f"/api/v1/vms/{vm}/", headers=client.bearer()).json()["job"]["id"]
    assert client.ended(job) == "finished"


def wish(client: Client, name: str) -> dict[str, Any]:
    canaries = client.at.canaries
    [template], [center] = (client.get(f"/{noun}/")["results"] for noun in ("templates", "data-centers"))
    initial = {
        "hostname": canaries["host name of the machine"],
        "user_name": canaries["user of the machine"],
        "ssh_authorized_keys": [f"ssh-ed25519 {canaries['ssh key']} {canaries['comment of the ssh key']}"],
    }
    return {"name": name, "template": template["id"], "data_center": center["id"], "initial_run": initial}


def make_machine(client: Client, name: str) -> str:
    asked = wish(client, name)
    key = {"Idempotency-Key": client.at.canaries["idempotency key"]}
    client.post("/vms/?dry_run=1", asked)
    made = client.post("/vms/", asked, **key)
    assert made.status_code == 202, made.text
    assert client.post("/vms/", asked, **key).status_code == 202
    assert client.post("/vms/", asked | {"name": "other"}, **key).status_code == 422
    assert client.ended(made.json()["job"]["id"]) == "finished"
    return str(made.json()["vm"]["id"])


def sit_at_the_console(client: Client, vm: str) -> None:
    """With the ticket; then again with it, with another, and with it where it does not belong."""
    canaries = client.at.canaries
    opened = client.post(f"/vms/{vm}/consoles/", {"protocol": "vnc"}, told=True).json()
    canaries["ticket"] = opened["ticket"]
    path, protocols = f"/ws/consoles/{opened['id']}/", ["binary", f"ticket.{opened['ticket']}"]
    with client.socket(path, subprotocols=protocols) as socket:
        greet(socket, client.at.screen.canary)
    client.refused(path, subprotocols=protocols)
    for number in range(2):
        canaries[f"ticket {number}"] = client.post(f"/vms/{vm}/consoles/", {}, told=True).json()["ticket"]
        client.refused(path, subprotocols=["binary", f"ticket.{canaries[f'ticket {number}']}"])
    client.refused(f"{path}?ticket={opened['ticket']}", subprotocols=["binary"])
    client.at.hypervisor.fail("console", Fault.REFUSED)
    opened = client.post(f"/vms/{vm}/consoles/", {}, told=True).json()
    canaries["ticket of a failure"] = opened["ticket"]
    client.refused(f"/ws/consoles/{opened['id']}/", subprotocols=["binary", f"ticket.{opened['ticket']}"])
    with client.socket(f"/ws/vms/?token={canaries['token']}") as socket:  # taken by its header, and logged by nobody
        socket.ping(END_SECONDS)


def make_mistakes(client: Client) -> None:
    """What people send where it does not belong."""
    mistake_the_log_in(client, client.at.canaries["password of alice"])
    mistake_the_rest(client, client.at.canaries["password of alice"], client.at.canaries["token"])


def mistake_the_log_in(client: Client, password: str) -> None:
    for body in (
        {"username": "alice", "passwort": password, "name": "t"},
        {"username": password, "password": password, "name": "t"},
        {"username": "alice", "password": [password], "name": {"x": password}},
        {"username": "alice", "password": password + "\x00", "name": "t"},
        {"username": "alice", "password": password, "name": "t", "scope": password, "expires_in": password},
    ):
        refusal = requests.post(
            f"{client.at.origin}/api/v1/tokens/", json=body, verify=client.at.ca, timeout=END_SECONDS
        )
        assert refusal.status_code in {400, 401}, refusal.text


def mistake_the_rest(client: Client, password: str, token: str) -> None:
    for path in (
        f"/api/v1/vms/?token={token}",
        f"/?token={token}",
        f"/login/?next=/%3Ftoken={token}",
        f"/nothing/?{token}",
    ):
        client.ask("GET", path, told=True)
    for credentials in (
        f"Basic {base64.b64encode(f'alice:{password}'.encode()).decode()}",
        f"Bearer {password}",
        token,
    ):
        assert client.ask("GET", "/api/v1/vms/", headers={"Authorization": credentials}).status_code == 401
    broken = json.dumps(wish(client, "web-2"))[:-1]
    client.ask("POST", "/api/v1/vms/", data=broken, headers=client.bearer() | {"Content-Type": "application/json"})
    client.ask(
        "POST", "/api/v1/vms/", data=broken * 500, headers=client.bearer() | {"Content-Type": "application/json"}
    )
    client.post("/vms/", wish(client, "<b>"))
    client.post("/vms/", wish(client, "web-2") | {"memory_mib": 2**30})
    client.ask(
        "POST", "/machines/new/", data={"csrfmiddlewaretoken": token}, headers={"Referer": "https://evil.example/"}
    )
    client.refused(
        "/ws/jobs/00000000-0000-4000-8000-000000000001/", additional_headers={"Authorization": f"Bearer {password}"}
    )
    client.refused(f"/ws/nothing/?token={token}")


def let_everything_fail(client: Client) -> None:
    """A hypervisor that refuses; a Redis that is gone, comes back and then knows another password; a database that dies."""
    at = client.at
    at.hypervisor.fail("create_disk", Fault.REFUSED)
    assert client.ended(client.post("/vms/", wish(client, "web-3")).json()["job"]["id"]) == "failed"
    at.redis.kill()
    assert client.post("/vms/", wish(client, "web-4")).status_code == 202
    at.redis.start()
    at.redis.say("CONFIG", "SET", "requirepass", "another")
    at.redis.password, right = "another", at.redis.password
    at.redis.say("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert client.post("/vms/", wish(client, "web-5")).status_code == 202
    said = (at.folder / "worker.log").stat().st_size
    wait_until(lambda: (at.folder / "worker.log").stat().st_size > said, "the worker to complain")
    at.redis.say("CONFIG", "SET", "requirepass", right)
    at.redis.password = right
    at.postgres.kill()
    at.postgres.start()
    for path in ("/api/v1/vms/", "/api/v1/me/", "/api/v1/vms/"):
        assert client.ask("GET", path, headers=client.bearer()).status_code in {200, 503}
    assert client.get("/me/")["username"] == "alice"


def refuse_to_start(at: Installation) -> None:
    """Commands with settings that hold a secret and cannot work."""
    database, redis = at.canaries["database password"], at.canaries["redis password"]
    for changes in (
        {"DATABASE_URL_FILE": "", "DATABASE_URL": f"postgres://portal:{database}@127.0.0.1:1/portal"},
        {"DATABASE_URL_FILE": "", "DATABASE_URL": f"postgres//portal:{database}@127.0.0.1/portal"},
        {"DATABASE_URL_FILE": "", "DATABASE_URL": f"postgres://portal:{database}@127.0.0.1:port/portal"},
        {"DATABASE_URL_FILE": "", "DATABASE_URL": f"{database}://portal@127.0.0.1/portal"},
        {"REDIS_URL_FILE": "", "REDIS_URL": f"redis//:{redis}@127.0.0.1"},
        {"SEAL_KEYS_FILE": "", "SEAL_KEYS": at.canaries["seal key 1"][:-4]},
        {"SECRET_KEY_FILE": "", "SECRET_KEY": at.canaries["secret key"][:40]},
    ):
        at.manage("migrate", "--check", changes=changes, fails=True)
    at.manage("create_user", "eve", text=f"{at.canaries['password of alice']}\n")


def assert_lively(places: dict[str, str]) -> None:
    """What is searched has been written to: the search would find something."""
    for name in ("web", "worker", "watcher", "beat", "manage"):
        assert len(places[f"log of {name}"]) > 200, name
    assert "VM_CREATED" in places["table events_event"]
    assert "run_job" in places["what redis heard"]
    assert "vm.changed" in places["what redis heard"]
    assert any("portal.serve" in text for name, text in places.items() if name.startswith("cmdline"))
    assert '"level": "debug"' in places["log of web"]


def found(canaries: dict[str, str], places: dict[str, str]) -> list[str]:
    """Which secret is where, in any of the forms that it may take on its way."""
    hits = []
    for what, secret in canaries.items():
        forms = {secret, quote(secret, safe=""), html.escape(secret), json.dumps(secret)[1:-1], secret.encode().hex()}
        forms.add(base64.b64encode(secret.encode()).decode().rstrip("=")[:-1])
        for name, text in places.items():
            hits += [f"{what} in {name}: {around(text, form)}" for form in forms if form in text]
    return hits


def around(text: str, form: str) -> str:
    """The line of a hit, as far as it helps."""
    at = text.index(form)
    return text[max(0, at - 200) : at + 100]
