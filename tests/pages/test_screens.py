"""Pictures of screens: made small within bounds, taken only of what is looked at, shown only to who may sit there."""

from __future__ import annotations

import io
import struct
import zlib
from datetime import timedelta
from http import HTTPStatus

import pytest
from django.utils import timezone
from PIL import Image

from compute.models import Screen, Vm
from compute.screens import LARGEST_THUMBNAIL, THUMBNAIL, NoPicture, thumbnail
from compute.sync.screens import AFTER_SILENCE, EVERY, KEPT, WANTED, forget_unwanted, take_wanted
from portal.common.actor import system_actor
from tenants import policy
from tenants.models import Role
from tests.doubles.hypervisor_state import Fault
from tests.pages.conftest import Demo


def ppm(width: int, height: int, pixels: bytes | None = None) -> bytes:
    return b"P6\n%d %d\n255\n" % (width, height) + (pixels if pixels is not None else bytes(3 * width * height))


def png_that_says(width: int, height: int) -> bytes:
    """A few bytes that claim to be a huge image."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def as_kind(kind: str) -> bytes:
    found = io.BytesIO()
    Image.new("RGB", (64, 40), "red").save(found, kind)
    return found.getvalue()


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (1, 1), (3840, 2400)])
def test_screen_becomes_a_small_webp(size):
    small = thumbnail(ppm(*size))
    with Image.open(io.BytesIO(small)) as image:
        assert image.format == "WEBP"
        assert image.width <= THUMBNAIL[0]
        assert image.height <= THUMBNAIL[1]
    assert len(small) <= LARGEST_THUMBNAIL


def test_noise_becomes_small_too():
    noise = zlib.compress(bytes(range(256)) * 9000, 0)[: 3 * 640 * 480]
    assert len(thumbnail(ppm(640, 480, noise.ljust(3 * 640 * 480, b"\x07")))) <= LARGEST_THUMBNAIL


@pytest.mark.parametrize(
    "taken",
    [
        b"",
        b"P6\n",
        b"<svg/>",
        ppm(640, 480, b"short"),
        ppm(0, 0),
        b"P6\n100000 100000\n255\n",
        png_that_says(50_000, 50_000),
        png_that_says(4000, 4000),
        png_that_says(640, 480)[:60],
        as_kind("GIF"),
        as_kind("TIFF"),
        as_kind("JPEG"),
    ],
    ids=["empty", "head", "svg", "cut", "nothing", "bomb", "png-bomb", "too-large", "png-cut", "gif", "tiff", "jpeg"],
)
def test_what_is_no_screen_is_no_picture(taken):
    with pytest.raises(NoPicture):
        thumbnail(taken)


@pytest.fixture
def vm(demo: Demo) -> Vm:
    return demo.make_vm("alice")


def wanted(vm: Vm, **more: object) -> Screen:
    return Screen.objects.update_or_create(vm=vm, defaults={"wanted_at": timezone.now()} | more)[0]


def screen(demo, name: str, vm: Vm, **headers: str):
    return demo.browser(name).get(f"/machines/{vm.pk}/screen/", headers=headers)


def test_first_look_shows_a_drawing_and_has_the_picture_taken(demo, vm):
    first = screen(demo, "alice", vm)
    assert first.headers["Content-Type"] == "image/svg+xml"
    assert take_wanted(vm.provider) == 1
    then = screen(demo, "alice", vm)
    assert then.headers["Content-Type"] == "image/webp"
    assert then.headers["Cache-Control"] == "private, no-cache"
    with Image.open(io.BytesIO(then.content)) as image:
        assert image.size == (64, 40)
    version = {"If-None-Match": then.headers["ETag"]}
    assert screen(demo, "alice", vm, **version).status_code == HTTPStatus.NOT_MODIFIED
    assert screen(demo, "physics-admin", vm, **version).status_code == HTTPStatus.OK, "a version of its own"


def test_who_may_not_sit_at_the_console_does_not_see_its_screen(demo, vm):
    wanted(vm)
    take_wanted(vm.provider)
    for stranger in ("bob", "charlie", "informatics-admin"):
        assert screen(demo, stranger, vm).status_code == HTTPStatus.NOT_FOUND
    Role.objects.create(codename="looker", name="Looker", permits=["VM_VIEW"])
    policy.grant(system_actor(), "looker", demo.user("bob"), vm)
    assert demo.browser("bob").get(f"/machines/{vm.pk}/").status_code == HTTPStatus.OK
    assert screen(demo, "bob", vm).status_code == HTTPStatus.FORBIDDEN
    assert f"/machines/{vm.pk}/screen/" not in demo.browser("bob").get(f"/machines/{vm.pk}/").content.decode()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"wanted_at": -2 * WANTED}, "up"),
        ({"next_at": timedelta(minutes=1)}, "up"),
        ({}, "down"),
        ({}, "unknown"),
    ],
    ids=["nobody-looks", "taken-just-now", "down", "unknown"],
)
def test_nothing_is_taken_that_is_not_wanted_due_and_running(demo, vm, fields, status):
    wanted(vm, **{name: timezone.now() + since for name, since in fields.items()})
    Vm.objects.update(status=status)
    before = len(demo.double.calls("screenshot"))
    assert take_wanted(vm.provider) == 0
    assert len(demo.double.calls("screenshot")) == before


@pytest.mark.parametrize("planted", [b"nonsense", b"P6\n100000 100000\n255\n"])
def test_bytes_that_are_no_picture_leave_none(demo, vm, planted):
    wanted(vm, image=b"old", taken_at=timezone.now())
    demo.double.configure(screenshot=planted.hex())
    assert take_wanted(vm.provider) == 0
    assert screen(demo, "alice", vm).headers["Content-Type"] == "image/svg+xml"


def test_refusal_of_one_does_not_keep_the_others_from_theirs(demo, vm):
    other = demo.make_vm("alice", name="other")
    wanted(vm)
    wanted(other)
    demo.double.fail("screenshot", Fault.REFUSED)
    assert take_wanted(vm.provider) == 1


def test_each_picture_is_taken_once_in_a_while(demo, vm):
    wanted(vm)
    assert [take_wanted(vm.provider) for _time in range(2)] == [1, 0]
    Screen.objects.update(next_at=timezone.now())
    assert take_wanted(vm.provider) == 1
    assert Screen.objects.get().next_at > timezone.now() + EVERY / 2


def test_machine_that_does_not_answer_is_left_alone_for_long(demo, vm):
    wanted(vm)
    demo.double.fail("screenshot", Fault.GONE)
    assert take_wanted(vm.provider) == 0
    assert Screen.objects.get().next_at > timezone.now() + AFTER_SILENCE / 2


def test_machine_that_went_off_shows_no_old_screen(demo, vm):
    wanted(vm)
    take_wanted(vm.provider)
    Vm.objects.update(status="down")
    assert screen(demo, "alice", vm).headers["Content-Type"] == "image/svg+xml"


def test_picture_goes_when_nobody_looks_any_more_and_with_its_machine(demo, vm):
    wanted(vm)
    assert forget_unwanted(vm.provider) == 0
    Screen.objects.update(wanted_at=timezone.now() - KEPT - timedelta(seconds=1))
    assert forget_unwanted(vm.provider) == 1
    wanted(vm)
    vm.delete()
    assert not Screen.objects.exists()
