"""Launching a data center: what comes of it, what is refused and where, and how one that failed is gone on with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from compute.models import ClusterAssignment, StorageAssignment, StorageDomain, TemplateAssignment
from compute.operations.launch import ADMIN, LaunchDataCenter
from compute.selectors import usable_data_centers, usable_storage
from compute.services.launch import (
    OwnNetwork,
    launch_data_center,
    plan_launch,
    request_of,
    unfinished_launch,
    with_admin,
)
from network.models import Network, NetworkAssignment
from portal.common.actor import Bounds, system_actor
from portal.common.errors import Conflict, Invalid, NotPermitted, Unavailable
from portal.events.models import Event
from portal.hypervisors.connect import driver_for
from portal.jobs.control import cancel_job
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import policy, quota
from tenants.models import DataCenter, DataCenterUserGrant, Role, SystemUserGrant, User
from tenants.models.quota import Dimension
from tenants.permits import Permit
from tenants.services.data_centers import set_data_center_enabled
from tests.compute.launches import launch_of, of_somebody_new
from tests.doubles.hypervisor_state import Fault, HypervisorDouble
from tests.edge.conftest import one_world, world
from tests.edge.world import World
from tests.lab.slapd_server import SlapdServer
from tests.people import PASSWORD
from tests.tenants.directory.conftest import fresh, openldap_row

LAUNCH = "/data-centers/launch/"
__all__ = ["one_world", "world"]
pytestmark = pytest.mark.long
ONCE = (
    "DATA_CENTER_LAUNCH_REQUESTED",
    "DATA_CENTER_CREATE_DONE",
    "NETWORK_CREATED",
    "QUOTA_EDIT_DONE",
    "GRANT_DONE",
    "DATA_CENTER_ENABLE_DONE",
    "DATA_CENTER_LAUNCH_DONE",
)


def ended(job: Job) -> Job:
    return run_to_end(job.pk)


def double_of(world: World) -> HypervisorDouble:
    return HypervisorDouble(Path(world.place.provider.address.removeprefix("double://")))


@pytest.fixture(autouse=True)
def networks_of_the_test_alone(world: World) -> Iterator[None]:
    """The rows go with the test's transaction; what stands for the hypervisor is one for all tests."""
    before = set(double_of(world).things("network"))
    yield
    for uid in set(double_of(world).things("network")) - before:
        driver_for(world.place.provider).delete_network(UUID(uid))


def told(job: Job) -> list[str]:
    rows = Event.objects.filter(correlation_id=job.pk).order_by("at", "uid")
    return list(rows.values_list("code", flat=True))


def test_s19_a_department_is_launched_by_one_job_and_its_admin_sees_it_alone(world: World):
    root = world.place.actor("root")
    job = launch_data_center(root, launch_of(world.place, "chemistry", **of_somebody_new("chemist")))
    assert not DataCenter.objects.filter(name="chemistry").exists()

    assert ended(job).status == "finished", job.error

    row = DataCenter.objects.get(name="chemistry")
    assert (row.pk, row.enabled, row.description) == (job.target_uid, True, "of the tests")
    assert [model.objects.filter(data_center=row).count() for model in (ClusterAssignment, StorageAssignment)] == [1, 1]
    assert TemplateAssignment.objects.filter(data_center=row).count() == 1
    network = Network.objects.get(owner=row)
    assert (network.name, network.status) == ("lan", "operational")
    assert str(network.pk) in double_of(world).things("network")
    limits = {name: limit for name, limit in quota.limits(row).items() if limit is not None}
    assert limits == {Dimension.MACHINES: 5, Dimension.STORAGE_GIB: 40}
    chemist = world.place.actor("chemist")
    assert list(usable_data_centers(chemist)) == [row]
    assert chemist.user.check_password(PASSWORD)
    assert PASSWORD not in json.dumps(job.params)
    assert Counter(told(job)) == Counter({"RESOURCE_ASSIGN_DONE": 3}) + Counter(ONCE)


