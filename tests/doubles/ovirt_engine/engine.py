"""The engine as a whole: requests in, answers out."""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.doubles.ovirt_engine import disks, institute, jobs, making, power, routes, strict
from tests.doubles.ovirt_engine.asked import XML, Answer, Asked, Misused, Refused
from tests.doubles.ovirt_engine.backing import Backing
from tests.doubles.ovirt_engine.bodies import resolve
from tests.doubles.ovirt_engine.faults import Fault, Faults
from tests.doubles.ovirt_engine.shape import BASE, INVENTED, Follow, Item, Unfollowable, Writer
from tests.doubles.ovirt_engine.world import World

PKI = "/ovirt-engine/services/pki-resource"
TOKEN = "/ovirt-engine/sso/oauth/token"
LOGOUT = "/ovirt-engine/services/sso-logout"
CALLS_KEPT = 100_000
NAMED = ("/vms", "/disks")  # what a portal changes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it goes out."""

    status: int
    body: bytes = b""
    kind: str = XML
    headers: dict[str, str] = field(default_factory=dict)


class Engine:
    """The double's engine on a folder. ``schema``: the file of the API's schema, or nothing."""

    def __init__(self, folder: Path, backing: Backing, *, schema: str = "") -> None:
        self.world = World(folder, backing)
        self.faults = Faults()
        self.check = strict.Check(schema)
        self.calls: list[str] = []
        self.ca = (folder / "ca.pem").read_bytes()
        self.passwords = _secrets(folder)
        self.world.verbs.update(
            vm_made=making.made, vm_launch=power.launched, vm_booted=power.booted, vm_press=power.pressed,
            vm_deaf=power.deaf, vm_saved=power.saved, disk_made=disks.made, disk_gone=disks.gone,
            job_progress=jobs.progress, clear_job=jobs.clear,
        )  # fmt: skip
        self.world.watches.append(lambda: power.look(self.world))
        with self.world.turn():
            if self.world.store.of("datacenters"):
                jobs.lose_track(self.world)
            else:
                institute.found(self.world)

    def start_clock(self) -> None:
        threading.Thread(target=self.world.run_clock, daemon=True, name="clock").start()

    def restarted(self) -> None:
        """What a restart leaves: jobs of unknown end, and no token that is good."""
        with self.world.turn():
            self.world.tokens.clear()
            jobs.lose_track(self.world)

    def reset(self) -> None:
        """Back to the fresh institute. Tokens stay good."""
        with self.world.turn():
            strict_before = self.world.settings.strict
            self.faults.heal()
            self.world.forget_all()
            self.world.configure({"strict": strict_before})
            self.check.violations.clear()
            self.calls.clear()
            institute.found(self.world)

    # -- requests

    def answer(self, asked: Asked, fault: Fault | None = None) -> Reply:
        """Answer a request. ``fault``: what is to go wrong on the way, where that is the engine's part."""
        if not asked.path.startswith(BASE):
            return self._services(asked)
        user = self.world.tokens.get(asked.headers.get("authorization", "").removeprefix("Bearer ").strip(), "")
        if not user:
            return Reply(401, b"<html><head><title>Error</title></head><body>Unauthorized</body></html>", "text/html",
                         {"WWW-Authenticate": 'Basic realm="RESTAPI"'})  # fmt: skip
        below = asked.path[len(BASE) :].rstrip("/")
        self.calls.append(f"{asked.method} {below}" + (f"?{_line(asked.query)}" if asked.query else ""))
        del self.calls[:-CALLS_KEPT]
        with self.world.turn():
            return self._api(replace(asked, user=user, path=below), fault)

    def _api(self, asked: Asked, fault: Fault | None) -> Reply:
        found = routes.find(asked.method, asked.path)
        if found is None:
            if not self.check.known_path(asked.path):
                return Reply(404)
            return self._violation(f"{asked.method} {asked.path}: the double has not learned this")
        route, names = found
        if unknown := set(asked.query) - set(route.query):
            return self._violation(f"{asked.method} {asked.path}: no such parameter here: {', '.join(sorted(unknown))}")
        asked = replace(asked, names=names)
        try:
            with _Bent(self.world, fault):
                self._heard(asked)
                answer = route.handler(self.world, asked)
            return self._write(answer, asked.follow, asked.path)
        except Refused as error:
            return self._refusal(error, is_action=asked.method == "POST" and route.path.endswith(_ACTIONS))
        except (Misused, Unfollowable) as error:
            return self._violation(f"{asked.method} {asked.path}: {type(error).__name__}: {error}")

    def _heard(self, asked: Asked) -> None:
        """What every command checks of a request; and that what we change is asked for under a name, to be found again by."""
        if asked.method == "GET" or asked.correlation:
            return
        if self.world.settings.strict and asked.path.startswith(NAMED):
            raise Misused("no Correlation-Id")

    def _write(self, answer: Answer, follow: Follow, path: str = "") -> Reply:
        if answer.one is None and not answer.tag:
            return Reply(answer.status)
        writer = Writer(self.world, lambda ref: resolve(self.world, ref))
        if self.world.settings.unknown_fields:
            writer.unknown_fields = True
        if answer.one is not None:
            writer.thing(*answer.one, follow)
        else:
            writer.collection(answer.tag, answer.items, follow)
        body = writer.text().encode()
        if self.world.settings.strict and (wrong := self.check.body(body.replace(INVENTED.encode(), b""))):
            return self._violation(f"answer of {path}: {wrong}")
        return Reply(answer.status, body)

    def _refusal(self, error: Refused, *, is_action: bool) -> Reply:
        if not error.detail:
            return Reply(error.status)
        fault: Item = ("fault", {"detail": error.detail, "reason": error.reason})
        if is_action:
            fault = ("action", {"fault": fault[1], "status": "failed"})
        return self._write(Answer(error.status, one=fault), {})

    def _violation(self, text: str) -> Reply:
        self.check.violations.append(text)
        return Reply(500, f"the double was misused: {text}".encode(), "text/plain")

    # -- beside the API

    def _services(self, asked: Asked) -> Reply:
        if asked.path == PKI and asked.method == "GET":
            if asked.query.get("resource") != "ca-certificate":
                return Reply(404, b"", "text/html")
            return Reply(200, self.ca, "application/x-x509-ca-cert")
        if asked.path == TOKEN and asked.method in ("POST", "GET"):
            return self._token(asked)
        if asked.path == LOGOUT:
            given = {**asked.query, **_form(asked.body)}
            self.world.tokens.pop(given.get("token", ""), None)
            return _json(200, {})
        return Reply(404, b"<html><body>Not Found</body></html>", "text/html")

    def _token(self, asked: Asked) -> Reply:
        """Log in by name and password, as an application."""
        given = {**asked.query, **_form(asked.body)}
        self.calls.append("POST sso")
        if given.get("grant_type") != "password":
            return _json(400, {"error": "unsupported_grant_type", "error_code": "unsupported_grant_type",
                               "error_description": "Unsupported grant type"})  # fmt: skip
        name, _, profile = given.get("username", "").rpartition("@")
        users = self.world.store.of("users").values()
        user = next((one for one in users if one["name"] == name and one["profile"] == profile), None)
        right = self.passwords.get(f"{name}@{profile}", "")
        if user is None or not right or not secrets.compare_digest(given.get("password", ""), right):
            text = f"Cannot authenticate user '{given.get('username', '')}': The user name or password is incorrect.."
            return _json(401, {"error": "access_denied", "error_code": "access_denied", "error_description": text})
        token = secrets.token_urlsafe(48)
        with self.world.turn():
            self.world.tokens[token] = user["id"]
            text = f"User {name}@{profile}-authz connecting from '127.0.0.1' using session '{token[:8]}' logged in."
            self.world.event(30, text, user=user["id"])
        until = int((self.world.now() + 1800) * 1000)
        return _json(200, {"access_token": token, "scope": "ovirt-app-api", "exp": str(until), "token_type": "bearer"})


