"""AZ09 for every operation there is: whoever lost all his rights between the 202 and the work gets nothing of it."""

from __future__ import annotations

import pytest

from portal.jobs.models import JobLock
from portal.jobs.operation import Operation
from portal.jobs.states import JobStatus
from tenants.kinds import kinds
from tenants.models import User
from tests.flows import scenarios
from tests.flows.nothing_lost import assert_nothing_lost
from tests.flows.patience import run_through
from tests.flows.place import Place
from tests.flows.scenarios import SCENARIOS, name_of, operations

pytestmark = [pytest.mark.long, pytest.mark.turns, pytest.mark.django_db(transaction=True)]


def lose_everything(user: User) -> None:
    """By the rows: whatever way takes rights away ends here."""
    for kind in kinds():
        if kind.user_grants is not None:
            kind.user_grants._default_manager.filter(user=user).delete()
    user.groups.clear()


@pytest.mark.parametrize("operation", operations(), ids=name_of)
def test_AZ09_who_lost_his_rights_gets_nothing(place: Place, monkeypatch, operation: type[Operation]):  # noqa: N802
    # What the portal starts by itself is started by a super-admin here, who can lose what he holds.
    monkeypatch.setattr(scenarios, "system_actor", lambda: place.actor("root"))
    job = SCENARIOS[operation.name].start(place, "lost")
    assert job.actor_uid is not None
    place.double.forget_calls()
    lose_everything(User.objects.get(pk=job.actor_uid))
    run_through(place, job)
    assert job.status == JobStatus.FAILED, job.error
    assert job.error["code"] in {"not_found", "not_permitted"} or job.error["code"].endswith("_not_permitted"), (
        job.error
    )
    assert place.double.calls() == []
    assert not JobLock.objects.filter(job=job).exists()
    assert_nothing_lost(place)
