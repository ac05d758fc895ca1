"""Providers through the pages, without JavaScript."""

from __future__ import annotations

from http import HTTPStatus

from portal.events.models import Event
from portal.hypervisors.models import Provider


def test_super_admin_tests_connects_disables_and_removes_one(demo, tmp_path):
    client = demo.browser("admin")
    form = {"name": "second", "kind": "double", "address": f"double://{tmp_path}/second"}
    tried = client.post("/providers/new/", form | {"action": "test"})
    assert tried.content.decode().count('data-status="ok"') == 4
    assert "Nothing is stored yet: press Connect." in tried.content.decode()
    unnamed = client.post("/providers/new/", form | {"action": "test", "name": "όνομα μου"})
    assert (unnamed.status_code, 'id="name-error"' in unnamed.content.decode()) == (HTTPStatus.BAD_REQUEST, True)
    assert not Provider.objects.filter(name="second").exists(), "a test stores nothing"
    made = client.post("/providers/new/", form | {"action": "save"})
    row = Provider.objects.get(name="second")
    assert made.headers["Location"] == f"/providers/{row.pk}/"
    assert (row.status, row.hosts.count()) == ("up", 1)
    page = client.get(f"/providers/{row.pk}/").content.decode()
    assert "No data center uses what this provider has yet." in page
    assert "nobody here looks after" not in page
    assert f'href="/providers/{row.pk}/"' in client.get("/providers/").content.decode()
    client.post(f"/providers/{row.pk}/disable/")
    assert not Provider.objects.get(pk=row.pk).enabled
    client.post(f"/providers/{row.pk}/enable/")
    assert client.post(f"/providers/{row.pk}/remove/").headers["Location"] == "/providers/"
    assert not Provider.objects.filter(pk=row.pk).exists()
    assert Event.objects.filter(code="PROVIDER_REMOVE_DONE", object_uid=row.pk).exists()


def test_one_in_use_is_not_removed_and_the_page_lists_what_depends_on_it(demo):
    vm, client = demo.make_vm("alice", name="needs-it"), demo.browser("admin")
    page = client.get(f"/providers/{vm.provider_id}/remove/").content.decode()
    named = {
        f"/machines/{vm.pk}/": "1 machine: %s>needs-it<",
        f"/templates/{vm.template_id}/": "1 template: %s>Tiny Linux<",
    }
    links = [text % f'<a href="{path}"' for path, text in named.items()]
    for found in (*links, "2 networks:", "Assigned to 2 data centers:"):
        assert found in page
    assert client.post(f"/providers/{vm.provider_id}/remove/").status_code == HTTPStatus.CONFLICT
    assert Provider.objects.filter(pk=vm.provider_id).exists()


def test_bad_input_is_refused_beside_its_field_and_nobody_is_asked(demo):
    client = demo.browser("admin")
    bad = {
        "qemu+tcp://host/system": "address-error",
        "qemu+ssh://host/system": "address-error",
        "qemu+ssh://me@host/system?command=/tmp/x": "address-error",
        "qemu+ssh://me:secret@host/system": "address-error",
        "esx://host/": "address-error",
        "qemu+ssh://me@host/system": "ssh_key-error",
        "qemu+tls://host/system": "ca_pem-error",
    }
    for address, where in bad.items():
        form = {"name": "far", "kind": "libvirt", "address": address, "action": "save"}
        answer = client.post("/providers/new/", form)
        assert answer.status_code == HTTPStatus.BAD_REQUEST, address
        assert f'id="{where}"' in answer.content.decode(), address
    assert Provider.objects.count() == 1


def test_a_full_storage_domain_is_marked(demo):
    provider = Provider.objects.get()
    client = demo.browser("admin")
    for used, mark in ((79, ""), (80, "80 % full"), (90, "90 % full")):
        provider.storage_domains.update(total_bytes=100 << 30, used_bytes=used << 30)
        page = client.get(f"/providers/{provider.pk}/").content.decode()
        assert (mark in page) if mark else ("% full" not in page)


def test_only_super_admins_are_led_to_providers(demo):
    for person, status in {"admin": HTTPStatus.OK, "physics-admin": HTTPStatus.FORBIDDEN}.items():
        client = demo.browser(person)
        assert client.get("/providers/").status_code == status
        assert ('href="/providers/"' in client.get("/").content.decode()) is (status == HTTPStatus.OK)


def test_a_host_over_tls_says_beforehand_that_its_screens_are_not_reached(demo):
    vm = demo.make_vm("alice")
    far = {"kind": "libvirt", "address": "qemu+tls://far.example/system"}
    Provider.objects.filter(pk=vm.provider_id).update(**far)
    remedy = "A super-admin can connect it over SSH (qemu+ssh://), which reaches them."
    assert remedy in demo.browser("admin").get(f"/providers/{vm.provider_id}/").content.decode()
    alice = demo.browser("alice")
    page = alice.get(f"/machines/{vm.pk}/").content.decode()
    assert f'href="/machines/{vm.pk}/console/"' not in page
    assert remedy in page
    asked = alice.post(f"/api/v1/vms/{vm.pk}/consoles/", {"protocol": "vnc"}, content_type="application/json")
    assert (asked.status_code, asked.json()["reasons"][0]["code"]) == (409, "screens_need_ssh")
    Provider.objects.filter(pk=vm.provider_id).update(address="qemu+ssh://u@far.example/system")
    assert f'href="/machines/{vm.pk}/console/"' in alice.get(f"/machines/{vm.pk}/").content.decode()
