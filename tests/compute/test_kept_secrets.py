"""Secrets that travel sealed in a form: for whom, for what and for how long they are taken again."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from compute.forms import kept
from compute.forms.kept import Kept, Typed, opened, seal
from compute.forms.providers import form_of
from portal.common.sealed import seal_json
from portal.hypervisors.registry import driver_class

pytestmark = pytest.mark.once

ENGINE = Typed(uuid4(), "ovirt", "https://engine.example", "CA")
HOST = Typed(uuid4(), "libvirt", "qemu+ssh://me@host/system", "")


def sealed(typed: Typed, secrets: dict[str, str], *, found_ca: str = "") -> str:
    return seal(Kept({}, 0.0).with_typed(secrets), typed, found_ca=found_ca)


def test_a_password_is_taken_again_for_its_server_by_its_ca_or_the_one_that_was_shown():
    text = sealed(ENGINE, {"password": "secret"}, found_ca="other\n")
    assert "secret" not in text
    for same in (ENGINE, replace(ENGINE, ca_pem="other"), replace(ENGINE, address="https://engine.example:443/")):
        assert opened(text, same).secrets == {"password": "secret"}
    for changes in (
        {"actor_uid": uuid4()},
        {"kind": "libvirt"},
        {"address": "https://elsewhere.example"},
        {"ca_pem": "a third"},
    ):
        assert not opened(text, replace(ENGINE, **changes)).secrets, changes


def test_a_key_which_nobody_is_told_goes_along_to_another_address():
    text = sealed(HOST, {"ssh_key": "key"})
    assert opened(text, replace(HOST, address="qemu+ssh://me@other/system")).secrets == {"ssh_key": "key"}
    assert not opened(text, replace(HOST, actor_uid=uuid4())).secrets


def test_it_ends_after_half_an_hour_also_when_it_is_sealed_anew(monkeypatch: pytest.MonkeyPatch):
    now = kept.time.time()
    text = sealed(ENGINE, {"password": "secret"})
    monkeypatch.setattr(kept.time, "time", lambda: now + 20 * 60)
    again = seal(opened(text, ENGINE).with_typed({}), ENGINE)
    assert opened(again, ENGINE).secrets
    monkeypatch.setattr(kept.time, "time", lambda: now + 31 * 60)
    assert not opened(text, ENGINE).secrets
    assert not opened(again, ENGINE).secrets


@pytest.mark.parametrize("text", ["", "x", "gAAAA"])
def test_what_nobody_sealed_is_nothing(text: str):
    assert not opened(text, ENGINE).secrets


def test_names_of_another_kind_and_what_was_sealed_for_something_else_are_nothing():
    assert not opened(sealed(ENGINE, {"ssh_key": "x"}), ENGINE).secrets
    assert not opened(seal_json({"for": str(ENGINE.actor_uid), "secrets": {"password": "x"}}), ENGINE).secrets


@pytest.mark.parametrize("kind", ["libvirt", "ovirt"])
def test_the_form_asks_for_the_secrets_that_the_driver_names(kind: str):
    form = form_of(kind)
    assert {*form.secrets, *form.shown_secrets} == set(driver_class(kind).secrets)
    assert driver_class(kind).told_secrets <= set(driver_class(kind).secrets)
