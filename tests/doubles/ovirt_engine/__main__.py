"""Start the engine double: ``python -m tests.doubles.ovirt_engine --folder DIR --port N``."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from tests.doubles.ovirt_engine import certificates, reference
from tests.doubles.ovirt_engine.backing import Backing
from tests.doubles.ovirt_engine.engine import Engine
from tests.doubles.ovirt_engine.paper import Paper
from tests.doubles.ovirt_engine.qemu import Qemu
from tests.doubles.ovirt_engine.server import Server


def main() -> int:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="python -m tests.doubles.ovirt_engine", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where state, certificates and secrets are kept")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--reference", type=Path, help="a folder with the API's schema, to which answers are held")
    parser.add_argument("--backing", choices=("paper", "qemu"), default="paper")
    parser.add_argument("--image", type=Path, help="what the disks of templates hold (qcow2), for machines of QEMU")
    options = parser.parse_args()
    if options.backing == "qemu" and options.image is None:
        parser.error("machines of QEMU need an --image")
    options.folder.mkdir(parents=True, exist_ok=True)
    _, certificate = certificates.ensure(options.folder)
    schema = reference.schema(options.reference) if options.reference else ""
    engine = Engine(options.folder, _backing(options), schema=schema)
    server = Server((options.bind, options.port), engine, certificate)
    engine.start_clock()
    ends = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ends.set())
    threading.Thread(target=lambda: server.serve_forever(poll_interval=0.05), daemon=True).start()
    ends.wait()
    server.shutdown()
    engine.world.end()
    return 0


def _backing(options: argparse.Namespace) -> Backing:
    return Qemu(options.folder, options.image) if options.backing == "qemu" else Paper(options.folder)


if __name__ == "__main__":
    sys.exit(main())
