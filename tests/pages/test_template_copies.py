"""Templates of machines and of volumes through the pages, without JavaScript."""

from __future__ import annotations

from html import unescape
from http import HTTPStatus
from typing import Any

import lxml.html
import pytest

from compute import resources, sealing
from compute.models import StorageAssignment, StorageDomain, Template, Vm, VolumeOffer
from compute.services import vms
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants.models import DataCenter
from tests.compute.fake_sysprep import stand_in
from tests.compute.image_files import sound

OFFERS, CENTERS = "//td//form//button", "//select[@name='data_center']/option"


@pytest.fixture
def vm(demo) -> Vm:
    made = demo.make_vm("alice", name="golden")
    run_to_end(vms.stop_vm(demo.actor("alice"), made.pk).pk)
    made.refresh_from_db()
    return made


def filled(page: Any, **more: str) -> dict[str, Any]:
    """What the form would post as it is prefilled."""
    form = page.context["form"]
    values = {field.name: field.value() for field in form if field.value() not in {None, False, ""}}
    for name in ("data_center", "storage_domain"):
        values[name] = values.get(name) or form.fields[name].choices[0][0]
    return values | more


def texts(page: Any, path: str) -> list[str]:
    """What these elements say."""
    return [" ".join(one.text_content().split()) for one in lxml.html.fromstring(page.content.decode()).xpath(path)]


def test_an_admin_makes_a_template_of_a_machine_that_is_off_and_says_that_it_is_not_sealed(demo, vm):
    admin = demo.browser("physics-admin")
    address = f"/templates/new/?machine={vm.pk}"
    assert address in admin.get(f"/machines/{vm.pk}/").content.decode()
    assert address not in demo.browser("alice").get(f"/machines/{vm.pk}/").content.decode()
    page = admin.get(address)
    assert "Make a template of golden" in page.content.decode()
    refused = admin.post(address, filled(page))
    assert refused.status_code == HTTPStatus.BAD_REQUEST
    assert 'id="accept_unsealed-error"' in refused.content.decode()
    made = admin.post(address, filled(page, accept_unsealed="on"))
    assert made.status_code == HTTPStatus.FOUND
    busy = admin.get(f"/machines/{vm.pk}/").content.decode()
    assert "Another job is at work on this machine." in busy
    run_to_end(Job.objects.get(operation="compute.template_of_machine").pk)
    row = Template.objects.get(name="golden")
    assert (row.status, row.has_cloud_init) == ("ok", vm.template.has_cloud_init)
    assert "Not sealed" in admin.get(f"/templates/{row.pk}/").content.decode()


def test_where_it_can_be_sealed_that_is_proposed_with_what_it_takes_out_and_elsewhere_the_page_says_why_not(
    demo, vm, settings, tmp_path
):
    admin, address = demo.browser("physics-admin"), f"/templates/new/?machine={vm.pk}"
    page = admin.get(address)
    assert "seal" not in page.context["form"].fields
    assert "Templates of machines are not sealed: it is switched off." in unescape(page.content.decode())
    stand_in(settings, tmp_path / "programs")
    page = admin.get(address)
    assert page.context["form"]["seal"].value() is True
    assert all(f"<li>{part.text}</li>" in page.content.decode() for part in sealing.PARTS)
    made = admin.post(address, filled(page))
    assert made.status_code == HTTPStatus.FOUND, made.content
    assert run_to_end(Job.objects.get(operation="compute.sealed_template_of_machine").pk).status == "finished"
    row = Template.objects.get(name="golden")
    assert "Not sealed" not in admin.get(f"/templates/{row.pk}/").content.decode()


def test_a_machine_that_runs_has_the_button_off_with_its_reason_and_the_form_refuses(demo):
    vm = demo.make_vm("alice", name="golden")
    admin = demo.browser("physics-admin")
    page = admin.get(f"/machines/{vm.pk}/").content.decode()
    assert f"/templates/new/?machine={vm.pk}" not in page
    assert "Shut it down first." in page
    assert admin.get(f"/templates/new/?machine={vm.pk}").status_code == HTTPStatus.CONFLICT
    assert demo.browser("charlie").get(f"/templates/new/?machine={vm.pk}").status_code == HTTPStatus.FORBIDDEN
    other = demo.browser("informatics-admin")
    assert other.get(f"/templates/new/?machine={vm.pk}").status_code == HTTPStatus.NOT_FOUND


