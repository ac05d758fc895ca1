"""The control address: what tests tell the double to be, beside the API and with a secret of its own."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from tests.doubles.ovirt_engine import certificates, institute
from tests.doubles.ovirt_engine.asked import Asked
from tests.doubles.ovirt_engine.engine import Engine, Reply
from tests.doubles.ovirt_engine.paper import Paper

JSON = "application/json"
# What the engine writes when somebody brings a machine into a state.
TOLD: dict[Any, tuple[int, str]] = {
    "down": (61, "is down"), "up": (32, "started"), "paused": (1025, "has been paused"),
    "suspended": (512, "was suspended"),
}  # fmt: skip


class Controls:
    """Answers ``POST /control/<name>`` with the arguments as JSON."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._world = engine.world
        self._known: dict[str, Callable[..., Any]] = {
            "reset": engine.reset, "restarted": engine.restarted, "configure": self._configure, "fail": self._fail,
            "heal": engine.faults.heal, "standing": engine.faults.standing, "things": self._things,
            "plant_vm": self._plant, "plant_many": self._plant_many, "set_vm": self._set, "remove": self._remove,
            "put": self._put, "calls": self._calls, "violations": lambda: list(engine.check.violations),
            "advance": self._world.advance, "expire_tokens": self._world.tokens.clear, "grant": self._grant,
            "revoke": self._revoke, "event": self._event, "guest": self._guest, "renew_certificate": self._renew,
            "password_of": self._password_of, "rebuild": self._rebuild, "plant_pool": self._plant_pool,
        }  # fmt: skip

    def answer(self, asked: Asked) -> Reply:
        """Do what is asked; mistakes are told with status 400."""
        if not secrets.compare_digest(asked.headers.get("x-control", ""), self._engine.passwords["control"]):
            return Reply(403, b'{"error": "no"}', JSON)
        do = self._known.get(asked.path.removeprefix("/control/"))
        if do is None:
            return Reply(404, json.dumps({"error": f"no such control: {asked.path}"}).encode(), JSON)
        given = json.loads(asked.body or b"{}")
        try:
            with self._world.turn():
                found = do(**given)
        except (ValueError, KeyError, TypeError, StopIteration) as error:
            return Reply(400, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode(), JSON)
        return Reply(200, json.dumps(found).encode(), JSON)

    def _configure(self, **changes: Any) -> None:
        self._world.configure(changes)

    def _fail(self, pattern: str, fault: str, times: int = 1, **more: Any) -> None:
        self._engine.faults.order(pattern, fault, times, more)

    def _things(self, kind: str) -> dict[str, Any]:
        return self._world.store.of(kind)

    def _calls(self, *, clear: bool = False) -> list[str]:
        found = list(self._engine.calls)
        if clear:
            self._engine.calls.clear()
        return found

    def _plant(self, name: str, **fields: Any) -> str:
        vm = institute.plant(self._world, name, **fields)
        self._tell(34, f"VM {name} was created by admin@internal-authz.", vm)
        return str(vm["id"])

    def _plant_pool(self, name: str) -> str:
        return str(institute.plant_pool(self._world, name)["id"])

    def _tell(self, code: int, text: str, vm: dict[str, Any]) -> None:
        """Whoever does something to a machine, the engine writes an event of it."""
        self._world.event(code, text, vm=vm["id"], cluster=vm["cluster"], host=vm["host"] or "")

    def _plant_many(self, count: int, name: str = "machine", **fields: Any) -> list[str]:
        """``fields`` may hold ``{number}``, also in the name."""
        found = []
        for number in range(count):
            own = {key: _numbered(value, number) for key, value in fields.items()}
            found.append(self._plant(f"{name}-{number}" if "{number}" not in name else _numbered(name, number), **own))
        return found

    def _set(self, vm: str, **fields: Any) -> None:
        """Change a machine as somebody else would; a running status has it run, ``down`` stops it."""
        record = self._world.store.of("vms")[vm]
        status = fields.pop("status", None)
        self._world.save("vms", record, **fields)
        code, text = TOLD.get(status, (35, "was changed"))
        self._tell(code, f"VM {record['name']} {text}.", record)
        if status is None:
            return
        if status == "down":
            self._world.backing.stop(vm)
            self._world.save("vms", record, status="down", host=None, stop_time=self._world.now())
        elif record["host"] is None and status not in ("image_locked", "suspended"):
            institute.switch_on(self._world, record, status)
        else:
            self._world.save("vms", record, status=status)

    def _put(self, kind: str, key: str, **fields: Any) -> None:
        """Change any thing's record, or put one there."""
        self._world.save(kind, self._world.store.of(kind).get(key, {"id": key}), **fields)

    def _remove(self, kind: str, key: str) -> None:
        if kind == "vms":
            self._world.backing.stop(key)
            self._tell(113, "VM was successfully removed.", self._world.store.of("vms")[key])
        if self._world.store.drop(kind, key) is None:
            raise KeyError(key)

    def _grant(self, account: str, role: str, **target: str) -> str:
        return str(institute.grant(self._world, account, role, **target)["id"])

    def _revoke(self, account: str) -> None:
        """Take all permissions from an account."""
        user = institute.key("users", account)
        for one in self._world.all("permissions"):
            if one["user"] == user:
                self._world.store.drop("permissions", one["id"])

    def _event(self, code: int, text: str, severity: str = "normal", **links: str) -> int:
        return int(self._world.event(code, text, severity=severity, **links)["index"])

    def _guest(self, vm: str, does: str) -> None:
        """What a guest does by itself: ``powers_off``, or turns ``deaf`` to the power button or hears it again."""
        backing = self._world.backing
        if does == "powers_off":
            backing.stop(vm)
        elif does in ("deaf", "hears") and isinstance(backing, Paper):
            (backing.deaf.add if does == "deaf" else backing.deaf.discard)(vm)
        else:
            raise ValueError(does)

    def _password_of(self, vm: str) -> list[Any] | None:
        """What the last ticket set on a paper machine, and for how many seconds."""
        backing = self._world.backing
        found = backing.password(vm) if isinstance(backing, Paper) else None
        return list(found) if found else None

    def _renew(self) -> None:
        """New certificates, which hold from the next start on."""
        certificates.renew(self._world.folder)

    def _rebuild(self, kinds: list[str]) -> None:
        """Another engine, with what the old one had: things of these kinds under other ids."""
        self._world.store.rename({key: str(uuid4()) for kind in kinds for key in self._world.store.of(kind)})
        self._world.configure({"instance": str(uuid4())})
        self._world.tokens.clear()


def _numbered(value: Any, number: int) -> Any:
    return value.replace("{number}", str(number)) if isinstance(value, str) else value
