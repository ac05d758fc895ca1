"""Data centers through the pages, without JavaScript."""

from __future__ import annotations

from http import HTTPStatus

import lxml.html

from compute.models import ClusterAssignment, Template
from tenants.models import DataCenter


def test_super_admin_makes_one_assigns_a_template_and_takes_it_back(demo):
    client = demo.browser("admin")
    made = client.post("/data-centers/new/", {"name": "chemistry", "description": "new"})
    row = DataCenter.objects.get(name="chemistry")
    assert made.headers["Location"] == f"/data-centers/{row.pk}/"
    page = client.get(f"/data-centers/{row.pk}/").content.decode()
    assert page.count("None assigned.") == 4
    template = Template.objects.get()
    client.post(f"/data-centers/{row.pk}/assign/template/", {"id": str(template.pk)})
    back = f"/data-centers/{row.pk}/unassign/template/?id={template.pk}"
    assert f'href="{back}"' in client.get(f"/data-centers/{row.pk}/").content.decode()
    assert "Take Tiny Linux back from chemistry?" in client.get(back).content.decode()
    client.post(f"/data-centers/{row.pk}/unassign/template/", {"id": str(template.pk)})
    assert "Take Tiny Linux back" not in client.get(f"/data-centers/{row.pk}/").content.decode()


def test_bad_and_taken_names_are_refused_beside_the_field_and_the_values_stay(demo):
    client = demo.browser("admin")
    for name in ("a b", "physics", "PHYSICS", "<script>"):
        answer = client.post("/data-centers/new/", {"name": name, "description": "kept"})
        page = answer.content.decode()
        assert answer.status_code == HTTPStatus.BAD_REQUEST
        assert 'id="name-error"' in page
        assert 'aria-invalid="true"' in page
        assert "kept" in page
        assert "<script>alert" not in page
    assert DataCenter.objects.count() == 2


def test_an_edit_over_somebody_elses_is_refused(demo):
    client = demo.browser("admin")
    row = DataCenter.objects.get(name="physics")
    form = client.get(f"/data-centers/{row.pk}/edit/").context["form"]
    seen = {"name": "physics", "description": "mine", "version": form["version"].value()}
    DataCenter.objects.filter(pk=row.pk).update(description="theirs")
    assert client.post(f"/data-centers/{row.pk}/edit/", seen).status_code == HTTPStatus.PRECONDITION_FAILED
    row.refresh_from_db()
    assert row.description == "theirs"


def test_what_machines_need_is_not_taken_back_and_the_page_names_them(demo):
    vm = demo.make_vm("alice", name="needs-it")
    assignment = ClusterAssignment.objects.get(data_center=vm.data_center)
    path = f"/data-centers/{vm.data_center_id}/unassign/cluster/"
    client = demo.browser("admin")
    asked = client.get(path, {"id": str(assignment.cluster_id)}).content.decode()
    answer = client.post(path, {"id": str(assignment.cluster_id)})
    assert answer.status_code == HTTPStatus.CONFLICT
    for page in (asked, answer.content.decode()):
        assert f'<a href="/machines/{vm.pk}/">needs-it</a>' in page
        assert 'type="submit">' not in page.partition("<main")[2]
    removal = client.get(f"/providers/{vm.provider_id}/remove/").content.decode()
    assert f'<a href="/machines/{vm.pk}/">needs-it</a>' in removal
    assert f'<a href="/data-centers/{vm.data_center_id}/">physics</a>' in removal
    assert ClusterAssignment.objects.filter(pk=assignment.pk).exists()


def test_a_disabled_one_is_gone_for_its_people_and_says_so_to_super_admins(demo):
    vm = demo.make_vm("alice")
    client = demo.browser("admin")
    client.post(f"/data-centers/{vm.data_center_id}/disable/")
    assert "disabled" in client.get(f"/data-centers/{vm.data_center_id}/").content.decode()
    alice = demo.browser("alice")
    assert alice.get(f"/machines/{vm.pk}/").status_code == HTTPStatus.NOT_FOUND
    client.post(f"/data-centers/{vm.data_center_id}/enable/")
    assert alice.get(f"/machines/{vm.pk}/").status_code == HTTPStatus.OK


def test_only_those_who_run_data_centers_are_led_to_them(demo):
    for person, led in {"admin": True, "physics-admin": True, "alice": False}.items():
        page = demo.browser(person).get("/").content.decode()
        assert ('href="/data-centers/"' in page) is led, person
    mine = demo.browser("physics-admin").get("/data-centers/").content.decode()
    assert "physics" in mine
    assert "informatics" not in mine


def test_a_department_admin_changes_the_description_and_is_not_led_to_change_the_name(demo):
    path = f"/data-centers/{DataCenter.objects.get(name='physics').pk}/edit/"
    client = demo.browser("physics-admin")
    field = lxml.html.fromstring(client.get(path).content).get_element_by_id("name")
    assert field.get("disabled") is not None
    assert client.post(path, {"description": "Third floor"}).status_code == 302
    row = DataCenter.objects.get(name="physics")
    assert row.description == "Third floor"
    field = lxml.html.fromstring(demo.browser("admin").get(path).content).get_element_by_id("name")
    assert field.get("disabled") is None


def test_an_edit_that_comes_too_late_leads_back_to_the_form_as_it_is_now(demo):
    path, client = f"/data-centers/{DataCenter.objects.get(name='physics').pk}/edit/", demo.browser("admin")
    late = {"name": "physics", "description": "two", "version": "0" * 32}
    answer = client.post(path, late, headers={"Referer": f"http://testserver{path}"})
    assert answer.status_code == HTTPStatus.PRECONDITION_FAILED
    assert f'class="btn btn-primary" href="{path}"' in answer.content.decode()
