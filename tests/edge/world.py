"""One of every rank, by every kind of log-in, before a machine of alice's: what the access tables are walked with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from compute.models import Cluster, FoundVm, Host, Image, Vm, VolumeOffer
from compute.services.consoles import ConsoleRequest, open_console
from compute.services.images import ImageRequest, create_image
from network.models import FoundNetwork, Network, VnicProfile
from portal.common.actor import system_actor
from portal.common.models import Session
from portal.common.sealed import seal
from portal.common.sessions import kept
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import policy
from tenants.models import ApiToken, Directory, DirectoryGroup, Role
from tenants.services.tokens import TokenWish, create_service_token, create_token
from tenants.services.users import create_user
from tests.doubles.hypervisor_state import HypervisorDouble
from tests.people import PASSWORD, Institute, make_institute
from tests.snapshots import Once

# Who asks. alice owns the machine; bob is of her department, charlie of another; dora was disabled and is of hers.
PEOPLE = {
    "disabled": "dora",
    "outsider": "charlie",
    "other_admin": "informatics-admin",
    "peer": "bob",
    "owner": "alice",
    "admin": "physics-admin",
    "root": "root",
}


@dataclass
class World:
    """The institute with alice's machine, and a way in for everybody."""

    place: Institute
    vm: Vm
    job: Job
    tokens: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def api(self, rank: str) -> Client:
        """A client of this rank with its token; without one for ``nobody``."""
        return Client(headers={"Authorization": f"Bearer {self.tokens[rank]}"} if rank in self.tokens else {})

    def browser(self, rank: str) -> Client:
        """A browser of this rank, logged in unless it is ``nobody``."""
        client = Client()
        if rank in self.sessions:
            client.cookies[settings.SESSION_COOKIE_NAME] = self.sessions[rank]
        return client


def make_world(place: Institute) -> World:
    """Everybody logs in; then dora is disabled."""
    dora = create_user(system_actor(), username="dora", password=PASSWORD)
    policy.grant(system_actor(), "data-center-admin", dora, place.centers["physics"])
    ids = {"data_center": str(place.centers["physics"].pk), "template": str(place.template.pk)}
    client = Client()
    client.force_login(place.users["alice"])
    made = client.post("/api/v1/vms/", {"name": "web-1", **ids}, content_type="application/json").json()
    run_to_end(made["job"]["id"])
    world = World(place, Vm.objects.get(pk=made["vm"]["id"]), Job.objects.get(pk=made["job"]["id"]))
    log_in_everybody(world)
    dora.is_active = False
    dora.save()
    assert world.vm.status in {"up", "powering_up"}
    Vm.objects.update(status="up")
    world.ids = ids | ids_of_what_is_there(world) | ids_of_what_is_added(world)
    return world


def ids_of_what_is_there(world: World) -> dict[str, str]:
    """By the noun or the name in an address: what the institute has, and what log-ins left."""
    place = world.place
    return {
        "role": "end-user",
        "target": str(place.centers["physics"].pk),
        "cluster": str(Cluster.objects.get().pk),
        "host": str(Host.objects.get().pk),
        "storage_domain": str(place.template.storage_domain_id),
        "network": str(Network.objects.get(owner=place.centers["physics"]).pk),
        "vnic_profile": str(VnicProfile.objects.get(network__owner=place.centers["physics"]).pk),
        "provider": str(place.provider.pk),
        "vm": str(world.vm.pk),
        "job": str(world.job.pk),
        "token": str(ApiToken.objects.get(name="owner").pk),
        "session": str(Session.objects.get(session_key=kept(world.sessions["owner"])).uid),
        "user": str(place.users["bob"].pk),
    }


def ids_of_what_is_added(world: World) -> dict[str, str]:
    """The same for one of each other noun, made here."""
    place, physics = world.place, world.place.centers["physics"]
    wish = TokenWish("backup", "write", 3600)
    service, _text = create_service_token(place.actor("physics-admin"), physics.pk, wish, role="end-user")
    console = open_console(place.actor("alice"), world.vm.pk, ConsoleRequest()).console
    theirs = {"kind": "network", "external_id": str(uuid4()), "name": "lan", "bridge": "virbr0"}
    directory, group = make_directory(place)
    image, ready = make_images(place)
    return {
        "found": str(FoundNetwork.objects.create(provider=place.provider, **theirs).pk),
        "directory": str(directory.pk),
        "group": str(group.pk),
        "service_token": str(service.pk),
        "console": str(console.pk),
        "found_vm": str(FoundVm.objects.create(provider=place.provider, external_id=str(uuid4()), name="mail").pk),
        "custom_role": str(Role.objects.create(name="Helper", codename="custom-helper", permits=["VM_VIEW"]).pk),
        "image": str(image.pk),
        "ready_image": str(ready.pk),
        "volume_offer": str(make_offer(place).pk),
    }


the_world: Final = Once(lambda folder: make_world(make_institute(folder)))


def log_in_everybody(world: World) -> None:
    """A token and a session for each rank."""
    place = world.place
    for rank, name in PEOPLE.items():
        world.tokens[rank] = create_token(
            place.actor(name), name=rank, scope="write", expires_in=3600, permits=["ALL"]
        )[1]
        browser = Client()
        browser.force_login(place.actor(name).user)
        world.sessions[rank] = str(browser.session.session_key)
    world.tokens["reader"] = create_token(place.actor("alice"), name="reader", scope="read", expires_in=3600)[1]


def make_images(place: Institute) -> tuple[Image, Image]:
    """One whose bytes are awaited, and one that is ready."""
    awaited, ready = (
        create_image(place.actor("physics-admin"), ImageRequest(name, "raw", 10, place.centers["physics"].pk))
        for name in ("disk", "whole")
    )
    Image.objects.filter(pk=ready.pk).update(status="ready", virtual_bytes=10)
    return awaited, ready


def make_offer(place: Institute) -> VolumeOffer:
    """A volume that lies on the hypervisor, offered to physics."""
    name = HypervisorDouble(Path(place.provider.address.removeprefix("double://"))).plant_volume("golden.qcow2", b"")
    assignment = place.centers["physics"].storage_assignments.get()
    return VolumeOffer.objects.create(assignment=assignment, name=name, format="qcow2", size_bytes=1 << 30)


def make_directory(place: Institute) -> tuple[Directory, DirectoryGroup]:
    """A directory where nothing listens, whose group holds a role in physics; disabled, so that nobody's log-in asks it."""
    directory = Directory.objects.create(
        name="staff",
        kind="openldap",
        urls=["ldaps://127.0.0.1:1"],
        bind_dn="cn=portal,dc=uni",
        base_dn="dc=uni",
        sealed_password=seal(PASSWORD),
        enabled=False,
    )
    subject = Group.objects.create(name="staff everybody")
    group = DirectoryGroup.objects.create(directory=directory, guid=str(uuid4()), name="everybody", group=subject)
    policy.grant(system_actor(), "end-user", subject, place.centers["physics"])
    return directory, group


@contextmanager
def undone() -> Iterator[None]:
    """What happens in the block has not happened after it."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def routes(patterns: Any = None, prefix: str = "") -> Iterator[str]:
    """Every address of the portal, ids in braces."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern):
            yield "/" + re.sub(r"<(?:[^:>]*:)?([^>]*)>", r"{\1}", path)
