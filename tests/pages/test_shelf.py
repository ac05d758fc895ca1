"""Images and templates through the pages, without JavaScript."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import lxml.html
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from compute.models import Image, StorageDomain, Template
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants.models import DataCenter
from tests.compute.image_files import backing_file, sound


@pytest.fixture(autouse=True)
def own_spool(settings: Any, tmp_path: Path) -> None:
    settings.IMAGE_SPOOL = tmp_path / "spool"


def upload(demo: Any, data: bytes, name: str = "disk.qcow2") -> Image:
    physics = DataCenter.objects.get(name="physics")
    form = {"data_center": str(physics.pk), "file": SimpleUploadedFile(name, data)}
    answer = demo.browser("physics-admin").post("/images/upload/", form)
    assert answer.headers["Location"] == "/images/"
    image = Image.objects.get(name=name)
    run_to_end(Job.objects.get(target_uid=image.pk).pk)
    return image


def make(demo: Any, image: Image, **more: Any) -> Any:
    form = {
        "name": "Debian 12", "icon": "server", "memory_mib": 512, "memory_min_mib": 256, "vcpus": 1,
        "data_center": str(image.owner_id), "storage_domain": str(StorageDomain.objects.get().pk),
    }  # fmt: skip
    answer = demo.browser("physics-admin").post(f"/templates/new/?image={image.pk}", form | more)
    if answer.status_code == HTTPStatus.FOUND:
        run_to_end(Job.objects.filter(operation="compute.make_template").latest("created_at").pk)
    return answer


def test_a_form_uploads_a_file_and_another_makes_its_template(demo, tmp_path):
    image = upload(demo, sound(tmp_path))
    page = demo.browser("physics-admin").get("/images/").content.decode()
    assert f"/templates/new/?image={image.pk}" in page
    assert make(demo, image).status_code == HTTPStatus.FOUND
    template = Template.objects.get(name="Debian 12")
    alice = demo.browser("alice")
    assert "Debian 12" in alice.get("/templates/").content.decode()
    assert "Debian 12" not in demo.browser("charlie").get("/templates/").content.decode()
    detail = alice.get(f"/templates/{template.pk}/").content.decode()
    assert f"/machines/new/?template={template.pk}" in detail
    assert "/edit/" not in detail
    form = alice.get(f"/machines/new/?template={template.pk}").context["form"]
    assert form["template"].value() == str(template.pk)


def test_a_refused_image_says_why_in_the_readers_language(demo, tmp_path):
    upload(demo, backing_file(tmp_path), "over.qcow2")
    client = demo.browser("physics-admin")
    assert "has a backing file" in client.get("/images/").content.decode()
    assert "στηρίζεται σε άλλη εικόνα" in client.get("/images/", headers={"Accept-Language": "el"}).content.decode()


def test_a_taken_name_is_refused_beside_the_field_and_becomes_the_next_version_when_asked_for(demo, tmp_path):
    image = upload(demo, sound(tmp_path))
    make(demo, image)
    again = make(demo, image)
    assert again.status_code == HTTPStatus.BAD_REQUEST
    assert 'id="name-error"' in again.content.decode()
    assert make(demo, image, next_version="on").status_code == HTTPStatus.FOUND
    second = Template.objects.get(name="Debian 12", version=2)
    first = Template.objects.get(name="Debian 12", version=1)
    client = demo.browser("physics-admin")
    assert "version 2" in client.get("/templates/").content.decode()
    assert "there is a later one" in client.get(f"/templates/{first.pk}/").content.decode()
    offered = [str(uid) for uid, _label in client.get("/machines/new/").context["form"].fields["template"].choices]
    assert str(second.pk) in offered
    assert str(first.pk) not in offered


def test_an_edit_over_somebody_elses_is_refused_and_a_bad_one_stays_in_the_form(demo, tmp_path):
    make(demo, upload(demo, sound(tmp_path)))
    row, client = Template.objects.get(name="Debian 12"), demo.browser("physics-admin")
    form = client.get(f"/templates/{row.pk}/edit/").context["form"]
    seen = {field.name: field.value() for field in form if field.value() not in {None, False}}
    bad = client.post(f"/templates/{row.pk}/edit/", seen | {"vcpus": 0, "description": "kept"})
    assert bad.status_code == HTTPStatus.BAD_REQUEST
    assert "kept" in bad.content.decode()
    Template.objects.filter(pk=row.pk).update(description="theirs")
    assert client.post(f"/templates/{row.pk}/edit/", seen).status_code == HTTPStatus.PRECONDITION_FAILED


def test_what_is_no_qcow2_though_its_name_says_so_is_marked_and_its_checksum_is_shown(demo):
    image = upload(demo, bytes(4096), "noise.qcow2")
    client, doubt = demo.browser("physics-admin"), "The name says qcow2, but the content is not"
    page = client.get("/images/").content.decode()
    assert doubt in page
    assert hashlib.sha256(bytes(4096)).hexdigest() in page
    assert doubt in client.get(f"/templates/new/?image={image.pk}").content.decode()
    assert client.get(f"/api/v1/images/{image.pk}/").json()["warning"].startswith(doubt)


def test_an_upload_that_nobody_sends_says_so_and_is_found_again_by_its_name(demo):
    client, physics = demo.browser("physics-admin"), DataCenter.objects.get(name="physics")
    wish = {"name": "big.raw", "format": "raw", "size_bytes": 0, "data_center": str(physics.pk)}
    refused = client.post("/api/v1/images/", wish, content_type="application/json").json()
    assert [reason["text"] for reason in refused["reasons"]] == [
        "The file is empty. Choose one with the bytes of a disk."
    ]
    made = client.post("/api/v1/images/", wish | {"size_bytes": 9}, content_type="application/json").json()
    assert "waiting for its file" not in client.get("/images/").content.decode()
    Image.objects.update(changed_at=timezone.now() - timedelta(minutes=3))
    page = client.get("/images/").content.decode()
    assert "waiting for its file" in page
    assert "data-moving" not in page
    found = {query: client.get(f"/api/v1/images/?{query}").json()["results"] for query in ("name=big.raw", "name=big")}
    assert [row["id"] for row in found["name=big.raw"]] == [made["id"]]
    assert found["name=big"] == []
    assert client.get("/api/v1/images/?status=ready").json()["results"] == []


def test_least_memory_is_named_where_memory_is_below_it(demo, tmp_path):
    page = make(demo, upload(demo, sound(tmp_path)), memory_mib=192).content.decode()
    assert "Memory is at least the least memory, which is 256 MiB" in page


def test_an_image_is_removed_once_that_was_confirmed(demo, tmp_path):
    image, client = upload(demo, sound(tmp_path)), demo.browser("physics-admin")
    path = f"/images/{image.pk}/delete/"
    page = client.get("/images/").content.decode()
    assert f'href="{path}"' in page
    assert f'action="{path}"' not in page
    assert "Remove the image disk.qcow2?" in client.get(path).content.decode()
    assert demo.browser("alice").get(path).status_code == HTTPStatus.NOT_FOUND
    assert Image.objects.exists()
    client.post(path)
    assert not Image.objects.exists()


def test_a_refusal_says_its_reason_once_and_leads_back_to_where_one_came_from(demo, settings):
    settings.IMAGE_MOST_BYTES = 100
    client = demo.browser("physics-admin")
    form = {"data_center": str(DataCenter.objects.get(name="physics").pk)}
    for came, leads in (("http://testserver/images/?after=a", True), ("https://elsewhere.example/images/", False)):
        file = {"file": SimpleUploadedFile("x.raw", b"x" * 512)}
        answer = client.post("/images/upload/", form | file, headers={"Referer": came})
        assert answer.status_code == HTTPStatus.BAD_REQUEST, answer.content
        page = answer.content.decode().partition("<main")[2]
        assert page.count("has between 1 byte and") == 1
        assert ('href="/images/?after=a"' in page) is leads


def test_an_empty_form_and_another_departments_place_are_refused(demo):
    client = demo.browser("physics-admin")
    assert client.post("/images/upload/", {}).status_code == HTTPStatus.BAD_REQUEST
    theirs = {"data_center": str(DataCenter.objects.get(name="informatics").pk)}
    file = {"file": SimpleUploadedFile("x.raw", b"x" * 512)}
    assert client.post("/images/upload/", theirs | file).status_code == HTTPStatus.NOT_FOUND
    assert not Image.objects.exists()


def test_whoever_has_nothing_to_make_a_machine_from_is_led_to_what_he_can_do_himself(demo):
    def led(name: str) -> tuple[str, list[str]]:
        page = lxml.html.document_fromstring(demo.browser(name).get("/machines/new/").content)
        [empty] = page.xpath("//*[@class='empty-state']")
        return empty.text_content(), empty.xpath(".//a[contains(@class, 'btn')]/@href")

    Template.objects.update(status="illegal")
    assert led("physics-admin")[1] == ["/images/", "/"]
    assert led("alice")[1] == ["/"], "she asks others"
    DataCenter.objects.update(enabled=False)
    text, links = led("admin")
    assert links == ["/data-centers/launch/", "/"]
    assert "no data center to make machines in" in text
    assert "super-admin" not in text, "he is one"
