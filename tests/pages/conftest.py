"""The demo institute on the double, in the test's database: people of two departments, a template, networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
from django.core.management import call_command
from django.test import Client

from compute.models import Vm
from portal.common.actor import Actor, Door
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants.models import User
from tests.doubles.hypervisor_state import HypervisorDouble
from tests.snapshots import Once

Past = tuple[tuple[str | tuple[str, str], ...], ...]
MACHINES: Final[dict[Past, Once[Vm]]] = {}  # by what had been made before, each to be made once


class Demo:
    """Browsers of the demo's people, and what they would do by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.past: Past = ()
        image = folder / "image.qcow2"
        image.write_bytes(b"QFI\xfb" + bytes(4096))
        self.double = HypervisorDouble(folder / "hypervisor")
        self.logins = folder / "logins.json"
        call_command(
            "make_demo",
            kind="double",
            address=self.double.address,
            image=str(image),
            passwords_out=str(self.logins),
        )

    def user(self, name: str) -> User:
        return User.objects.get(username=name)

    def actor(self, name: str) -> Actor:
        return Actor(user=self.user(name), door=Door.PAGE)

    def password(self, name: str) -> str:
        return str(next(row["password"] for row in json.loads(self.logins.read_text()) if row["username"] == name))

    def browser(self, name: str) -> Client:
        client = Client()
        client.force_login(self.user(name))
        return client

    def form(self, client: Client, **values: str) -> dict[str, str]:
        """What the wizard's form would post, as it is prefilled."""
        context = client.get("/machines/new/").context
        form = context["form"]
        filled = {
            "name": form["name"].value(),
            "template": form["template"].value(),
            "data_center": form["data_center"].value(),
            "run": "1",
        }
        return filled | values

    def review(self, client: Client, **values: str) -> dict[str, str]:
        """The review's form, with its key."""
        posted = self.form(client, **values)
        answer = client.post("/machines/new/", posted | {"action": "review"})
        assert answer.status_code == 200, answer.content.decode()
        return posted | {"key": answer.context["key"], "action": "create"}

    def make_vm(self, person: str, **values: str) -> Vm:
        """A machine made by its owner through the pages, up."""
        if self.double.is_touched():
            return self._make_vm(person, values)
        self.past = (*self.past, (person, *sorted(values.items())))
        once = MACHINES.setdefault(self.past, Once(lambda _folder: self._make_vm(person, values)))
        return once(self.folder)

    def _make_vm(self, person: str, values: dict[str, str]) -> Vm:
        client = self.browser(person)
        answer = client.post("/machines/new/", self.review(client, **values))
        vm = Vm.objects.get(pk=UUID(answer.headers["Location"].rstrip("/").rpartition("/")[2]))
        run_to_end(Job.objects.get(target_uid=vm.pk).pk)
        vm.refresh_from_db()
        return vm


the_demo: Final = Once(Demo)


@pytest.fixture
def demo(transactional_db: None, tmp_path: Path) -> Demo:
    return the_demo(tmp_path)
