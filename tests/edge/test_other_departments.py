"""AZ03: whatever is asked, and however: no text of another department is in any page or answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.db.models import CharField, JSONField, Model, Q, QuerySet, TextField

from compute.models import Template, Vm
from compute.services.images import ImageRequest, create_image
from network.models import Network, VnicProfile
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants.models import User
from tenants.services.tokens import create_token
from tests.edge.access_bodies import address
from tests.edge.access_pages import PAGES
from tests.edge.access_table import API
from tests.edge.world import World
from tests.lab.audit import opened

CANARY = "zq7canary"
# Which rows are physics' alone, by model, or by the end of its name; ``{p}`` is the data center, ``{u}`` its people. What
# is of no department (found machines, events and jobs of the whole system) is for super-admins, and so is hidden as well.
HIDDEN = {
    "DataCenter": Q(pk="{p}"),
    "User": Q(pk__in="{u}"),
    "ApiToken": Q(user__in="{u}"),
    "Session": Q(user_uid__in="{u}"),
    "IdempotencyKey": Q(user_uid__in="{u}"),
    "KeptForm": Q(user_uid__in="{u}"),
    "Event": ~Q(data_center_uid="{o}") & ~Q(actor_uid__in="{v}"),
    "Job": ~Q(data_center_uid="{o}") & ~Q(actor_uid__in="{v}"),
    "Step": ~Q(job__data_center_uid="{o}") & ~Q(job__actor_uid__in="{v}"),
    "Vm": Q(data_center="{p}"),
    "Disk": Q(vm__data_center="{p}"),
    "Nic": Q(vm__data_center="{p}"),
    "Console": Q(vm__data_center="{p}"),
    "Image": Q(owner="{p}"),
    "Template": Q(owner="{p}"),
    "VolumeOffer": Q(assignment__data_center="{p}"),
    "Network": Q(owner="{p}"),
    "VnicProfile": Q(network__owner="{p}"),
    "DataCenterUserGrant": Q(content_object="{p}"),
    "DataCenterGroupGrant": Q(content_object="{p}"),
    "VmUserGrant": Q(content_object__data_center="{p}"),
    "VmGroupGrant": Q(content_object__data_center="{p}"),
    **{
        f"{noun}{who}Grant": Q(content_object__owner="{p}")
        for noun in ("Template", "Image", "Network")
        for who in ("User", "Group")
    },
    **{f"VnicProfile{who}Grant": Q(content_object__network__owner="{p}") for who in ("User", "Group")},
    **dict.fromkeys(("FoundVm", "FoundNetwork", "DirectoryGroup", "Group"), Q()),
}
# The institute's own, which departments may be shown; and rows of which the text is only ever a word of ours, or a hash.
SHARED = {
    "Provider",
    "Zone",
    "Cluster",
    "Host",
    "StorageDomain",
    "InstanceType",
    "ReadinessResult",
    "Role",
    "System",
    "Directory",
}
SHARED |= {
    "SystemUserGrant",
    "SystemGroupGrant",
    "LoginTries",
    "SecondFactor",
    "RecoveryCode",
    "QuotaCharge",
    "JobLock",
}
# Fields that are no free text: the portal reads them.
READ = {"hash", "ticket_hash", "session_hash", "body_hash", "session_key", "session_data", "key", "guid", "password"}
READ |= {
    "operation",
    "code",
    "kind",
    "object_kind",
    "target_kind",
    "permit",
    "permit_kind",
    "audit_verb",
    "door",
    "mac",
}
READ |= {"cidr", "icon", "reason", "protocol", "permits", "chosen", "ranges", "members", "forward"}
SHOWN_BY_ID = {"Vm", "Image", "Template", "Network", "VnicProfile", "Job", "User", "DataCenter"}
RANKS = {"api": ("outsider", "other_admin", "reader"), "page": ("outsider", "other_admin")}


def ours() -> dict[str, type[Model]]:
    """The portal's own models, and Django's groups, which it shows."""
    own = ("portal", "tenants", "network", "compute")
    return {model.__name__: model for model in apps.get_models() if model.__module__.startswith(own) or model is Group}


def test_AZ03_every_text_that_is_kept_is_told_whose_it_is():  # noqa: N802
    unknown = {name for name, model in ours().items() if texts(model)} - set(HIDDEN) - SHARED
    assert unknown == set(), "whose rows are these? Add them to HIDDEN, or to SHARED when all departments may see them"


def texts(model: type[Model]) -> list[Any]:
    """The fields of a model in which people's words may be."""
    return [
        field
        for field in model._meta.concrete_fields
        if isinstance(field, (CharField, TextField, JSONField))
        and not field.choices
        and field.name not in READ
        and not field.name.startswith("sealed_")
    ]


def plant(world: World) -> set[str]:
    """The canary in every text of physics'. Returns the ids of what is hidden with it."""
    physics, informatics = world.place.centers["physics"], world.place.centers["informatics"]
    theirs = list(User.objects.filter(username__in=("charlie", "informatics-admin")).values_list("pk", flat=True))
    people = list(User.objects.exclude(pk__in=theirs).exclude(username="root").values_list("pk", flat=True))
    meant = {"{p}": physics.pk, "{o}": informatics.pk, "{u}": people, "{v}": theirs}
    number, hidden, models = 0, set(), ours()
    found = {name: list(rows_of(models[name], HIDDEN[name], meant).values_list("pk", flat=True)) for name in HIDDEN}
    with opened():
        for name, keys in found.items():
            for key in keys:
                number += 1
                told = {field.name: text(field, number) for field in texts(models[name])}
                QuerySet(models[name]).filter(pk=key).update(**told)
            hidden |= {str(key) for key in keys if name in SHOWN_BY_ID}
    return hidden


