"""Rows for the lab's directories, and names that no test before has used."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from django.test import Client

from portal.common.sealed import seal
from tenants.models import Directory, DirectoryKind
from tenants.sync import follow_directory
from tests.lab import samba_server, slapd_server
from tests.lab.samba_server import SambaServer
from tests.lab.slapd_server import SlapdServer

_numbers = count(1)


def fresh(name: str) -> str:
    """A name for this test alone: the servers keep people for the whole run."""
    return f"{name}{next(_numbers)}"


def openldap_row(server: SlapdServer, name: str = "lab", **more: Any) -> Directory:
    return Directory.objects.create(
        **{
            "name": name,
            "kind": DirectoryKind.OPENLDAP,
            "urls": [server.ldaps_url],
            "ca_pem": server.ca_pem,
            "bind_dn": slapd_server.PORTAL,
            "sealed_password": seal(slapd_server.PORTAL_PASSWORD),
            "base_dn": slapd_server.PEOPLE,
            "group_base_dn": slapd_server.GROUPS,
            "domains": ["lab.example"],
        }
        | more
    )


def ad_row(server: SambaServer, name: str = "LAB", **more: Any) -> Directory:
    return Directory.objects.create(
        **{
            "name": name,
            "kind": DirectoryKind.ACTIVE_DIRECTORY,
            "urls": [server.ldaps_url],
            "ca_pem": server.ca_pem,
            "bind_dn": samba_server.PORTAL,
            "sealed_password": seal(samba_server.PORTAL_PASSWORD),
            "base_dn": samba_server.SUFFIX,
            "domains": ["lab.example"],
        }
        | more
    )


@pytest.fixture
def openldap(db: None, slapd: SlapdServer) -> Directory:
    return openldap_row(slapd)


@pytest.fixture
def ad(db: None, samba: SambaServer) -> Directory:
    return ad_row(samba)


def follow(directory: Directory, **more: bool) -> Any:
    """A sync, however soon after the one before."""
    Directory.objects.update(sync_begun_at=None)
    return follow_directory(directory.pk, **more)


def log_in(username: Any, password: Any, client: Client | None = None) -> Any:
    """The answer of the log-in page."""
    return (client or Client()).post("/login/", {"username": username, "password": password})


def token(username: Any, password: Any, client: Client | None = None) -> Any:
    """The answer of the API's log-in."""
    body = {"username": username, "password": password, "name": "laptop"}
    return (client or Client()).post("/api/v1/tokens/", body, content_type="application/json")


@pytest.fixture
def boss(people) -> Client:
    client = Client()
    client.force_login(people.super_admin)
    return client
