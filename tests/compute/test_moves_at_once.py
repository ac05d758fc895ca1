"""A machine moves while others run it and look at it: nothing is charged, and no job begins, where it is not (AZ16)."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from compute.models import Disk, Vm
from compute.models.grants import VmUserGrant
from compute.operations.vms import _forget
from compute.services import moves, vms
from compute.services.moves import Move
from compute.services.wishes import VmRequest
from compute.sync.vms import observe
from portal.common.errors import Conflict, NotFound
from portal.hypervisors.specs import VmFound, VmStatus
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import quota
from tenants.models import QuotaCharge
from tenants.services.grants import grant_role
from tests.crowd import in_threads
from tests.people import Institute

ROUNDS = 6
HEAD_START = 0.4  # seconds that a move, its machine's row in hand, leaves to the other


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


@pytest.mark.django_db(transaction=True)
def test_AZ16_a_role_given_and_a_row_that_goes_wait_for_the_move(institute: Institute, monkeypatch):  # noqa: N802
    root, centers = institute.actor("root"), institute.centers
    wish = VmRequest("web", centers["physics"].pk, institute.template.pk, vnic_profile_uids=(), run=False)
    run_to_end(vms.create_vm(root, wish)[1].pk)
    vm, read, held = Vm.objects.get(), moves.data_center_of, threading.Event()

    def slowly(uid: Any) -> Any:
        if not held.is_set():
            held.set()
            threading.Event().wait(HEAD_START)
        return read(uid)

    monkeypatch.setattr(moves, "data_center_of", slowly)

    def while_it_moves(center: str, other: Any) -> list[Any]:
        def one(which: int) -> Any:
            if which == 0:
                return moves.move_vm(root, vm.pk, Move(centers[center].pk))
            assert held.wait(HEAD_START * 10)
            try:
                return other()
            except NotFound as refused:
                return refused

        held.clear()
        return in_threads(2, one)

    give = partial(grant_role, institute.actor("physics-admin"), "user-role", institute.users["bob"], vm)
    assert any(isinstance(answer, NotFound) for answer in while_it_moves("informatics", give))
    assert not VmUserGrant.objects.filter(user=institute.users["bob"]).exists()

    while_it_moves("physics", transaction.atomic(partial(_forget, vm.pk)))
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()
