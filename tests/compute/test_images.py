"""Images: uploaded in parts, each byte once, inspected before anything is made of them."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from compute import spool
from compute.models import Image
from compute.services import images
from compute.services.images import ImageRequest
from portal.common.errors import Busy, Conflict, Invalid, NotFound, NotPermitted
from portal.events.models import Event
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tests.compute.image_files import sound

pytestmark = pytest.mark.django_db(transaction=True)

CHUNK = 64 * 1024


@pytest.fixture(autouse=True)
def own_spool(settings: Any, tmp_path: Path) -> Path:
    settings.IMAGE_SPOOL = tmp_path / "spool"
    return tmp_path / "spool"


def begin(institute: Any, data: bytes, who: str = "physics-admin", **more: Any) -> Image:
    uid = None if who == "root" else institute.centers["physics"].pk
    wish = {"name": "disk.qcow2", "format": "qcow2", "size_bytes": len(data), "data_center_uid": uid} | more
    return images.create_image(institute.actor(who), ImageRequest(**wish))


def send(institute: Any, image: Image, data: bytes, who: str = "physics-admin") -> Image:
    for offset in range(0, len(data), CHUNK):
        image = images.receive(institute.actor(who), image.pk, data[offset : offset + CHUNK], offset=offset)
    return image


def inspected(image: Image) -> Image:
    job = Job.objects.get(target_uid=image.pk)
    run_to_end(job.pk)
    image.refresh_from_db()
    return image


def uploaded(institute: Any, data: bytes, **more: Any) -> Image:
    return inspected(send(institute, begin(institute, data, **more), data))


@pytest.mark.turns
@pytest.mark.long
@pytest.mark.parametrize("kind", ["qcow2", "raw"])
def test_an_image_sent_in_parts_arrives_whole_and_is_ready_once_inspected(institute, tmp_path, kind):
    data = sound(tmp_path, kind=kind)
    digest = hashlib.sha256(data).hexdigest()
    image = uploaded(institute, data, format=kind, sha256=digest)
    assert (image.status, image.reason, image.sha256, image.virtual_bytes) == ("ready", "", digest, 8 * 1024**2)
    assert spool.uploaded(image.pk).read_bytes() == data
    assert spool.folder().stat().st_mode & 0o777 == 0o700
    assert spool.uploaded(image.pk).stat().st_mode & 0o777 == 0o600
    codes = set(Event.objects.filter(object_uid=image.pk).values_list("code", flat=True))
    assert codes == {"IMAGE_CREATE_DONE", "IMAGE_UPLOAD_REQUESTED", "IMAGE_UPLOAD_DONE"}


def test_bytes_out_of_turn_are_refused_with_the_offset_that_is_wanted_and_none_is_written_twice(institute):
    data = os.urandom(3000)
    image, actor = begin(institute, data), institute.actor("physics-admin")
    images.receive(actor, image.pk, data[:1000], offset=0)
    for offset, part in ((0, bytes(1000)), (500, data[500:1500]), (2000, data[2000:]), (999, data[999:1000])):
        with pytest.raises(Conflict) as refused:
            images.receive(actor, image.pk, part, offset=offset)
        assert refused.value.data == {"offset": 1000}
    with pytest.raises(Invalid):
        images.receive(actor, image.pk, data[1000:] + b"x", offset=1000)
    with pytest.raises(Invalid):
        images.receive(actor, image.pk, b"", offset=1000)
    images.receive(actor, image.pk, data[1000:], offset=1000)
    with pytest.raises(Conflict) as refused:
        images.receive(actor, image.pk, data[1000:], offset=1000)
    assert spool.uploaded(image.pk).read_bytes() == data
    assert Job.objects.filter(target_uid=image.pk).count() == 1


def test_two_tabs_that_send_the_same_file_end_with_it_once(institute):
    data = os.urandom(5000)
    image, actor = begin(institute, data), institute.actor("physics-admin")
    at = {"first": 0, "second": 0}
    while Image.objects.get(pk=image.pk).received_bytes < len(data):
        for tab, place in list(at.items()):
            part = data[place : place + 700]
            try:
                at[tab] = images.receive(actor, image.pk, part, offset=place).received_bytes
            except Conflict as refused:
                at[tab] = refused.data["offset"]
    assert spool.uploaded(image.pk).read_bytes() == data


@pytest.mark.turns
@pytest.mark.long
@examples(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(-5, 2100), st.integers(0, 900)), max_size=25))
def test_whatever_offsets_come_the_bytes_that_are_taken_are_those_of_the_file(institute, wishes):
    data = bytes(range(256)) * 8
    image, actor = begin(institute, data), institute.actor("physics-admin")
    for offset, length in wishes:
        before = Image.objects.get(pk=image.pk).received_bytes
        try:
            images.receive(actor, image.pk, data[max(0, offset) : max(0, offset) + length], offset=offset)
        except (Conflict, Invalid):
            assert Image.objects.get(pk=image.pk).received_bytes == before
    got = Image.objects.get(pk=image.pk).received_bytes
    if got:
        assert spool.uploaded(image.pk).read_bytes() == data[:got]


@pytest.mark.parametrize("left", [0, 400])
def test_an_upload_whose_file_vanished_is_refused_with_a_remedy_and_gets_no_hole(institute, left):
    data = os.urandom(2000)
    image, actor = begin(institute, data), institute.actor("physics-admin")
    images.receive(actor, image.pk, data[:500], offset=0)
    path = spool.uploaded(image.pk)
    path.write_bytes(data[:left]) if left else path.unlink()
    with pytest.raises(Conflict, match="upload the file anew") as refused:
        images.receive(actor, image.pk, data[500:], offset=500)
    assert ([reason.code for reason in refused.value.reasons], refused.value.data) == (["upload_lost"], {})
    assert (path.read_bytes() if left else path.exists()) == (data[:left] if left else False)
    images.delete_image(actor, image.pk)
    assert not path.exists()


def test_what_a_broken_write_left_is_written_over(institute):
    data = os.urandom(2000)
    image, actor = begin(institute, data), institute.actor("physics-admin")
    images.receive(actor, image.pk, data[:500], offset=0)
    with spool.writer(image.pk) as file:
        file.write(bytes(4000), offset=500)  # a worker that died before its row was written
    images.receive(actor, image.pk, data[500:], offset=500)
    assert spool.uploaded(image.pk).read_bytes() == data


def test_a_full_spool_refuses_before_the_first_byte_with_figures_and_counts_what_others_began(institute, monkeypatch):
    monkeypatch.setattr(spool, "free_bytes", lambda: 10_000)
    first = begin(institute, bytes(6000))
    with pytest.raises(Conflict) as refused:
        begin(institute, bytes(5000))
    assert refused.value.reasons[0].data == {"free_bytes": 4000, "size_bytes": 5000}
    images.delete_image(institute.actor("physics-admin"), first.pk)
    begin(institute, bytes(5000))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"name": "../x"}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": ".."}, "name"),
        ({"name": "<b>"}, "name"),
        ({"format": "vmdk"}, "format"),
        ({"size_bytes": 0}, "size_bytes"),
        ({"size_bytes": 2**60}, "size_bytes"),
        ({"sha256": "x" * 64}, "sha256"),
    ],
)
def test_bad_wishes_name_the_field(institute, more, field):
    with pytest.raises(Invalid) as refused:
        begin(institute, b"x", **more)
    assert [reason.field for reason in refused.value.reasons] == [field]
    assert not Image.objects.exists()


def test_another_department_sees_none_and_end_users_upload_none(institute):
    image = begin(institute, bytes(10))
    theirs, alice = institute.actor("informatics-admin"), institute.actor("alice")
    assert not images.images(theirs).exists()
    for act in (
        lambda actor: images.get_image(actor, image.pk),
        lambda actor: images.receive(actor, image.pk, b"x", offset=0),
        lambda actor: images.delete_image(actor, image.pk),
    ):
        for actor in (theirs, alice):
            with pytest.raises(NotFound):
                act(actor)
    with pytest.raises(NotFound):
        begin(institute, b"x", who="informatics-admin")
    with pytest.raises(NotPermitted):
        begin(institute, b"x", who="alice")
    with pytest.raises(NotPermitted):
        begin(institute, b"x", data_center_uid=None)
    own = begin(institute, b"x", who="root")
    assert set(images.images(institute.actor("root"))) == {image, own}
    assert list(images.images(institute.actor("physics-admin"))) == [image]


def test_AZ12_nobody_elses_bytes_come_into_an_upload_that_somebody_answers_for(institute, tmp_path):  # noqa: N802
    image = begin(institute, data := sound(tmp_path))
    with pytest.raises(NotPermitted, match="physics-admin began this upload"):
        images.receive(institute.actor("root"), image.pk, b"evil", offset=0)
    assert Event.objects.filter(code="IMAGE_UPLOAD_REFUSED", actor_name="root", object_uid=image.pk).count() == 1
    assert Image.objects.get(pk=image.pk).received_bytes == 0
    Image.objects.filter(pk=image.pk).update(uploader=None)  # his account is gone
    assert send(institute, image, data, who="root").received_bytes == len(data)


def test_a_cancelled_upload_leaves_no_bytes_and_one_at_work_is_not_removed(institute, tmp_path):
    data, actor = sound(tmp_path), institute.actor("physics-admin")
    image = begin(institute, data)
    images.receive(actor, image.pk, data[:1000], offset=0)
    images.delete_image(actor, image.pk)
    assert list(spool.folder().iterdir()) == []
    busy = send(institute, begin(institute, data), data)
    with pytest.raises(Busy):
        images.delete_image(actor, busy.pk)
    inspected(busy)
    images.delete_image(actor, busy.pk)
    assert list(spool.folder().iterdir()) == []


def test_the_sweep_takes_what_nobody_goes_on_with_and_bytes_without_a_row(institute, tmp_path):
    old, young = begin(institute, bytes(2000)), begin(institute, bytes(2000))
    ready = uploaded(institute, sound(tmp_path))
    for image in (old, young):
        images.receive(institute.actor("physics-admin"), image.pk, bytes(1000), offset=0)
    stray = uuid4()
    with spool.writer(stray) as file:
        file.write(b"x", offset=0)
    assert images.sweep() == 0
    os.utime(spool.uploaded(stray), (0, 0))
    Image.objects.filter(pk__in=[old.pk, ready.pk]).update(changed_at=timezone.now() - timedelta(hours=25))
    assert images.sweep() == 2
    assert set(Image.objects.all()) == {young, ready}
    assert {path.name for path in spool.folder().iterdir()} == {f"{young.pk}.upload", f"{ready.pk}.upload"}


def test_another_checksum_than_was_said_is_refused_and_the_bytes_go(institute, tmp_path):
    image = uploaded(institute, sound(tmp_path), sha256="0" * 64)
    assert (image.status, image.reason) == ("refused", "checksum")
    assert list(spool.folder().iterdir()) == []


# --- over the API


@pytest.fixture
def api(institute):
    client = Client()
    client.force_login(institute.users["physics-admin"])
    return client


def put(api: Client, uid: str, data: bytes, offset: object) -> Any:
    address = f"/api/v1/images/{uid}/content/?offset={offset}"
    return api.put(address, data, content_type="application/octet-stream")


def test_the_api_takes_it_from_beginning_to_end(institute, api, tmp_path):
    data = sound(tmp_path)
    wish = {
        "name": "disk", "format": "qcow2", "size_bytes": len(data),
        "data_center": str(institute.centers["physics"].pk), "sha256": hashlib.sha256(data).hexdigest().upper(),
    }  # fmt: skip
    made = api.post("/api/v1/images/", wish, content_type="application/json", headers={"Idempotency-Key": "one"})
    assert made.status_code == 201
    again = api.post("/api/v1/images/", wish, content_type="application/json", headers={"Idempotency-Key": "one"})
    uid = made.json()["id"]
    assert again.json()["id"] == uid
    assert put(api, uid, data[:100_000], 0).json()["received_bytes"] == 100_000
    wrong = put(api, uid, data[:100_000], 0)
    assert (wrong.status_code, wrong.json()["offset"]) == (409, 100_000)
    assert wrong.headers["Content-Type"] == "application/problem+json"
    assert api.get(f"/api/v1/images/{uid}/").json()["received_bytes"] == 100_000
    done = put(api, uid, data[100_000:], 100_000).json()
    assert done["status"] == "inspecting"
    run_to_end(Job.objects.get(target_uid=uid).pk)
    assert api.get("/api/v1/images/").json()["results"][0]["status"] == "ready"
    assert api.delete(f"/api/v1/images/{uid}/").status_code == 204
    assert api.get(f"/api/v1/images/{uid}/").status_code == 404


@pytest.mark.parametrize("offset", ["", "-1", "x", "1e3", "0x1", "%2b1", "9" * 16, "1&offset=2", "0&more=1", "٣"])
def test_an_offset_that_is_none_is_400_and_named(institute, api, offset):
    image = begin(institute, bytes(10))
    answer = put(api, str(image.pk), b"x", offset)
    assert answer.status_code == 400
    assert answer.json()["reasons"][0]["field"] in {"offset", "more"}


def test_only_bytes_are_taken_as_bytes(institute, api):
    image = begin(institute, bytes(10))
    answer = api.put(f"/api/v1/images/{image.pk}/content/?offset=0", "{}", content_type="application/json")
    assert answer.status_code == 415
    assert put(api, str(image.pk), b"", 0).status_code == 400


@pytest.mark.long
def test_two_tabs_at_the_same_moment_write_each_byte_once(institute):
    data = os.urandom(40_000)
    image, actor = begin(institute, data), institute.actor("physics-admin")
    taken: list[int] = []

    def tab() -> None:
        place = 0
        while place < len(data):
            try:
                place = images.receive(actor, image.pk, data[place : place + 1000], offset=place).received_bytes
                taken.append(place)
            except Conflict as refused:
                place = refused.data["offset"]
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(tab) for _ in range(4)]:
            done.result()
    assert sorted(taken) == list(range(1000, len(data) + 1, 1000))
    assert spool.uploaded(image.pk).read_bytes() == data
    assert Job.objects.filter(target_uid=image.pk).count() == 1


def test_bytes_are_written_outside_of_any_transaction_and_one_writer_at_a_time(institute, monkeypatch):
    data = os.urandom(3000)
    image, actor, seen = begin(institute, data), institute.actor("physics-admin"), []
    sync = os.fdatasync

    def noted(handle: int) -> None:
        seen.append(connection.in_atomic_block)
        sync(handle)

    monkeypatch.setattr(os, "fdatasync", noted)
    images.receive(actor, image.pk, data[:1000], offset=0)
    assert seen == [False]
    monkeypatch.setattr(spool, "WAIT_SECONDS", 0.1)
    with spool.writer(image.pk), pytest.raises(Conflict, match="Another part"):
        images.receive(actor, image.pk, data[1000:], offset=1000)
    assert Image.objects.get(pk=image.pk).received_bytes == 1000


def test_IN05_a_part_that_was_held_up_does_not_write_on_an_image_that_was_inspected(institute, tmp_path, monkeypatch):  # noqa: N802
    data, evil = sound(tmp_path), os.urandom(4096)
    image, actor = begin(institute, data), institute.actor("physics-admin")
    wait = spool._wait_for

    def held_up(handle: int) -> None:
        monkeypatch.setattr(spool, "_wait_for", wait)
        inspected(send(institute, image, data))
        wait(handle)

    monkeypatch.setattr(spool, "_wait_for", held_up)
    with pytest.raises(Conflict, match="All bytes"):
        images.receive(actor, image.pk, evil, offset=0)
    assert spool.uploaded(image.pk).read_bytes() == data
    assert Image.objects.get(pk=image.pk).status == "ready"


def test_an_image_that_is_removed_while_a_part_is_written_leaves_no_bytes(institute, monkeypatch):
    data = os.urandom(3000)
    actor = institute.actor("physics-admin")
    for when in ("_wait_for", "written"):
        image = begin(institute, data)
        with monkeypatch.context() as patch:
            act = spool._wait_for if when == "_wait_for" else os.fdatasync

            def removed(handle: int, act: Any = act, image: Image = image) -> None:
                images.delete_image(actor, image.pk)
                act(handle)

            patch.setattr(*((spool, "_wait_for") if when == "_wait_for" else (os, "fdatasync")), removed)
            with pytest.raises(NotFound):
                images.receive(actor, image.pk, data[:1000], offset=0)
        assert list(spool.folder().iterdir()) == []


def test_uploads_begun_at_the_same_moment_are_not_promised_more_than_there_is(institute, monkeypatch):
    monkeypatch.setattr(spool, "free_bytes", lambda: 10_000)

    def one(_number: int) -> bool:
        try:
            begin(institute, b"", size_bytes=4000)
        except Conflict as refused:
            assert refused.reasons[0].code == "no_room"  # noqa: PT017
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(8))) == 2