_ACTIONS = tuple(f"/{name}" for name in (*power.PERMITS, "ticket"))


class _Bent:
    """The world for one request, as a fault bends it."""

    def __init__(self, world: World, fault: Fault | None) -> None:
        self._world, self._fault = world, fault
        self._before: dict[str, Any] = {}

    def __enter__(self) -> None:
        if self._fault is None:
            return
        settings, more = self._world.settings, self._fault.more
        if self._fault.fault == "job_fails":
            settings.next_making_fails = more.get("detail", "Volume creation failed")
        elif self._fault.fault == "removal_fails":
            settings.next_removal_fails = True
        elif self._fault.fault == "locked":
            for name in ("thin_seconds", "clone_seconds", "disk_seconds"):
                self._before[name] = getattr(settings, name)
                setattr(settings, name, float(more.get("seconds", 3600)))
        elif self._fault.fault == "storage_full":
            for domain in self._world.all("storagedomains"):
                domain["full"] = True

    def __exit__(self, *_: object) -> None:
        if self._fault is not None and self._fault.fault == "storage_full":
            for domain in self._world.all("storagedomains"):
                domain["full"] = False
        for name, value in self._before.items():
            setattr(self._world.settings, name, value)


def _secrets(folder: Path) -> dict[str, str]:
    """The passwords of the accounts and the token of the control address; made at the first start."""
    path = folder / "secrets.json"
    if not path.exists():
        names = ("admin@internal", institute.USER, institute.VIEWER, "control")
        path.touch(mode=0o600)
        path.write_text(json.dumps({name: secrets.token_urlsafe(12) for name in names}))
    found: dict[str, str] = json.loads(path.read_text())
    return found


def _form(body: bytes) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}


def _json(status: int, value: dict[str, Any]) -> Reply:
    return Reply(status, json.dumps(value).encode(), "application/json;charset=UTF-8")


def _line(query: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in query.items())
