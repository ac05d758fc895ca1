"""The command line of bin/up."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import install
from failure import StartError

DESCRIPTION = """Starts the whole portal on this machine (Debian 12, as root or with sudo): installs what is missing, makes the
demo, and keeps every process running until Ctrl-C or bin/up --stop. Machines, their networks and libvirtd stay up."""


@dataclass(frozen=True)
class Options:
    """What was asked for; `action` is start, stop, status or purge."""

    action: str
    data: Path
    port: int
    bind: str
    tls_cert: Path | None
    tls_key: Path | None
    detach: bool
    demo: bool
    engine: bool
    json: bool

    @property
    def loopback(self) -> bool:
        return ipaddress.ip_address(self.bind).is_loopback


def parse(arguments: Sequence[str]) -> Options:
    """Raises StartError for what argparse cannot know to be wrong."""
    parser = _parser()
    found = parser.parse_args(arguments)
    if (found.tls_cert is None) != (found.tls_key is None):
        raise StartError("--tls-cert and --tls-key belong together", "give both, or none for a generated certificate")
    if found.engine and not found.demo:
        raise StartError("--with-ovirt adds to the demo, which --no-demo leaves out", "leave one of them out")
    if found.json and found.action != "status":
        raise StartError("--json only goes with --status", "leave it out")
    return Options(
        action=found.action, data=found.data.expanduser().resolve(), port=found.port, bind=found.bind,
        tls_cert=_readable(found.tls_cert), tls_key=_readable(found.tls_key),
        detach=found.detach, demo=found.demo, engine=found.engine, json=found.json,
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bin/up", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--data", type=Path, metavar="DIR", default=install.REPOSITORY / ".data",
                        help="the folder of all state (default: .data)")  # fmt: skip
    parser.add_argument("--port", type=_port, metavar="N", default=8000, help="default: 8000")
    parser.add_argument("--bind", type=_address, metavar="ADDR", default="127.0.0.1",
                        help="default: 127.0.0.1; any that is not loopback needs TLS")  # fmt: skip
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM (default: one generated)")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM, without a passphrase")
    parser.add_argument("--detach", action="store_true", help="return when the portal answers, and leave it running")
    parser.add_argument("--no-demo", dest="demo", action="store_false", help="an empty portal with one super-admin")
    parser.add_argument("--with-ovirt", dest="engine", action="store_true",
                        help="also an engine to try: a double that speaks as an oVirt engine does, and is none")  # fmt: skip
    _add_actions(parser)
    parser.add_argument("--json", action="store_true", help="with --status: for scripts")
    return parser


def _add_actions(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_mutually_exclusive_group()
    parser.set_defaults(action="start")
    for action, words in {
        "stop": "end every process that bin/up started, and nothing else",
        "status": "what runs, and the log-ins; exit code 3 when nothing runs",
        "purge": "stop, delete everything on libvirt that bears this portal's mark, then the data folder",
    }.items():
        actions.add_argument(f"--{action}", dest="action", action="store_const", const=action, help=words)


def _port(text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port (1 to 65535)")


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no IP address of this machine") from error


def _readable(path: Path | None) -> Path | None:
    if path is None:
        return None
    try:
        path.expanduser().open("rb").close()
    except OSError as error:
        raise StartError(f"{path} cannot be read ({error.strerror})", "name a readable PEM file") from error
    return path.expanduser().resolve()
