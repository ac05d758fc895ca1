"""What runs of a portal, as written in its state file and checked against the kernel; --status, --stop, --purge."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from typing import Any, Final

import addresses
import engine
import install
import preparation
import processes
import programs
import virtualization
from failure import StartError, say
from folder import DataFolder
from options import Options
from processes import Identity
from supervisor import Supervisor

# The sum of what the supervisor gives its children, and some.
STOP_SECONDS: Final = 45.0
PURGE_SECONDS: Final = 600
NOTHING_RUNS: Final = 3  # what the LSB gives to "program is not running"


# --- written by the supervisor


def begin(folder: DataFolder, url: str) -> None:
    me = processes.identify(os.getpid())
    content = {"boot": processes.boot(), "supervisor": _packed(me), "url": url, "ready": False, "processes": []}
    folder.write(folder.state_file, content)


def record(folder: DataFolder, supervisor: Supervisor) -> None:
    """Writes down who runs, at every change. On a full disk the portal runs on; the next start finds it by its mark."""
    state = folder.read(folder.state_file) or {}
    state["processes"] = [
        {"name": child.program.name, "identity": _packed(child.identity), "restarts": child.restarts}
        for child in supervisor.children.values()
    ]
    try:
        folder.write(folder.state_file, state)
    except OSError as error:
        say(f"{folder.state_file} cannot be written ({error.strerror})")


def mark_ready(folder: DataFolder) -> None:
    folder.write(folder.state_file, (folder.read(folder.state_file) or {}) | {"ready": True})


# --- read by everybody else


def supervisor(folder: DataFolder) -> Identity | None:
    """The living supervisor; None when it ended, or when its number is another process's by now."""
    found = _unpacked(_state(folder).get("supervisor"))
    return found if found and processes.lives(found) else None


def is_ready(folder: DataFolder, pid: int) -> bool:
    """Whether the supervisor with this number said that its portal answers."""
    found = supervisor(folder)
    return found is not None and found.pid == pid and bool(_state(folder).get("ready"))


def end_leftovers(folder: DataFolder) -> None:
    """Ends what a supervisor left behind that was killed without a chance to clean up."""
    state = _state(folder)
    recorded = [_unpacked(entry["identity"]) for entry in state.get("processes", [])]
    left = {identity for identity in recorded if identity and processes.lives(identity)}
    left |= set(processes.marked(folder.mark()))
    if left:
        say(f"ending {len(left)} processes that an earlier run left behind")
        processes.end(left, grace=10)
    folder.state_file.unlink(missing_ok=True)


def status(folder: DataFolder) -> dict[str, Any]:
    """The content of --status --json; the URL is null until the portal answers there."""
    state = _state(folder) if supervisor(folder) else {}
    return {
        "url": state.get("url") if state.get("ready") else None,
        "processes": [_process_status(entry) for entry in state.get("processes", [])],
        "logins": preparation.logins(folder) if folder.exists() else [],
    }


def print_status(folder: DataFolder, *, as_json: bool) -> int:
    found = status(folder)
    if as_json:
        print(json.dumps(found, indent=1))
    elif found["url"] is None:
        say(f"the portal of {folder.root} is starting" if found["processes"] else f"no portal of {folder.root} runs")
    else:
        say(found["url"])
        for entry in found["processes"]:
            say(f"{entry['name']:<10} {entry['pid'] or '-':>8} {entry['status']:<10} restarts: {entry['restarts']}")
        for line in login_table(found["logins"]):
            say(line)
    return 0 if found["url"] else NOTHING_RUNS


def login_table(logins: Iterable[dict[str, Any]]) -> list[str]:
    rows = [("rank", "username", "password", "data center")]
    rows += [(it["rank"], it["username"], it["password"], it.get("data_center") or "-") for it in logins]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def stop(folder: DataFolder) -> int:
    """Asks the supervisor to end, then ends what should be left; 0 also when nothing ran."""
    if not folder.exists():
        say(f"no portal of {folder.root} runs")
        return 0
    found = supervisor(folder)
    if found:
        say("stopping")
        processes.end([found], grace=STOP_SECONDS)
    with folder.alone():
        end_leftovers(folder)
    say("stopped; machines, their networks and libvirtd stay up" if found else "nothing ran")
    return 0


def purge(options: Options, folder: DataFolder) -> int:
    """Deletes this portal's machines, disks and networks, then all its state. Nothing else on libvirt is touched."""
    if not folder.exists():
        raise StartError(f"{folder.root} is no portal's data folder", "name the right one with --data")
    stop(folder)
    if "database" in (folder.read(folder.root / "prepared.json") or {}):
        _purge_hypervisors(options, folder)
    say(f"deleting {folder.root}")
    folder.remove()
    return 0


def _purge_hypervisors(options: Options, folder: DataFolder) -> None:
    virtualization.ensure()
    say("deleting what bears this portal's mark on its hypervisors")
    environment = programs.environment(folder, addresses.Reach("http", ("localhost",), options.port))
    environment["LOG_LEVEL"] = "ERROR"  # what it prints is shown
    # What is on the double of an engine goes with its folder.
    left_out = [f"--leave-out={address}"] if (address := engine.address(folder)) else []
    code, lines = _told(programs.manage("purge_marked", "--yes", *left_out), environment)
    for line in lines[:-1] if code else lines:
        say(line)
    if code:
        raise StartError(
            f"not everything could be deleted: {(lines or ['it said nothing'])[-1][:300]}",
            f"mend that and run {folder.command('purge')} again; {folder.root} is kept until then",
        )


def _told(command: Sequence[str], environment: dict[str, str]) -> tuple[int, list[str]]:
    try:
        done = subprocess.run(
            command, env=environment, cwd=install.REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=PURGE_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, [str(error)]
    return done.returncode, [line for line in done.stdout.splitlines() if line.strip()]


# --- the state file's format


def _state(folder: DataFolder) -> dict[str, Any]:
    """Empty when there is none, or when it is of an earlier boot, whose process numbers mean nothing now."""
    found = folder.read(folder.state_file)
    return found if isinstance(found, dict) and found.get("boot") == processes.boot() else {}


def _process_status(entry: dict[str, Any]) -> dict[str, Any]:
    identity = _unpacked(entry["identity"])
    up = identity is not None and processes.lives(identity)
    words = "running" if up else "restarting"
    return {"name": entry["name"], "pid": identity.pid if identity and up else None, "status": words,
            "restarts": entry["restarts"]}  # fmt: skip


def _packed(identity: Identity | None) -> list[int] | None:
    return [identity.pid, identity.started] if identity else None


def _unpacked(value: Any) -> Identity | None:
    return Identity(*value) if isinstance(value, list) and len(value) == 2 else None
