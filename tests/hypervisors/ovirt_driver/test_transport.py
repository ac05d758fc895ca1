"""What is below the SDK's services: no connection is waited for without end, and no answer brings a document type."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from portal.hypervisors.errors import Unavailable
from portal.hypervisors.ovirt import transport
from portal.hypervisors.ovirt.connection import _refuse_what_no_engine_says
from portal.hypervisors.ovirt.driver import OvirtDriver
from portal.hypervisors.ovirt.failures import Garbled, calling
from portal.hypervisors.ovirt.transport import Answer, Broken, Transport
from portal.hypervisors.specs import Connection
from tests.doubles.ovirt_engine import certificates

pytestmark = pytest.mark.once

XML = ["Content-Type: application/xml;charset=UTF-8"]
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of something that takes connections and says nothing, no greeting of TLS either."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_who_takes_a_connection_and_says_nothing_is_left_soon_and_was_sent_nothing(
    silent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 1)
    certificates.ensure(tmp_path)
    ca_pem, url = (tmp_path / "ca.pem").read_text(), f"https://127.0.0.1:{silent}/ovirt-engine/api"
    began = time.monotonic()
    with pytest.raises(Broken) as broken:
        Transport(ca_pem).ask("POST", f"{url}/vms", headers=[], seconds=30)
    assert time.monotonic() - began < 5
    assert (broken.value.was_sent, broken.value.is_tls) == (False, False)
    with pytest.raises(Unavailable) as told, calling("make machine", mutates=True):
        raise broken.value
    assert not told.value.outcome_unknown, "it may be tried again"


def test_a_log_in_there_ends_as_soon(silent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 1)
    certificates.ensure(tmp_path)
    given = {"username": "portal@internal", "secrets": {"password": "x"}, "ca_pem": (tmp_path / "ca.pem").read_text()}
    address = f"https://127.0.0.1:{silent}/ovirt-engine/api"
    driver = OvirtDriver(Connection("ovirt", address, uuid4(), uuid4(), **given))
    began = time.monotonic()
    with pytest.raises(Unavailable):
        driver.about()
    driver.close()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "declared",
    [
        "<!DOCTYPE api>",
        '<!DOCTYPE api SYSTEM "file:///etc/hostname">',
        '<!DOCTYPE api [<!ENTITY name SYSTEM "file:///etc/hostname">]>',
        f'<!DOCTYPE api [<!ENTITY l0 "ha">{LAUGHS}]>',
    ],
)
def test_an_answer_with_a_document_type_is_none(declared: str) -> None:
    _refuse_what_no_engine_says("GET", Answer(200, b"<api/>", XML))
    for method in ("GET", "POST"):
        with pytest.raises(Garbled, match="document type") as refused:
            _refuse_what_no_engine_says(method, Answer(200, f"{declared}<api><name>x</name></api>".encode(), XML))
        assert refused.value.mutates == (method == "POST")
