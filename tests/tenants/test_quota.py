"""The ledger: what is charged, refused, released, counted."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from portal.common.errors import Conflict, QuotaExceeded
from portal.events.models import Event
from tenants import quota, quota_words
from tenants.models import QuotaAccount, QuotaCharge
from tenants.models.quota import Enforcement
from tenants.quota import Consumer, Dimension

MACHINES = Dimension.MACHINES
VCPUS = Dimension.VCPUS_DEFINED


def machine():
    return Consumer("vm", uuid4())


def used(people, user=None):
    rows = quota.usage(people.physics, user.pk if user else None)
    return dict.fromkeys(Dimension, 0) | {
        row.dimension: row.used for row in rows if row.subject == ("user" if user else "data_center")
    }


def is_over(people):
    return next(row.used > row.limit for row in quota.usage(people.physics) if row.dimension == VCPUS)


def test_a_charge_counts_for_the_data_center_and_the_user_and_only_once(people):
    consumer = machine()
    for _ in range(2):
        quota.charge(consumer, people.physics, {MACHINES: 1, VCPUS: 4}, user_uid=people.alice.pk)
    assert used(people)[VCPUS] == used(people, people.alice)[VCPUS] == 4
    assert used(people, people.bob)[VCPUS] == 0
    assert quota.recount_drift(people.physics) == []


def test_releasing_twice_is_once(people):
    consumer = machine()
    quota.charge(consumer, people.physics, {MACHINES: 1, VCPUS: 4}, user_uid=people.alice.pk)
    quota.release(consumer, [VCPUS])
    assert (used(people)[VCPUS], used(people)[MACHINES]) == (0, 1)
    quota.release(consumer)
    quota.release(consumer)
    assert set(used(people).values()) == {0}
    assert quota.recount_drift(people.physics) == []


def test_a_refusal_has_all_figures_of_all_accounts_and_nothing_is_written(people):
    quota.set_limits(people.physics, {VCPUS: 6, MACHINES: 5})
    quota.set_limits(people.physics, {VCPUS: 5}, user_uid=people.alice.pk)
    first = machine()
    quota.charge(first, people.physics, {MACHINES: 1, VCPUS: 4}, user_uid=people.alice.pk)
    quota.charge(machine(), people.physics, {MACHINES: 1, VCPUS: 1}, user_uid=people.bob.pk)
    with pytest.raises(QuotaExceeded) as caught:
        quota.charge(machine(), people.physics, {MACHINES: 1, VCPUS: 3}, user_uid=people.alice.pk)
    figures = {r.data["subject"]: r.data for r in caught.value.reasons}
    assert figures["data_center"]["shortfall"] == 2
    assert (figures["user"]["limit"], figures["user"]["used"], figures["user"]["requested"]) == (5, 4, 3)
    assert figures["user"]["top_consumers"][0] == {"kind": "vm", "id": str(first.uid), "amount": 4}
    assert "2" in caught.value.reasons[0].text
    assert used(people)[MACHINES] == 2
    assert QuotaCharge.objects.filter(dimension=MACHINES).count() == 2


def test_several_consumers_are_charged_together_or_not_at_all(people, django_assert_max_num_queries, monkeypatch):
    """In as many queries as one: savepoint, the data center, what was charged, accounts, UPDATE, two INSERTs, release."""
    quota.set_limits(people.physics, {Dimension.STORAGE_GIB: 9, MACHINES: 1})
    vm, *disks = machine(), Consumer("disk", uuid4()), Consumer("disk", uuid4())
    costs = {vm: {MACHINES: 1, VCPUS: 4}} | {disk: {Dimension.STORAGE_GIB: 5} for disk in disks}
    with pytest.raises(QuotaExceeded) as caught:
        quota.charge_all(costs | {machine(): {MACHINES: 1}}, people.physics, user_uid=people.alice.pk)
    told = {each.data["dimension"]: (each.data["requested"], each.data["shortfall"]) for each in caught.value.reasons}
    assert told == {Dimension.STORAGE_GIB: (10, 1), MACHINES: (2, 1)}
    monkeypatch.setattr(quota, "_fits", lambda *_: True)
    with pytest.raises(Conflict, match="very moment"):  # whatever was read before: the UPDATE itself refuses
        quota.charge_all(costs, people.physics, user_uid=people.alice.pk)
    assert not QuotaCharge.objects.exists()
    assert set(used(people).values()) == {0}
    quota.set_limits(people.physics, {Dimension.STORAGE_GIB: 100, MACHINES: 10})
    quota.charge_all(costs, people.physics, user_uid=people.alice.pk)
    for consumer in costs:
        quota.release(consumer)
    with django_assert_max_num_queries(8):
        quota.charge_all(costs, people.physics, user_uid=people.alice.pk)
    assert used(people)[Dimension.STORAGE_GIB] == used(people, people.alice)[Dimension.STORAGE_GIB] == 10
    assert quota.recount_drift(people.physics) == []


def test_a_refusal_tells_its_figures_with_their_units(people):
    quota.set_limits(people.physics, {Dimension.MEMORY_DEFINED_MIB: 2048})
    with pytest.raises(QuotaExceeded) as caught:
        quota.charge(machine(), people.physics, {Dimension.MEMORY_DEFINED_MIB: 3072}, user_uid=None)
    assert "limit 2 GiB, in use 0 MiB, asked for 3 GiB, 1 GiB over" in caught.value.detail


def test_a_refusal_says_what_helps_in_its_dimension():
    assert set(quota_words.REMEDIES) == set(Dimension)
    running = {Dimension.VCPUS_RUNNING, Dimension.MEMORY_RUNNING_MIB}
    assert {dimension for dimension, text in quota_words.REMEDIES.items() if "shut" in str(text)} == running
    assert "delete a machine" in str(quota_words.REMEDIES[Dimension.MACHINES]).lower()


def test_grace_is_the_last_that_is_accepted(people):
    quota.set_limits(people.physics, {VCPUS: 10}, grace_percent=20)
    consumer = machine()
    quota.charge(consumer, people.physics, {VCPUS: 12}, user_uid=None)
    assert is_over(people)
    with pytest.raises(QuotaExceeded):
        quota.charge(machine(), people.physics, {VCPUS: 1}, user_uid=None)


def test_odd_grace_never_rounds_up(people):
    quota.set_limits(people.physics, {VCPUS: 3}, grace_percent=50)  # 4.5
    quota.charge(machine(), people.physics, {VCPUS: 4}, user_uid=None)
    with pytest.raises(QuotaExceeded):
        quota.charge(machine(), people.physics, {VCPUS: 1}, user_uid=None)


def test_a_limit_of_zero_is_nothing_and_audit_lets_pass(people):
    quota.set_limits(people.physics, {VCPUS: 0})
    with pytest.raises(QuotaExceeded):
        quota.charge(machine(), people.physics, {VCPUS: 1}, user_uid=None)
    QuotaAccount.objects.update(enforcement=Enforcement.AUDIT)
    quota.charge(machine(), people.physics, {VCPUS: 1}, user_uid=None)
    assert is_over(people)


def test_a_limit_lowered_below_use_refuses_growth_and_lets_go(people):
    """CC04."""
    consumer = machine()
    quota.charge(consumer, people.physics, {VCPUS: 8}, user_uid=None)
    quota.set_limits(people.physics, {VCPUS: 4})
    with pytest.raises(QuotaExceeded):
        quota.charge(machine(), people.physics, {VCPUS: 1}, user_uid=None)
    quota.release(consumer)
    assert used(people)[VCPUS] == 0


def test_use_found_on_a_hypervisor_is_charged_all_the_same_and_shown_as_over(people):
    quota.set_limits(people.physics, {VCPUS: 2})
    quota.charge(machine(), people.physics, {VCPUS: 8}, user_uid=None, found=True)
    assert is_over(people)
    assert quota.recount_drift(people.physics) == []


def test_what_if_agrees_with_charge_and_writes_nothing(people):
    quota.set_limits(people.physics, {VCPUS: 4})
    ok, too_much = (quota.what_if(people.physics, people.alice.pk, {VCPUS: n}) for n in (4, 5))
    assert [(f.subject, f.after, bool(f.reasons)) for f in ok] == [("data_center", 4, False)]
    assert [(f.subject, f.after, bool(f.reasons)) for f in too_much] == [("data_center", 5, True)]
    assert not QuotaCharge.objects.exists()


@pytest.fixture
def students(people):
    group = Group.objects.create(name="students")
    people.alice.groups.add(group)
    people.bob.groups.add(group)
    return group


def of_group(people):
    rows = quota.usage(people.physics, people.alice.pk)
    return next((row.used, row.limit) for row in rows if row.subject == "group" and row.dimension == VCPUS)


def test_a_groups_share_counts_what_its_members_use_together(people, students):
    before = machine()
    quota.charge(before, people.physics, {VCPUS: 2}, user_uid=people.alice.pk)
    quota.set_limits(people.physics, {VCPUS: 5}, group=students)
    quota.charge(machine(), people.physics, {VCPUS: 2}, user_uid=people.bob.pk)
    quota.charge(machine(), people.physics, {VCPUS: 9}, user_uid=people.physics_admin.pk)
    assert of_group(people) == (4, 5)
    assert [f.after for f in quota.what_if(people.physics, people.bob.pk, {VCPUS: 2}) if f.reasons] == [6]
    with pytest.raises(QuotaExceeded) as caught:
        quota.charge(machine(), people.physics, {VCPUS: 2}, user_uid=people.bob.pk)
    assert caught.value.reasons[0].data["subject"] == "group"
    assert str(before.uid) not in str(caught.value.reasons[0].data), "what others have is not told"
    quota.release(before)
    assert of_group(people) == (2, 5)
    assert quota.recount_drift(people.physics) == []


def test_who_leaves_a_group_is_released_where_he_was_charged(people, students):
    quota.set_limits(people.physics, {VCPUS: 5}, group=students)
    consumers = [machine(), machine()]
    for consumer in consumers:
        quota.charge(consumer, people.physics, {VCPUS: 2}, user_uid=people.bob.pk)
    people.bob.groups.remove(students)
    quota.release(consumers[0])
    assert of_group(people) == (2, 5)
    quota.rebook_group(students)
    assert of_group(people) == (0, 5)
    quota.release(consumers[1])
    assert of_group(people) == (0, 5)
    assert quota.recount_drift(people.physics) == []


def test_growing_is_checked_shrinking_never_refused(people):
    consumer = machine()
    quota.charge(consumer, people.physics, {VCPUS: 4, MACHINES: 1}, user_uid=people.alice.pk)
    quota.set_limits(people.physics, {VCPUS: 6}, user_uid=people.alice.pk)
    quota.adjust(consumer, {VCPUS: 6})
    assert used(people)[VCPUS] == used(people, people.alice)[VCPUS] == 6
    with pytest.raises(QuotaExceeded) as caught:
        quota.adjust(consumer, {VCPUS: 8})
    assert (caught.value.reasons[0].data["requested"], caught.value.reasons[0].data["shortfall"]) == (2, 2)
    quota.set_limits(people.physics, {VCPUS: 1}, user_uid=people.alice.pk)
    quota.adjust(consumer, {VCPUS: 3})
    quota.adjust(consumer, {VCPUS: 5}, found=True)
    with pytest.raises(LookupError):
        quota.adjust(consumer, {Dimension.SNAPSHOTS: 1})
    assert (used(people)[VCPUS], used(people)[MACHINES]) == (5, 1)
    quota.release(consumer)
    assert set(used(people).values()) == {0}
    assert quota.recount_drift(people.physics) == []


def test_passing_the_threshold_and_the_limit_is_recorded_once_each(people):
    quota.set_limits(people.physics, {VCPUS: 10}, grace_percent=20)
    for _ in range(6):
        quota.charge(machine(), people.physics, {VCPUS: 2}, user_uid=people.alice.pk)
    told = Event.objects.filter(object_kind="quota").order_by("at")
    assert [(row.code, row.data["used"], row.data_center_uid) for row in told] == [
        ("QUOTA_THRESHOLD_PASSED", 10, people.physics.pk),
        ("QUOTA_LIMIT_PASSED", 12, people.physics.pk),
    ]
    with pytest.raises(QuotaExceeded), transaction.atomic():
        quota.charge(machine(), people.physics, {VCPUS: 2}, user_uid=people.alice.pk)
    assert told.count() == 2


def test_drift_is_reported_and_not_mended(people):
    quota.charge(machine(), people.physics, {VCPUS: 8}, user_uid=None)
    QuotaAccount.objects.update(used=3)
    assert [(d["used"], d["recount"]) for d in quota.recount_drift(people.physics)] == [(3, 8)]
    assert used(people)[VCPUS] == 3


def storm(people, consumers):
    """Everybody charges at once, each in a transaction of his own; returns how many were accepted and refused."""
    barrier = threading.Barrier(len(consumers))
    outcomes: list[str] = []

    def one(consumer):
        barrier.wait()
        try:
            with transaction.atomic():
                quota.charge(consumer, people.physics, {MACHINES: 1, VCPUS: 2}, user_uid=people.alice.pk)
            outcomes.append("accepted")
        except QuotaExceeded:
            outcomes.append("refused")
        except Exception as error:  # noqa: BLE001  (a thread tells what befell it)
            outcomes.append(repr(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(consumer,)) for consumer in consumers]
    run_all(threads)
    return outcomes


@pytest.mark.long
def test_cc01_of_200_parallel_charges_against_10_exactly_10_are_accepted(lasting_people):
    """On SQLite and on PostgreSQL, whichever this run is on."""
    people = lasting_people
    quota.set_limits(people.physics, {MACHINES: 10})
    outcomes = storm(people, [machine() for _ in range(200)])
    assert (outcomes.count("accepted"), outcomes.count("refused")) == (10, 190), set(outcomes)
    assert used(people)[MACHINES] == 10
    assert used(people, people.alice)[VCPUS] == 20
    assert quota.recount_drift(people.physics) == []


def test_one_consumer_charged_in_parallel_counts_once(lasting_people):
    assert storm(lasting_people, [machine()] * 20) == ["accepted"] * 20
    assert used(lasting_people)[VCPUS] == 2


def test_making_and_deleting_at_once_never_wait_for_each_other_for_ever(lasting_people):
    """CC02: a machine is charged before its disk and released after it."""
    people = lasting_people
    failures: list[str] = []

    def come_and_go():
        try:
            for _ in range(5):
                vm, disk = machine(), Consumer("disk", uuid4())
                with transaction.atomic():
                    quota.charge(vm, people.physics, {MACHINES: 1, VCPUS: 2}, user_uid=people.alice.pk)
                    quota.charge(disk, people.physics, {Dimension.STORAGE_GIB: 1}, user_uid=people.alice.pk)
                with transaction.atomic():
                    quota.release(disk)
                    quota.release(vm)
        except Exception as error:  # noqa: BLE001  (a thread tells what befell it)
            failures.append(repr(error))
        finally:
            connection.close()

    run_all([threading.Thread(target=come_and_go) for _ in range(8)])
    assert failures == []
    assert set(used(people).values()) == {0}
    assert quota.recount_drift(people.physics) == []


def run_all(threads):
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
