"""A machine moves while others run it and look at it: nothing is charged, and no job begins, where it is not (AZ16)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from compute.models import Disk, Vm
from compute.services import moves, vms
from compute.services.moves import Move
from compute.services.wishes import VmRequest
from compute.sync.vms import observe
from portal.common.errors import Conflict
from portal.hypervisors.specs import VmFound, VmStatus
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import quota
from tenants.models import QuotaCharge
from tests.crowd import in_threads
from tests.people import Institute

ROUNDS = 6


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_AZ16_charges_and_jobs_are_where_the_machine_is_whoever_was_first(institute: Institute):  # noqa: N802
    root, centers = institute.actor("root"), list(institute.centers.values())
    wish = VmRequest("web", centers[0].pk, institute.template.pk, vnic_profile_uids=(), run=False)
    run_to_end(vms.create_vm(root, wish)[1].pk)
    for number in range(ROUNDS):
        old, move = Vm.objects.select_related("data_center").get(), Move(centers[(number + 1) % 2].pk)
        up, down = (VmFound(old.external_id, "web", None, status) for status in (VmStatus.UP, VmStatus.DOWN))
        acts = (
            partial(moves.move_vm, root, old.pk, move),
            partial(vms.run_vm, root, old.pk),
            partial(observe, old, up),
        )

        def tried(which: int, acts: tuple[partial[Any], ...] = acts) -> Any:
            try:
                return acts[which]()
            except Conflict as refused:  # whoever was last
                return refused

        in_threads(len(acts), tried)
        now = Vm.objects.get().data_center_id
        charges = QuotaCharge.objects.filter(consumer_uid__in=[old.pk, *Disk.objects.values_list("pk", flat=True)])
        assert {row.data_center_id for row in charges} == {now}
        for job in Job.objects.filter(status="queued"):
            assert job.data_center_uid == now
            run_to_end(job.pk)
        observe(Vm.objects.get(), down)
        assert [quota.recount_drift(center) for center in centers] == [[], []]
