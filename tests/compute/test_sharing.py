"""Sharing out: what a data center may use of the institute's, who may say so, and what hangs on it."""

from __future__ import annotations

from uuid import uuid4

import pytest

from compute import selectors
from compute.models import Cluster, StorageAssignment, TemplateAssignment
from compute.services import sharing, vms
from compute.services.wishes import VmRequest
from network.models import Network
from portal.common.access import access_version
from portal.common.errors import Conflict, NotFound, NotPermitted
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
def test_what_machines_need_is_not_taken_back_and_they_are_named(institute, machine, kind):
    row = Cluster.objects.get() if kind == "cluster" else institute.template.storage_domain
    physics, informatics = institute.centers["physics"], institute.centers["informatics"]
    with pytest.raises(Conflict) as refused:
        sharing.unassign(institute.actor("root"), physics.pk, kind, row.pk)
    assert refused.value.reasons[0].data == {"count": 1, "machines": ["web-1"]}
    sharing.unassign(institute.actor("root"), informatics.pk, kind, row.pk)
    assert StorageAssignment.objects.filter(data_center=physics).exists()


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
    with pytest.raises(Conflict):
        sharing.assign(root, physics.pk, "network", own.pk)