def test_every_refusal_names_its_field_all_at_once_and_nothing_is_written(world: World):
    root, place = world.place.actor("root"), world.place
    before = Job.objects.count(), User.objects.count()
    bad: dict[str, dict[str, Any]] = {
        "name": {"name": "PHYSICS"},
        "clusters": {"clusters": ()},
        "storage_domains": {"storage_domains": (uuid4(),)},
        "templates": {"templates": (uuid4(),)},
        "network_provider": {"network": OwnNetwork("lan", uuid4())},
        "network_cidr": {"network": OwnNetwork("lan", place.provider.pk, Network.objects.first().cidr)},
        "machines": {"limits": {Dimension.MACHINES: -1}},
        "admin": {"admin": "nobody"},
    }
    for field, change in bad.items():
        with pytest.raises(Invalid) as refused:
            launch_data_center(root, replace(launch_of(place, "chemistry"), **change))
        assert field in {reason.field for reason in refused.value.reasons}, field
    with pytest.raises(Invalid) as refused:
        launch_data_center(root, launch_of(place, "chemistry", **of_somebody_new("bob") | {"clusters": ()}))
    assert {reason.field for reason in refused.value.reasons} == {"admin", "clusters"}
    StorageDomain.objects.update(holds_disks=False)  # S7: its volumes are devices, say
    with pytest.raises(Invalid, match="Choose one that it has"):
        launch_data_center(root, launch_of(place, "chemistry"))
    assert not usable_storage(place.centers["physics"]).exists()
    with pytest.raises(NotPermitted):
        launch_data_center(place.actor("physics-admin"), launch_of(place, "chemistry"))
    assert (Job.objects.count(), User.objects.count()) == before


def test_a_launch_that_failed_keeps_what_was_done_and_is_continued_with_other_choices(world: World):
    root, place = world.place.actor("root"), world.place
    double_of(world).fail("create_network", Fault.REFUSED)
    job = ended(launch_data_center(root, launch_of(place, "chemistry")))
    assert (job.status, job.error["step"]) == ("failed", "network")
    row = DataCenter.objects.get(name="chemistry")
    assert not row.enabled
    assert unfinished_launch(row) == job
    assert ClusterAssignment.objects.filter(data_center=row).exists()
    assert not Network.objects.filter(owner=row).exists()
    assert [step.status for step in job.steps.all()][:6] == ["done"] * 4 + ["skipped", "failed"]

    shared = Network.objects.create(name="campus", provider=place.provider, cidr="10.5.0.0/24")
    wanted = replace(request_of(job), name="chem", templates=(), network=None, networks=(shared.pk,))
    again = ended(launch_data_center(root, wanted))

    assert again.status == "finished", again.error
    row.refresh_from_db()
    assert (row.name, row.enabled, DataCenter.objects.filter(name="chemistry").count()) == ("chem", True, 0)
    assert list(NetworkAssignment.objects.filter(data_center=row).values_list("network", flat=True)) == [shared.pk]
    assert not TemplateAssignment.objects.filter(data_center=row).exists()
    assert unfinished_launch(row) is None
    with pytest.raises(Conflict, match="launched already"):
        plan_launch(root, wanted)


def test_what_was_whole_when_a_launch_failed_later_stays_done_and_is_not_made_twice(world: World):
    root, place = world.place.actor("root"), world.place
    job = launch_data_center(root, launch_of(place, "chemistry"))
    User.objects.filter(username="bob").update(is_active=False)
    assert (ended(job).status, Job.objects.get(pk=job.pk).error["step"]) == ("failed", "admin")
    network = Network.objects.get(owner=job.target_uid)
    assert network.status == "operational"
    assert job.steps.get(name="network").status == "done"

    wanted = replace(request_of(job), admin="alice")
    assert plan_launch(root, wanted).made_network == network
    with pytest.raises(Invalid, match="made already"):
        launch_data_center(root, replace(wanted, network=OwnNetwork("other", place.provider.pk)))
    again = ended(launch_data_center(root, wanted))
    assert again.status == "finished", again.error
    assert list(Network.objects.filter(owner=job.target_uid)) == [network]
    assert sum(code == "DATA_CENTER_CREATE_DONE" for code in told(job) + told(again)) == 1


def test_one_launch_of_a_name_at_a_time_and_a_cancelled_one_can_be_continued(world: World):
    root = world.place.actor("root")
    job = launch_data_center(root, launch_of(world.place, "chemistry"))
    with pytest.raises(Conflict):
        launch_data_center(root, launch_of(world.place, "Chemistry"))
    with pytest.raises(Conflict, match="not ended"):
        plan_launch(root, request_of(job))
    cancel_job(job.pk)
    assert ended(job).status == "aborted"
    assert ended(launch_data_center(root, request_of(job))).status == "finished"


def test_whoever_holds_it_for_a_time_or_by_a_narrow_token_appoints_nobody(world: World):
    root, wanted = world.place.actor("root"), launch_of(world.place, "chemistry")
    narrow = replace(root, bounds=Bounds(permits=frozenset({"SYSTEM_MANAGE", "PROVIDER_MANAGE"})))
    with pytest.raises(NotPermitted, match="GRANT"):
        launch_data_center(narrow, wanted)
    SystemUserGrant.objects.filter(user=root.user).update(expires_at=timezone.now() + timedelta(days=1))
    with pytest.raises(NotPermitted, match="until"):
        plan_launch(root, wanted)


