"""How often pages ask the database and a hypervisor: ``python -m tests.bench.page_queries`` prints JSON.

A program of its own, for it needs a database of its own and Django set up for tests.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import django

if __name__ == "__main__":
    os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="bench-")
    os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings.test"
    django.setup()

from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext, setup_test_environment

from tests.doubles.hypervisor_state import HypervisorDouble
from tests.pages.conftest import Demo
from tests.pages.test_machines import _more_like

SIZES = (1, 100, 1000)


def main() -> None:
    setup_test_environment()
    call_command("migrate", verbosity=0)
    folder = Path(os.environ["DATA_DIR"])
    demo = Demo(folder)
    vm = demo.make_vm("alice")
    double, client = HypervisorDouble(folder / "hypervisor"), demo.browser("alice")
    client.get("/")
    found: dict[str, int] = {}
    double.forget_calls()
    for size in SIZES:
        _more_like(vm, size)
        found[f"home page, {size} machines"] = queries(client, "/")
    found["machine page"] = queries(client, f"/machines/{vm.pk}/")
    print(json.dumps({"queries": found, "hypervisor_calls": len(double.calls())}))


def queries(client: object, path: str) -> int:
    with CaptureQueriesContext(connection) as caught:
        assert client.get(path).status_code == 200  # type: ignore[attr-defined]
    return len(caught)


if __name__ == "__main__":
    main()
