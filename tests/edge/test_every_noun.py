"""What holds for whatever noun and verb there is: AZ12 for every id in a body, AZ15 for every address of a department."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from compute.models import Image, Template, Vm
from compute.services.images import ImageRequest, create_image
from network.models import Network, VnicProfile
from tenants.models import DataCenter
from tenants.permits import Permit
from tenants.services.tokens import TokenWish, create_service_token, create_token
from tests.edge.access_bodies import address, body
from tests.edge.access_pages import PAGE_RANKS, PAGES
from tests.edge.access_table import API, API_RANKS
from tests.edge.test_access import ask, parameters_of_operations, ready, steady
from tests.edge.world import World, undone

pytestmark = [pytest.mark.long, pytest.mark.once]


def table_of(kind: str) -> tuple[dict[str, str], tuple[str, ...]]:
    return (API, API_RANKS) if kind == "api" else (PAGES, PAGE_RANKS)


def allowed(kind: str, rank: str) -> Iterator[str]:
    """What this rank may do, by the table."""
    table, ranks = table_of(kind)
    for operation, cells in table.items():
        if dict(zip(ranks, cells.split(), strict=True))[rank].partition(":")[0] in {"200", "201", "202", "204", "302"}:
            yield operation


# -- AZ12


# More ids than the table's bodies name: by operation what is sent besides.
MORE = {
    "POST /api/v1/vms/": {"nics": [{"vnic_profile": "{vnic_profile}"}]},
    "POST /api/v1/templates/": {"image": "", "vm": "{vm}", "accept_unsealed": True},
    "POST /api/v1/tokens/": {"username": "physics-admin", "objects": ["{vm}", "{template}", "{network}", "{image}"]},
    "POST /tokens/new/": {"objects": "{vm}"},
    "POST /api/v1/data-centers/{uid}/tokens/": {"objects": ["{vm}", "{vnic_profile}"]},
}


ONE_BY_ONE = {"POST /machines/bulk/"}  # answers with what became of each


def theirs(world: World) -> dict[str, str]:
    """By the ids of physics' things those of informatics'."""
    place, informatics = world.place, world.place.centers["informatics"]
    image = create_image(place.actor("informatics-admin"), ImageRequest("theirs", "raw", 10, informatics.pk))
    Image.objects.filter(pk=image.pk).update(status="ready", virtual_bytes=10)
    domain = place.template.storage_domain
    template = Template.objects.create(
        uid=uuid4(), name="theirs", owner=informatics, storage_domain=domain, status="ok"
    )
    vm = Vm.objects.get(pk=world.vm.pk)
    vm.pk, vm.name, vm.data_center, vm.external_id, vm._state.adding = uuid4(), "theirs", informatics, "x", True
    vm.save()
    wish = TokenWish("theirs", "write", 3600)
    token, _text = create_service_token(place.actor("informatics-admin"), informatics.pk, wish, role="end-user")
    other = {
        "data_center": informatics.pk,
        "template": template.pk,
        "vm": vm.pk,
        "image": image.pk,
        "ready_image": image.pk,
        "network": Network.objects.get(owner=informatics).pk,
        "vnic_profile": VnicProfile.objects.get(network__owner=informatics).pk,
        "service_token": token.pk,
        "user": place.users["charlie"].pk,
    }
    return {world.ids[noun]: str(uid) for noun, uid in other.items()}


def swapped(sent: Any, old: str, new: str) -> Any:
    """The same with one id in place of another, wherever it stands."""
    if isinstance(sent, dict):
        return {name: swapped(value, old, new) for name, value in sent.items()}
    if isinstance(sent, list):
        return [swapped(value, old, new) for value in sent]
    return sent.replace(old, new) if isinstance(sent, str) else sent


def filled(world: World, sent: Any) -> Any:
    """With the ids of the world's own things."""
    for noun, uid in world.ids.items():
        sent = swapped(sent, f"{{{noun}}}", uid)
    return sent


def asked(world: World, operation: str) -> tuple[str, dict[str, Any]]:
    """The address and the body of what this rank may do, all of it physics'."""
    sent = body(world, operation) | filled(world, MORE.get(operation, {}))
    return address(world, operation.split()[1]), {name: value for name, value in sent.items() if value != ""}


def answer_to(world: World, operation: str, path: str, sent: dict[str, Any]) -> tuple[int, str]:
    is_api = "/api/" in operation
    with undone():
        ready(world, operation)
        client = world.api("admin") if is_api else world.browser("admin")
        client.cookies["csrftoken"] = "t" * 32
        method, as_json = operation.split(maxsplit=1)[0].lower(), {"content_type": "application/json"} if is_api else {}
        answer = getattr(client, method)(path, *((sent,) if sent else ()), **(as_json if sent else {}))
        return steady(answer)


