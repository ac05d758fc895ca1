"""Sharing out: what a data center may use of the institute's, who may say so, and what hangs on it."""

from __future__ import annotations

from uuid import uuid4

import pytest

from compute import selectors
from compute.models import Cluster, Host, StorageDomain, Template, TemplateAssignment
from compute.resources import resources_of
from compute.services import sharing, vms
from compute.services.launch import LaunchRequest, launch_data_center
from compute.services.launch_offers import offers
from compute.services.wishes import VmRequest
from network.models import Network
from portal.common.access import access_version
from portal.common.errors import Conflict, Invalid, NotFound, NotPermitted
from portal.events.models import Event
from portal.jobs.engine import run_to_end

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def machine(institute):
    physics = institute.centers["physics"]
    wish = VmRequest(name="web-1", data_center_uid=physics.pk, template_uid=institute.template.pk)
    vm, job = vms.create_vm(institute.actor("alice"), wish)
    assert run_to_end(job.pk).status == "finished"
    return vm


def test_what_is_taken_back_is_used_no_more_and_what_is_given_again_is(institute):
    root, physics, template = institute.actor("root"), institute.centers["physics"], institute.template
    before = access_version(institute.users["alice"].pk)
    sharing.unassign(root, physics.pk, "template", template.pk)
    sharing.unassign(root, physics.pk, "template", template.pk)
    assert not selectors.usable_templates(institute.actor("alice")).exists()
    assert selectors.usable_templates(institute.actor("charlie")).exists()
    assert access_version(institute.users["alice"].pk) > before
    sharing.assign(root, physics.pk, "template", template.pk)
    sharing.assign(root, physics.pk, "template", template.pk)
    assert TemplateAssignment.objects.filter(data_center=physics).count() == 1
    assert list(selectors.usable_templates(institute.actor("alice"))) == [template]
    assert Event.objects.filter(code="RESOURCE_ASSIGN_DONE", data__id=str(template.pk)).exists()


@pytest.mark.parametrize("kind", ["cluster", "storage_domain"])
def test_what_a_data_center_needs_is_not_taken_back_and_all_that_does_is_named(institute, machine, kind):
    root, template = institute.actor("root"), institute.template
    row = Cluster.objects.get() if kind == "cluster" else template.storage_domain
    physics, informatics = institute.centers["physics"], institute.centers["informatics"]
    Network.objects.filter(owner=informatics).delete()
    own = Template.objects.create(name="own", owner=physics, storage_domain=template.storage_domain)
    networks = {"networks": [each.name for each in Network.objects.filter(owner=physics)]}

    with pytest.raises(Conflict) as refused:
        sharing.unassign(root, physics.pk, kind, row.pk)

    told = {reason.code: reason.data["names"] for reason in refused.value.reasons}
    assert told == {"machines": ["web-1"], "templates": ["own"]} | (networks if kind == "cluster" else {})
    assert "1 template: own" in refused.value.detail
    assert own.storage_domain.assignments.filter(data_center=physics).exists()
    sharing.unassign(root, informatics.pk, kind, row.pk)


def test_a_cluster_is_taken_back_where_another_reaches_the_same_hypervisor(institute):
    physics, cluster = institute.centers["physics"], Cluster.objects.get()
    other = Cluster.objects.create(name="other")
    provider = institute.template.storage_domain.provider
    Host.objects.create(provider=provider, cluster=other, external_id="second", name="second")
    with pytest.raises(Conflict, match="1 network"):
        sharing.unassign(institute.actor("root"), physics.pk, "cluster", cluster.pk)
    sharing.assign(institute.actor("root"), physics.pk, "cluster", other.pk)

    sharing.unassign(institute.actor("root"), physics.pk, "cluster", cluster.pk)


def test_what_another_portal_made_for_itself_is_neither_offered_nor_assigned(institute):
    root, physics, ours = institute.actor("root"), institute.centers["physics"], institute.template.storage_domain
    kept = {"provider": ours.provider, "status": "active", "holds_disks": False}
    theirs = StorageDomain.objects.create(name="stegi-00c0ffee", external_id="stegi-00c0ffee", **kept)
    devices = StorageDomain.objects.create(name="devices", external_id="devices", **kept)
    sharing.unassign(root, physics.pk, "storage_domain", ours.pk)

    offered = {kind.kind: kind.others for kind in resources_of(root, physics)}
    assert offered["storage_domain"] == (ours, devices), "where disks can lie comes first"
    assert list(offers(root)["storage_domains"].rows) == [ours, devices]
    with pytest.raises(Conflict, match="stegi-00c0ffee is another portal's own") as refused:
        sharing.assign(root, physics.pk, "storage_domain", theirs.pk)
    assert [reason.code for reason in refused.value.reasons] == ["another_portals"]
    wanted = LaunchRequest(
        "chemistry", "bob", clusters=(Cluster.objects.get().pk,), storage_domains=(ours.pk, theirs.pk)
    )
    with pytest.raises(Invalid) as invalid:
        launch_data_center(root, wanted)
    assert [(reason.code, reason.field) for reason in invalid.value.reasons] == [("another_portals", "storage_domains")]


def test_an_admin_of_a_department_shares_out_nothing(institute):
    physics, template = institute.centers["physics"], institute.template
    with pytest.raises(NotPermitted):
        sharing.assign(institute.actor("physics-admin"), physics.pk, "template", template.pk)
    with pytest.raises(NotFound):
        sharing.assign(institute.actor("informatics-admin"), physics.pk, "template", template.pk)


def test_what_is_not_there_or_a_departments_own_is_not_shared(institute):
    root, physics = institute.actor("root"), institute.centers["physics"]
    with pytest.raises(NotFound):
        sharing.assign(root, physics.pk, "cluster", uuid4())
    own = Network.objects.get(owner=institute.centers["informatics"])
    Network.objects.filter(pk=own.pk).update(name="of-informatics")
    with pytest.raises(Conflict, match="of-informatics"):
        sharing.assign(root, physics.pk, "network", own.pk)
    sharing.unassign(root, physics.pk, "network", own.pk)
    told = [row for row in Event.objects.all() if "of-informatics" in f"{row.message} {row.data}"]
    assert [row.data_center_uid for row in told] == [None, None], "AZ03: in no log of a department's"
