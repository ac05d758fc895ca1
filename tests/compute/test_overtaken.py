"""What a machine is made from is removed in the moment it is made: its maker is told that, and nothing else."""

from __future__ import annotations

import pytest
from django.test import Client

from compute.models import Template, TemplateAssignment, Vm
from compute.services import vms
from portal.events.models import Event
from tenants.models import QuotaCharge

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_template_that_goes_in_this_very_moment_is_told_as_that_and_not_as_a_taken_name(institute, monkeypatch):
    write = vms._write

    def gone(actor, wish, *place):
        TemplateAssignment.objects.filter(template=wish.template).delete()
        Template.objects.filter(pk=wish.template.pk)._raw_delete("default")  # as by another request
        return write(actor, wish, *place)

    monkeypatch.setattr(vms, "_write", gone)
    client = Client()
    client.force_login(institute.users["alice"])
    wish = {"name": "web", "data_center": str(institute.centers["physics"].pk), "template": str(institute.template.pk)}
    refused = client.post("/api/v1/vms/", wish, content_type="application/json")
    assert (refused.status_code, refused.json()["reasons"][0]["code"]) == (409, "overtaken")
    assert "removed or changed in this very moment" in refused.json()["detail"]
    assert not Vm.objects.exists()
    assert not QuotaCharge.objects.exists()
    assert Event.objects.filter(code="VM_CREATE_REFUSED").count() == 1
