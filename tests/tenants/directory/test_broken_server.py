"""A directory whose answers cannot be read takes nothing from anybody, and whoever asks it is told which it is."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from portal.common.sealed import seal
from tenants.models import Directory, DirectoryGroup, DirectoryKind, User
from tests.tenants.directory.broken_server import broken_server, entry, found
from tests.tenants.directory.conftest import follow, log_in

GUID = str(uuid4())
ENTRY = {"entryUUID": [GUID.encode()], "uid": [b"ada"], "cn": [b"ada"]}
GOOD = found(entry(b"uid=ada,dc=lab", **ENTRY))
BROKEN = {
    "a DN that is no UTF-8": found(entry(b"uid=\xff\xfe,dc=lab", **ENTRY)),
    "a range without a number": found(entry(b"uid=ada,dc=lab", **ENTRY | {"member;range=0-x": [b"cn=a"]})),
    "a range that never ends": found(entry(b"uid=ada,dc=lab", **ENTRY | {"member;range=0-1": [b"cn=a"]})),
}


@pytest.fixture
def server(tmp_path):
    with broken_server(tmp_path) as made:
        yield made


@pytest.fixture
def directory(people, server) -> Directory:
    return Directory.objects.create(
        name="odd", kind=DirectoryKind.OPENLDAP, urls=[server.ldaps_url], ca_pem=server.ca_pem, bind_dn="cn=portal",
        sealed_password=seal("secret"), base_dn="dc=lab", group_base_dn="dc=lab",
    )  # fmt: skip


@pytest.fixture
def ada(directory) -> User:
    """Somebody who is signed in, in a group of the directory, whose entry the server says is his own."""
    user = User.objects.create(username="odd\\ada", display_name="ada", directory=directory, guid=GUID)
    group = Group.objects.create(name="odd\\ada")
    DirectoryGroup.objects.create(directory=directory, guid=GUID, name="ada", group=group)
    user.groups.add(group)
    Client().force_login(user)
    return user


def test_a_sync_that_cannot_read_the_answer_takes_nothing_is_told_and_tried_again(people, directory, server, ada):
    page = Client()
    page.force_login(people.super_admin)
    for broken in BROKEN.values():
        server.answer = broken
        assert follow(directory) is None
        assert Directory.objects.get().sync_error == "decoding_error"
        assert (User.objects.get(pk=ada.pk).is_active, ada.groups.count()) == (True, 1)
        assert "cannot be read" in page.get(f"/directories/{directory.pk}/").content.decode()
    asked = page.get(f"/directories/{directory.pk}/sync/")
    assert (asked.status_code, "odd" in asked.content.decode()) == (503, True)
    server.answer = GOOD
    assert follow(directory).changes == ()
    assert Directory.objects.get().sync_error == ""


def test_what_our_own_reading_stumbles_over_ends_a_sync_the_same_way(directory, server, ada, monkeypatch):
    def endless(*_args):
        return endless()

    monkeypatch.setattr("tenants.directory.following.accounts_of", endless)
    assert follow(directory) is None
    assert Directory.objects.get().sync_error == "recursionerror"
    assert (User.objects.get(pk=ada.pk).is_active, ada.groups.count()) == (True, 1)


def test_a_log_in_and_a_test_of_the_connection_tell_it_too(people, directory, server):
    server.answer = BROKEN["a DN that is no UTF-8"]
    refused = log_in("odd\\ada", "Prima-vera-1642")
    assert (refused.status_code, "odd" in refused.content.decode()) == (503, True)
    page = Client()
    page.force_login(people.super_admin)
    tried = page.post(f"/directories/{directory.pk}/test/")
    assert (tried.status_code, tried.context["steps"][-1].step) == (200, "base")
