"""The double as tests hold it: a process that is started, killed and started again, and told what to be."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.doubles.ovirt_engine import reference
from tests.lab.servers import Server, free_port

ROOT = Path(__file__).resolve().parents[3]


class Refusal(Exception):
    """The double would not do what it was told; the text says why."""


class EngineDouble(Server):
    """An engine double on a folder of its own, held to the API's schema where ``STEGI_REFERENCE`` names a folder with it.

    Its state outlives ``stop`` and ``kill``, and so do its machines where they are real: with an ``image``, which the disks of
    its templates hold. ``times``: how often a fault happens.
    """

    name = "ovirt-engine"

    def __init__(self, folder: Path, *, image: Path | None = None) -> None:
        super().__init__(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._image = image
        self._line: http.client.HTTPSConnection | None = None
        self._turn = threading.Lock()
        self._earlier: list[str] = []  # violations of processes that ended

    def command(self) -> Sequence[str]:
        line = [
            sys.executable,
            "-m",
            "tests.doubles.ovirt_engine",
            "--folder",
            str(self.folder),
            "--port",
            str(self.port),
        ]
        if self._image:
            line += ["--backing", "qemu", "--image", str(self._image)]
        named = os.environ.get(reference.NAMED_BY)
        return [*line, "--reference", named] if named else line

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    def stop(self) -> None:
        try:
            self._keep_violations()
        finally:
            super().stop()

    def kill(self) -> None:
        self._keep_violations()
        super().kill()

    def answers(self) -> bool:
        try:
            self._call("standing")
        except (OSError, http.client.HTTPException, KeyError, ValueError):
            return False
        return True

    # -- who it is

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/ovirt-engine/api"

    @property
    def ca_pem(self) -> str:
        return (self.folder / "ca.pem").read_text()

    @property
    def username(self) -> str:
        """The service account, which may do everything."""
        return "portal@internal"

    @property
    def password(self) -> str:
        return self.password_of(self.username)

    def password_of(self, account: str) -> str:
        """The password of an account: ``portal@internal``, ``viewer@internal`` (who may look), ``admin@internal``."""
        found: str = self._secrets()[account]
        return found

    # -- what it is to be

    def reset(self) -> None:
        """Back to the fresh institute: settings, faults, calls and violations too."""
        self._call("reset")
        self._earlier.clear()

    def configure(self, **settings: Any) -> None:
        """Change settings (``world.Settings``)."""
        self._call("configure", **settings)

    def fail(self, pattern: str, fault: str, *, times: int = 1, **more: Any) -> None:
        """Let requests fail (``faults``): the pattern is searched for in ``POST /vms/<id>/start``."""
        self._call("fail", pattern=pattern, fault=fault, times=times, **more)

    def heal(self) -> None:
        self._call("heal")

    def standing(self) -> list[str]:
        """Faults that were ordered and have not happened."""
        found: list[str] = self._call("standing")
        return found

    def engine_restarts(self) -> None:
        """As if the engine had restarted, within its process: tokens are gone, running jobs become unknown."""
        self._call("restarted")

    def expire_tokens(self) -> None:
        self._call("expire_tokens")

    def advance(self, seconds: float) -> None:
        """Put its clock forward."""
        self._call("advance", seconds=seconds)

    # -- what it has

    def things(self, kind: str) -> dict[str, dict[str, Any]]:
        """All of a kind by id, as it keeps them: vms, disks, jobs, events, templates, clusters ..."""
        found: dict[str, dict[str, Any]] = self._call("things", kind=kind)
        return found

    def named(self, kind: str, name: str) -> dict[str, Any]:
        """The first of a kind with a name. Raises ``KeyError``."""
        for one in self.things(kind).values():
            if one.get("name", one.get("alias")) == name:
                return one
        raise KeyError(name)

    def plant_vm(self, name: str, **fields: Any) -> str:
        """A machine that somebody made in the engine: its id. ``status="up"`` has it run (``institute.plant``)."""
        return str(self._call("plant_vm", name=name, **fields))

    def plant_many(self, count: int, name: str = "machine", **fields: Any) -> list[str]:
        """Many machines; texts may hold ``{number}``."""
        found: list[str] = self._call("plant_many", count=count, name=name, **fields)
        return found

    def plant_pool(self, name: str) -> str:
        """A pool with one machine, ``<name>-1``: its id."""
        return str(self._call("plant_pool", name=name))

    def set_vm(self, vm: str, **fields: Any) -> None:
        """Change a machine as somebody else would, who leaves an event; ``put`` leaves none."""
        self._call("set_vm", vm=vm, **fields)

    def put(self, kind: str, key: str, **fields: Any) -> None:
        """Change anything's record, or put one there that has all of its kind's fields."""
        self._call("put", kind=kind, key=key, **fields)

    def remove(self, kind: str, key: str) -> None:
        """Take a thing away as somebody else would."""
        self._call("remove", kind=kind, key=key)

    def event(self, code: int, text: str, *, severity: str = "normal", **links: str) -> int:
        """An event of the engine: its index."""
        return int(self._call("event", code=code, text=text, severity=severity, **links))

    def guest(self, vm: str, does: str) -> None:
        """What a guest does: ``powers_off``; turns ``deaf`` to the power button, or ``hears`` it again."""
        self._call("guest", vm=vm, does=does)

    def grant(self, account: str, role: str, **target: str) -> str:
        """A permission, on the whole system or on ``cluster=``, ``data_center=``, ``storage_domain=``, ``vm=`` ..."""
        return str(self._call("grant", account=account, role=role, **target))

    def revoke(self, account: str) -> None:
        """Take all permissions from an account (without its profile)."""
        self._call("revoke", account=account)

    def ticket_of(self, vm: str) -> tuple[str, int] | None:
        """The password that the last ticket set on a paper machine, and its seconds."""
        found = self._call("password_of", vm=vm)
        return (found[0], found[1]) if found else None

    def rebuild(self, *more: str) -> None:
        """Another engine, set up by the same names, into which the storage was imported: machines, disks and templates have
        the ids that they had. ``more`` kinds that have not: ``vms`` and ``disks``, all of them switched off.
        """
        self._call("rebuild", kinds=["datacenters", "clusters", "hosts", "networks", "vnicprofiles", *more])

    def renew_certificate(self) -> None:
        """Another CA and certificate, from the next start on."""
        self._call("renew_certificate")

    # -- what was asked of it

    def calls(self, *, clear: bool = False) -> list[str]:
        """The requests that it answered: ``GET /vms?search=...``, and ``POST sso`` for each log-in."""
        found: list[str] = self._call("calls", clear=clear)
        return found

    def violations(self) -> list[str]:
        """What was asked or answered that the API does not have, before a ``kill`` too: empty in a good test."""
        return [*self._earlier, *self._call("violations")]

    def _keep_violations(self) -> None:
        if self.is_running:
            self._earlier += self._call("violations")

    def _secrets(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.folder / "secrets.json").read_text())
        return found

    def _call(self, what: str, **arguments: Any) -> Any:
        with self._turn:
            try:
                status, text = self._asked(what, arguments)
            except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLError):
                self._hang_up()  # it was ended and started again since
                status, text = self._asked(what, arguments)
            except BaseException:
                self._hang_up()
                raise
        found = json.loads(text)
        if status != 200:
            raise Refusal(f"{what}: {found.get('error')}")
        return found

    def _asked(self, what: str, arguments: dict[str, Any]) -> tuple[int, bytes]:
        if self._line is None:
            # Nothing is verified: it may have just renewed its certificate.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self._line = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)
        headers = {"X-Control": self._secrets()["control"], "Content-Type": "application/json"}
        self._line.request("POST", f"/control/{what}", json.dumps(arguments), headers)
        answer = self._line.getresponse()
        return answer.status, answer.read()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None