def rows_of(model: type[Model], wanted: Q, meant: dict[str, Any]) -> QuerySet[Any]:
    return model._default_manager.filter(_filled(wanted, meant))


def _filled(wanted: Q, meant: dict[str, Any]) -> Q:
    filled = [_filled(one, meant) if isinstance(one, Q) else (one[0], meant[one[1]]) for one in wanted.children]
    return Q(*filled, _connector=wanted.connector, _negated=wanted.negated)


def text(field: Any, number: int) -> Any:
    """The canary as this field can hold it; where it is JSON, as what is shown of it."""
    told = f"{CANARY}{number}"
    if not isinstance(field, JSONField):
        return told
    return {
        "addresses": [{"mac": told, "ip": told, "source": told}],
        "error": {"code": "failed", "text": told, "step": told, "request_id": told},
    }.get(field.name, {"text": told})


@pytest.fixture
def own(world: World) -> World:
    """The same people and their own things: a machine of charlie's, and what is informatics'. Physics has a template too."""
    informatics, physics = world.place.centers["informatics"], world.place.centers["physics"]
    body = {"name": "mine", "data_center": str(informatics.pk), "template": str(world.place.template.pk)}
    made = world.api("outsider").post("/api/v1/vms/", body, content_type="application/json").json()
    run_to_end(made["job"]["id"])
    image = create_image(world.place.actor("informatics-admin"), ImageRequest("disk", "raw", 10, informatics.pk))
    Template.objects.create(
        uid=uuid4(), name="theirs", owner=physics, storage_domain=world.place.template.storage_domain, status="ok"
    )
    ids = world.ids | {"data_center": str(informatics.pk), "target": str(informatics.pk), "image": str(image.pk)}
    ids |= {"vm": made["vm"]["id"], "job": made["job"]["id"], "user": str(world.place.users["charlie"].pk)}
    ids["network"] = str(Network.objects.get(owner=informatics).pk)
    ids["vnic_profile"] = str(VnicProfile.objects.get(network__owner=informatics).pk)
    reader = create_token(world.place.actor("charlie"), name="reads", scope="read", expires_in=3600)[1]
    mine = World(world.place, Vm.objects.get(name="mine"), Job.objects.get(pk=made["job"]["id"]), ids=ids)
    mine.tokens, mine.sessions = world.tokens | {"reader": reader}, world.sessions
    return mine


def widened(world: World, path: str) -> list[str]:
    """What might show more than one may see, on a list."""
    center, alice, vm = (world.place.centers["physics"].pk, world.place.users["alice"].pk, world.vm.pk)
    if "/explain/" in path:
        return [f"permit=VM_RUN&object={one}" for one in (f"vm:{vm}", f"data_center:{center}", f"vm:{vm}&user={alice}")]
    if "/use/" in path or "/consumers/" in path:
        return [f"user={alice}"]
    if "{" in path:
        return []
    part = CANARY[:-2]  # a page may say again what one looked for
    wide = [f"data_center={center}", f"owner={alice}", f"user={alice}", f"object={vm}", f"search={part}", f"q={part}"]
    wide += ["ordering=-name", "sort=created", f"before={world.job.pk}", f"machine={vm}&continues={world.job.pk}"]
    # The API refuses what it does not know, so each by itself; a page passes over it.
    return wide if path.startswith("/api/") else ["&".join(wide[:4]), wide[5], "&".join(wide[6:])]


def leaks(answer: Any, hidden: set[str]) -> list[str]:
    shown = (answer.getvalue() if answer.streaming else answer.content).decode()
    return [word for word in (CANARY, *hidden) if word in shown]


def asks(own: World, world: World) -> Iterator[tuple[str, str, bool]]:
    """By which door, for what, and whether it is as one finds it: no id of theirs in the address, nothing widened."""
    for kind, table in (("api", API), ("page", PAGES)):
        for path in (operation.split()[1] for operation in table if operation.startswith("GET ")):
            mine, theirs = address(own, path), address(world, path)
            yield kind, mine, True
            yield from ((kind, f"{mine}?{query}", False) for query in widened(world, path))
            if theirs != mine:
                yield kind, theirs, False


@pytest.mark.long
@pytest.mark.once
def test_AZ03_no_text_of_another_department_is_in_any_page_or_answer(world, own):  # noqa: N802
    asked, found = list(asks(own, world)), {}
    hidden = plant(world)
    for there in ("/api/v1/vms/", "/api/v1/users/", "/api/v1/jobs/", "/api/v1/events/", "/api/v1/unassigned-vms/"):
        assert leaks(world.api("root").get(there), set()), there
    for kind, there, is_own in asked:
        for rank in RANKS[kind] if is_own else ("other_admin",):
            client = own.api(rank) if kind == "api" else own.browser(rank)
            if told := leaks(client.get(there), hidden if is_own else set()):
                found[rank, there] = told
    assert found == {}
    assert len(asked) > 300
