"""Which networks a machine's cards may be on."""

from __future__ import annotations

from pathlib import Path

import pytest

from compute.services.providers import connect_provider, own_storage, share_out
from compute.services.templates import TemplateRequest, import_template
from compute.services.vms import create_vm
from compute.services.wishes import VmRequest
from network.models import VnicProfile
from portal.common.actor import system_actor
from portal.common.errors import NotFound
from portal.jobs.engine import run_to_end
from tests.people import Institute

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_machine_gets_no_card_on_a_network_of_another_provider(institute: Institute, tmp_path: Path) -> None:
    """It would never start: the network is not there."""
    center = institute.centers["physics"]
    second = connect_provider(system_actor(), name="second", kind="double", address=f"double://{tmp_path}/second")
    (tmp_path / "image").write_bytes(b"QFI\xfb" + bytes(1020))
    request = TemplateRequest("Second", tmp_path / "image", own_storage(second), 1, 256, 128)
    template, job = import_template(system_actor(), request)
    run_to_end(job.pk)
    share_out(system_actor(), center, provider=second, templates=(template,))
    near = VnicProfile.objects.get(network__owner=center)
    wish = VmRequest("web-1", center.pk, template.pk, vnic_profile_uids=(near.pk,))
    with pytest.raises(NotFound):
        create_vm(institute.actor("alice"), wish)
    vm, job = create_vm(institute.actor("alice"), VmRequest("web-1", center.pk, template.pk))
    assert run_to_end(job.pk).status == "finished", job.error
    assert not vm.nics.exists()
    vm, _job = create_vm(institute.actor("alice"), VmRequest("web-2", center.pk, institute.template.pk))
    assert vm.nics.get().vnic_profile == near