@pytest.mark.parametrize(
    ("lost", "done"),
    [("PROVIDER_MANAGE", ["data_center"]), ("QUOTA_EDIT", ["data_center", "clusters", "storage", "templates"])],
)
def test_AZ09_a_launch_does_nothing_that_who_asked_may_no_longer_do(world: World, lost: str, done: list[str]):  # noqa: N802
    clerk = Role.objects.create(name="Clerk", codename="custom-clerk", permits=sorted(Permit))
    bob = world.place.users["bob"]
    policy.grant(system_actor(), clerk.codename, bob, policy.system())
    job = launch_data_center(
        world.place.actor("bob"), replace(launch_of(world.place, "chemistry"), network=None, admin="charlie")
    )
    Role.objects.filter(pk=clerk.pk).update(permits=sorted(set(Permit) - {lost}))
    assert ended(job).error["code"] == "not_permitted"
    finished = list(job.steps.filter(status="done").order_by("position").values_list("name", flat=True))
    assert finished[: len(done)] == done
    assert "quota" not in finished
    assert not DataCenter.objects.get(pk=job.target_uid).enabled


def test_what_was_opened_by_hand_is_its_peoples_and_no_launch_goes_on_with_it(world: World):
    root, place = world.place.actor("root"), world.place
    double_of(world).fail("create_network", Fault.REFUSED)
    job = ended(launch_data_center(root, launch_of(place, "chemistry")))
    again = launch_data_center(root, request_of(job))
    row = set_data_center_enabled(root, job.target_uid, enabled=True)
    assert ended(again).error["code"] == "opened_meanwhile"
    assert not DataCenterUserGrant.objects.filter(content_object=row).exists()
    set_data_center_enabled(root, row.pk, enabled=False)
    row.refresh_from_db()
    assert unfinished_launch(row) is None
    with pytest.raises(Conflict, match="launched already"):
        launch_data_center(root, request_of(job))


def test_nobody_is_let_in_without_an_admin_who_can_log_in_and_stays(world: World):
    root, place = world.place.actor("root"), world.place
    double_of(world).fail("create_network", Fault.REFUSED)
    job = ended(launch_data_center(root, launch_of(place, "chemistry")))
    row = DataCenter.objects.get(pk=job.target_uid)
    bob = place.users["bob"]
    policy.grant(root, ADMIN, bob, row, expires_at=timezone.now() + timedelta(days=1))
    assert ended(launch_data_center(root, replace(request_of(job), admin="bob"))).status == "finished"
    assert DataCenterUserGrant.objects.get(content_object=row, user=bob).expires_at is None


def test_an_admin_who_is_disabled_at_the_last_moment_opens_nothing(world: World, monkeypatch):
    job = launch_data_center(world.place.actor("root"), replace(launch_of(world.place, "chemistry"), admin="bob"))
    monkeypatch.setattr(
        LaunchDataCenter,
        "steps",
        tuple(
            replace(step, do=lambda _ctx: User.objects.filter(username="bob").update(is_active=False) and None)
            if step.name == "launch"
            else step
            for step in LaunchDataCenter.steps
        ),
    )
    assert ended(job).error["code"] == "admin_gone"
    assert not DataCenter.objects.get(pk=job.target_uid).enabled


def test_its_admin_may_be_somebody_of_a_directory_who_was_never_here(world: World, slapd: SlapdServer):
    root, directory = world.place.actor("root"), openldap_row(slapd, name="uni", domains=[])
    name, kept_out = fresh("founder"), fresh("gone")
    slapd.person(name, PASSWORD)
    slapd.change(slapd.person(kept_out, PASSWORD), pwdReset="TRUE")
    plain = launch_of(world.place, "chemistry")
    wanted = with_admin(root, replace(plain, admin=f"uni\\{name}"))
    assert plan_launch(root, wanted).reasons == ()
    assert not User.objects.filter(directory=directory).exists()
    assert ended(launch_data_center(root, wanted)).status == "finished"
    admin, center = User.objects.get(directory=directory), DataCenter.objects.get(name="chemistry")
    assert DataCenterUserGrant.objects.filter(user=admin, content_object=center).exists()

    def refusals(admin: str) -> set[str]:
        return {one.code for one in plan_launch(root, with_admin(root, replace(plain, name="x", admin=admin))).reasons}

    assert refusals(f"uni\\{kept_out}") == {"admin_kept_out"}
    assert refusals("uni\\nobody-there") == {"admin_unknown"}
    slapd.stop()
    with pytest.raises(Unavailable, match="uni"):
        with_admin(root, replace(plain, admin="uni\\another"))
    page = world.browser("root").post(LAUNCH, {"name": "x", "admin": "uni\\another", "at": "5", "go": "next"})
    assert "uni cannot be asked" in str(page.context["form"].errors["admin"])
