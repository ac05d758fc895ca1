"""``manage.py watch``: follow every provider until told to stop."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from compute.sync.watcher import watch_all


class Command(BaseCommand):
    requires_system_checks = ()  # a worker makes them at each start; here they would cost more than the start itself
    help = "Follow every provider's changes into the read model, until SIGTERM or SIGINT."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until a signal says stop."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_args: stop.set())
        watch_all(stop)
