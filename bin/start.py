"""The program behind bin/up: installs, prepares, starts the portal's processes and keeps them running.

Standard library only, because it runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import addresses
import answering
import detached
import engine
import install
import preparation
import programs
import running
import virtualization
from failure import StartError, Stopped, say
from folder import DataFolder
from options import Options, parse
from supervisor import Supervisor

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 well, 1 failed with one line that says why, 3 nothing runs (--status), 130 stopped early."""
    try:
        options = parse(arguments)
        folder = DataFolder(options.data)
        _require_root()
        if options.action != "start":
            return _act(options, folder)
        if options.detach and not detached.is_child():
            return detached.launch(arguments, folder)
        return start(options, folder)
    except (StartError, install.InstallError) as error:
        print(f"up: FAILED: {error}", file=sys.stderr, flush=True)
        return 1
    except (Stopped, KeyboardInterrupt):
        return 130


def start(options: Options, folder: DataFolder) -> int:
    """Everything from an empty machine to a portal that answers, then watching over it until told to stop."""
    began = time.monotonic()
    _on_signals()
    folder.make()
    with folder.alone():
        running.end_leftovers(folder)
        addresses.refuse_taken(options.bind, options.port)
        _install(options)
        virtualization.ensure()
        where = addresses.reach(options, folder.root / "tls")
        with _supervised(folder, where) as supervisor:
            _bring_up(options, folder, where, supervisor)
            with contextlib.suppress(Stopped):
                _announce(folder, where, time.monotonic() - began)
                _watch_over(supervisor)
    return 0


def _act(options: Options, folder: DataFolder) -> int:
    if options.action == "status":
        return running.print_status(folder, as_json=options.json)
    if options.action == "stop":
        return running.stop(folder)
    return running.purge(options, folder)


def _require_root() -> None:
    if os.geteuid() != 0:
        raise StartError("bin/up needs root (libvirt, packages)", f"run it as root or with: sudo {' '.join(sys.argv)}")


def _install(options: Options) -> None:
    say("packages: installing what is missing")
    install.install(packages=["base", "run", *(["tiny-linux"] if options.demo else [])], locks=["base"])


@contextmanager
def _supervised(folder: DataFolder, where: addresses.Reach) -> Iterator[Supervisor]:
    """A supervisor whose children end with the block, whatever ended it; the state file follows every change."""
    supervisor = Supervisor(folder, programs.environment(folder, where), lambda: running.record(folder, supervisor))
    running.begin(folder, where.url)
    try:
        yield supervisor
    finally:
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        say("stopping the portal; machines, their networks and libvirtd stay up")
        supervisor.stop()
        folder.state_file.unlink(missing_ok=True)


def _bring_up(options: Options, folder: DataFolder, where: addresses.Reach, supervisor: Supervisor) -> None:
    """Redis first, for what comes after sends messages; the web server last, for it is the door."""
    say("redis: starting, on a socket of its own")
    answering.wait_for_redis(supervisor, supervisor.add(programs.redis(folder)), folder.redis_socket)
    prepared = preparation.Preparation(folder, supervisor)
    prepared.database()
    prepared.roles()
    prepared.messages()
    prepared.static_files()
    image = prepared.guest() if options.demo else None
    if options.engine and image:
        say("engine: starting the double of an oVirt engine")
        answering.wait_for_engine(supervisor, supervisor.add(engine.program(folder, image)), folder)
    say("starting: worker, beat, watcher")
    for program in (programs.worker(), programs.beat(folder), *([programs.watcher()] if programs.has("watch") else [])):
        supervisor.add(program)
    prepared.users(image)
    if options.engine:
        prepared.engine()
    say("starting: web")
    answering.wait_for_http(supervisor, supervisor.add(programs.web(options, where)), options, where)


def _announce(folder: DataFolder, where: addresses.Reach, seconds: float) -> None:
    running.mark_ready(folder)
    say(f"ready after {seconds:.1f} s: {where.url}")
    for line in running.login_table(preparation.logins(folder)):
        say(line)
    if detached.is_child():
        how, end = folder.command("status"), folder.command("stop")
        say(f"it runs on in the background; {how} tells how it is, {end} ends it")
        detached.let_go(folder)
    else:
        say("Ctrl-C stops it; machines, their networks and libvirtd stay up")


def _watch_over(supervisor: Supervisor) -> None:
    while True:
        supervisor.tick()
        time.sleep(0.3)


def _on_signals() -> None:
    for number in STOPPING:
        signal.signal(number, _raise_stopped)


def _raise_stopped(_number: int, _frame: FrameType | None) -> None:
    # A second signal must not break off the stopping that the first one began.
    for other in STOPPING:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
