"""The audit log keeps what was tried, whatever it was."""

import pytest

from portal.common.actor import system_actor
from portal.common.errors import Invalid
from portal.events.models import Event
from portal.events.record import Subject, attempt


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["a\x00b", "\ud800", "x" * 500])
def test_a_refused_attempt_is_recorded_whatever_its_name(name):
    with pytest.raises(Invalid), attempt(system_actor(), "VM_CREATE", Subject("vm", None, name)):
        raise Invalid("no")
    assert Event.objects.get().code == "VM_CREATE_REFUSED"