def test_AZ12_another_departments_id_in_any_address_or_body_is_as_good_as_none(world):  # noqa: N802
    others, met, wrong = theirs(world), [], []
    for operation in (one for kind in ("api", "page") for one in allowed(kind, "admin") if not one.startswith("GET")):
        path, sent = asked(world, operation)
        for old, new in others.items():
            if old not in f"{path} {sent}":
                continue
            there, absent = (
                answer_to(world, operation, swapped(path, old, uid), swapped(sent, old, uid))
                for uid in (new, str(uuid4()))
            )
            met.append(operation)
            if there != absent or (there[0] < 400 and operation not in ONE_BY_ONE):
                wrong.append((operation, there[0], absent[0]))
    assert wrong == [], "\n".join(map(str, wrong))
    assert len(met) > 40
    for operation in MORE:
        assert answer_to(world, operation, *asked(world, operation))[0] in {200, 201, 202, 409}, operation


# -- AZ15

# What somebody still has whose department is asleep: his own account, and what is nobody's alone.
STILL = ("/users/", "/tokens/", "/sessions/", "/factor/", "/password/", "/login/", "/logout/", "/language/", "/theme/")
STILL += ("/roles/", "/view/end/", "/machines/bulk/", "/events/export/")


def test_AZ15_a_disabled_data_center_answers_its_people_nothing_at_any_address(world):  # noqa: N802
    before = {(kind, rank): list(allowed(kind, rank)) for kind in ("api", "page") for rank in ("owner", "admin")}
    DataCenter.objects.filter(pk=world.ids["data_center"]).update(enabled=False)
    shown = []
    for (kind, rank), operations in before.items():
        for operation in operations:
            client = world.api(rank) if kind == "api" else world.browser(rank)
            with undone():
                answer = ask(world, operation, client, kind=kind)
                text = (answer.getvalue() if answer.streaming else answer.content).decode(errors="replace")
            path = operation.split()[1].removeprefix("/api/v1")
            is_list = path.startswith(STILL) or (operation.startswith("GET") and "{" not in path)
            if "web-1" in text or not (is_list or answer.status_code in {400, 403, 404}):
                shown.append((rank, operation, answer.status_code))
    assert shown == [], "\n".join(map(str, shown))
    assert sum(map(len, before.values())) > 100


# -- a request that comes again

# What asks anew each time, or is the same done twice: no answer of it is kept.
ANEW = {
    "POST /api/v1/providers/test/",
    "POST /api/v1/providers/{uid}/test/",
    "POST /api/v1/providers/{uid}/accept-version/",
    "POST /api/v1/unassigned-vms/measure/",
    "POST /api/v1/directories/test/",
    "POST /api/v1/directories/{uid}/test/",
}


def test_a_kept_answer_of_any_operation_is_for_no_other_kind_of_token(world):
    """CC07 for every operation that takes a key: again the first answer (409 where it held a secret), to a narrower token 422."""
    narrow = create_token(
        world.place.actor("root"), name="narrow", scope="write", expires_in=3600, permits=list(Permit)
    )[1]
    clients = (world.api("root"), world.api("root"), Client(headers={"Authorization": f"Bearer {narrow}"}))
    keyed, wrong = [], []
    with_key = with_keys() - ANEW
    for operation in (one for one in allowed("api", "root") if one in with_key):
        path = address(world, operation.split()[1])
        with undone():
            ready(world, operation)
            sent = {"data": body(world, operation), "content_type": "application/json"}
            call = [getattr(client, operation.split()[0].lower()) for client in clients]
            answers = [each(path, **sent, headers={"Idempotency-Key": "k-1"}) for each in call]
        codes = [answer.status_code for answer in answers]
        keyed.append(operation)
        if codes[0] >= 300 or codes[1] not in {codes[0], 409} or codes[2] not in {422, 403}:
            wrong.append((operation, codes))
        elif codes[1] == codes[0] and answers[1].headers.get("Idempotent-Replay") != "true":
            wrong.append((operation, "no replay"))
    assert wrong == [], "\n".join(map(str, wrong))
    assert len(keyed) > 20


def with_keys() -> set[str]:
    """The operations whose documentation names the header."""
    return {operation for operation, names in parameters_of_operations() if "Idempotency-Key" in names}