def test_a_super_admin_makes_a_template_of_a_volume_from_the_list(demo, tmp_path):
    name = demo.double.plant_volume("old & golden.qcow2", sound(tmp_path)[: 1 << 20], size=8 << 20)
    demo.double.plant_volume("<b>over.qcow2", sound(tmp_path)[: 1 << 20], base="below")
    domain, admin = StorageDomain.objects.get(), demo.browser("admin")
    listed = f"/storage-domains/{domain.pk}/volumes/"
    assert listed in admin.get(f"/providers/{domain.provider_id}/").content.decode()
    page = admin.get(listed).content.decode()
    assert "&lt;b&gt;over.qcow2" in page
    assert "It lies over another volume." in page
    address = f"/templates/new/?storage_domain={domain.pk}&volume=old%20%26%20golden.qcow2"
    assert address.replace("&", "&amp;") in page
    form = admin.get(address)
    assert form.context["form"]["name"].value() == "old _ golden"
    assert f"{domain.name} ({domain.provider.name}): " in form.content.decode(), "hosts may have domains of one name"
    assert admin.post(address, filled(form, accept_unsealed="on")).status_code == HTTPStatus.FOUND
    ended = run_to_end(Job.objects.get(operation="compute.template_of_volume").pk)
    assert ended.status == "finished", ended.error
    assert Template.objects.get(name="old _ golden").owner is None
    for who, code in (("physics-admin", 403), ("alice", 403)):
        assert demo.browser(who).get(listed).status_code == code
        assert demo.browser(who).get(address).status_code == code
    assert name in demo.double.things("disk")
    for bad in ("", "?machine=x", f"?volume=x&storage_domain={domain.pk}", "?volume=x&storage_domain=1"):
        assert admin.get(f"/templates/new/{bad}").status_code == HTTPStatus.NOT_FOUND


def test_a_super_admin_offers_a_volume_and_its_departments_admin_makes_a_template_of_it(demo, tmp_path):
    demo.double.plant_volume("golden.qcow2", sound(tmp_path)[: 1 << 20], size=8 << 20)
    demo.double.set_vm(demo.double.plant_vm("mail"), disks=[demo.double.plant_volume("mail.qcow2", b"")])
    root, admin, other = (demo.browser(who) for who in ("admin", "physics-admin", "informatics-admin"))
    domain, physics = StorageDomain.objects.get(), DataCenter.objects.get(name="physics")
    shelf = unescape(admin.get("/images/").content.decode())
    assert "No volume on your data center's storage domains is offered to it. Ask a super-admin" in shelf
    listed = f"/storage-domains/{domain.pk}/volumes/"
    page = root.get(listed)
    assert texts(page, CENTERS) == ["Choose …", "informatics", "physics"]
    assert texts(page, OFFERS) == [], "it was not said to whom"
    assert "Only what no machine has is offered." in page.content.decode()
    chosen = f"{listed}?data_center={physics.pk}"
    page = root.get(chosen)
    assert texts(page, OFFERS) == ["Offer to physics"]
    wish = posted(page, "//td//form")
    assert wish == {"name": "golden.qcow2", "data_center": str(physics.pk)}
    assert root.post(f"{listed}offer/", wish).headers["Location"] == chosen
    assert texts(root.get(chosen), OFFERS) == [""], "what takes it back"
    offer = VolumeOffer.objects.get()
    address = f"/templates/new/?offer={offer.pk}"
    assert address in admin.get("/images/").content.decode()
    assert "golden" not in other.get("/images/").content.decode()
    assert other.get(address).status_code == HTTPStatus.NOT_FOUND
    form = admin.get(address)
    assert [value for value, _name in form.context["form"].fields["data_center"].choices] == [str(physics.pk)]
    assert '<a href="/images/">Images</a>' in form.content.decode()
    assert admin.post(address, filled(form, accept_unsealed="on")).status_code == HTTPStatus.FOUND
    assert run_to_end(Job.objects.get(operation="compute.template_of_volume").pk).status == "finished"
    assert Template.objects.get(name="golden").owner == physics
    assert root.post(f"/volume-offers/{offer.pk}/withdraw/").headers["Location"] == listed
    assert address not in admin.get("/images/").content.decode()


def posted(page: Any, form: str) -> dict[str, str]:
    """What this form posts."""
    inputs = lxml.html.fromstring(page.content.decode()).xpath(f"{form}//input")
    return {one.get("name"): one.get("value") for one in inputs if one.get("name") != "csrfmiddlewaretoken"}


def test_however_many_data_centers_could_have_them_a_page_of_volumes_names_a_bounded_number_once(demo, monkeypatch):
    monkeypatch.setattr(resources, "MOST_OFFERED", 3)
    domain, root = StorageDomain.objects.get(), demo.browser("admin")
    for number in range(5):
        demo.double.plant_volume(f"golden-{number}.qcow2", b"")
        center = DataCenter.objects.create(name=f"z-{number}")
        StorageAssignment.objects.create(storage_domain=domain, data_center=center)
    listed = f"/storage-domains/{domain.pk}/volumes/"
    page = root.get(listed)
    assert len(texts(page, CENTERS)) == 4
    assert "4 more are not listed here. Volumes are offered to them over the API." in page.content.decode()
    page = root.get(f"{listed}?data_center={center.pk}")
    assert page.context["chosen"] == center, "it need not be among them"
    assert len(texts(page, CENTERS)) == 5
    assert texts(page, OFFERS) == ["Offer to z-4"] * 5
    for strange in ("x", "1", str(domain.pk)):
        assert texts(root.get(f"{listed}?data_center={strange}"), OFFERS) == []
    StorageAssignment.objects.exclude(data_center=center).delete()
    page = root.get(listed)
    assert texts(page, f"{OFFERS} | {CENTERS}") == ["Offer to z-4"] * 5, "there is nothing to choose"
