"""Half a character and a NUL, which no database keeps: refused by name wherever they stand (IN18)."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.edge.access_bodies import address as where
from tests.edge.access_bodies import body
from tests.edge.access_pages import PAGES as ACCESS
from tests.edge.test_input import create, fields, wish

pytestmark = [pytest.mark.long, pytest.mark.once]


def test_IN18_half_a_character_in_a_body_is_refused_wherever_it_stands(world):  # noqa: N802
    doors = {
        "nobody": (("post", "/api/v1/tokens/"),),
        "owner": (("post", "/api/v1/vms/"), ("patch", "/api/v1/vms/{vm}/"), ("post", "/api/v1/data-centers/{uid}/people/")),
        "root": (("post", "/api/v1/users/"), ("post", "/api/v1/directories/"), ("post", "/api/v1/data-centers/launch/")),
    }  # fmt: skip
    ids = world.ids | {"uid": world.ids["data_center"]}
    texts = [
        r'{"%s": 1}',
        r'{"name": "%s"}',
        r'{"scope": "%s"}',
        r'{"kind": ["%s"]}',
        r'[[{"a": {"%s": 1}}]]',
        r'"%s"',
    ]
    for rank, of_rank in doors.items():
        for method, path in of_rank:
            for text in texts:
                for half in (r"\ud800", r"a\uDFFFb", r"\ude00\ud83d"):
                    sent = getattr(world.api(rank), method)
                    answer = sent(path.format(**ids), text % half, content_type="application/json")
                    assert answer.status_code == 400, (path, text)
                    assert "half a character" in answer.json()["detail"], (path, text)


def test_IN18_a_whole_character_in_two_halves_is_one(world):  # noqa: N802
    sent = json.dumps(wish(world, description="\U0001f600", run=False))
    assert r"\ud83d\ude00" in sent
    assert create(world, sent).json()["vm"]["description"] == "\U0001f600"
    told = world.api("owner").post("/api/v1/vms/", r'{"\ud83d\ude00": 1}', content_type="application/json")
    assert "\U0001f600" in fields(told)


def test_IN18_no_field_of_a_form_holds_a_nul_which_no_database_keeps(world):  # noqa: N802
    root = world.browser("root")
    pages = [operation for operation in ACCESS if operation.startswith("POST ") and operation != "POST /login/"]
    assert len(pages) > 50
    for operation in pages:
        path, form = where(world, operation.split()[1]), body(world, operation)
        for wrong in ({"owner": "ali\x00ce"}, {"machine": ["", "\x00"]}, {"na\x00me": ""}):
            assert root.post(path, form | wrong).status_code == 400, operation
        as_text = urlencode(form | {"role": "\x00"}, doseq=True)
        answer = root.post(path, as_text, content_type="application/x-www-form-urlencoded")
        assert answer.status_code == 400, operation


def test_IN18_where_a_nul_is_no_fault_of_a_form_the_answer_is_what_it_is_otherwise(world):  # noqa: N802
    form = {"data_center": world.ids["data_center"], "file": SimpleUploadedFile("disk.raw", bytes(1024))}
    assert world.browser("admin").post("/images/upload/", form).status_code == 302
    for wrong in ("username", "password", "next", "session"):
        refused = Client().post("/login/", {"username": "nobody", "password": "x", wrong: "\x00"})
        assert refused.status_code == 401, "and on record"
    forger = Client(enforce_csrf_checks=True)
    assert forger.post("/login/", {"username": "\x00", "password": "x"}).status_code == 403
    answer = create(world, wish(world, description="a\x00b"))
    assert fields(answer) == {"description"}, "the API says which field"
