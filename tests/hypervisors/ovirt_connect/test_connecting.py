"""An engine connected over HTTPS: tried, stored, changed; each way in which that fails told by a sentence of its own."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

import pytest
from django.test import Client

from compute.diagnosis import told
from compute.models import Template
from compute.operations.readiness import _found
from compute.services import providers
from compute.services.providers import NotReached, ProviderEdit
from portal.common.actor import Actor
from portal.common.errors import Conflict
from portal.events.models import Event
from portal.hypervisors.connect import connection_of, driver_for
from portal.hypervisors.models import Provider
from tenants import policy
from tenants.roles import sync_roles
from tenants.services.users import create_user
from tests.compute.console.certificates import Authority
from tests.doubles.ovirt_engine.control import EngineDouble
from tests.hypervisors.ovirt_connect.shown import ADDRESS, showing
from tests.lab.servers import wait_until

pytestmark = pytest.mark.long

STEPS = ["name", "port", "tls", "authentication", "version", "rights"]
SECRET = "a password of one's own, quite unlike others"


def given(engine: EngineDouble, **changes: Any) -> dict[str, Any]:
    password = changes.pop("password", engine.password)
    good = {"address": engine.url, "username": engine.username, "ca_pem": engine.ca_pem}
    return {"kind": "ovirt", "secrets": {"password": password}} | good | changes


def failing(actor: Actor, wanted: dict[str, Any]) -> tuple[str, str]:
    """The step that fails and the code of what it says; it is stored nowhere, and the attempt is in the log of events."""
    with pytest.raises(NotReached) as refused:
        providers.connect_provider(actor, name="engine", **wanted)
    last = refused.value.steps[-1]
    assert last.text
    assert last.remedy
    assert not Provider.objects.exists()
    assert Event.objects.filter(code="PROVIDER_CONNECT_REFUSED", object_name="engine").exists()
    return last.step, last.code


def test_an_engine_is_tried_step_by_step_connected_and_read(engine, root):
    short = engine.url.removesuffix("/ovirt-engine/api")
    steps = providers.try_new(root, **given(engine, address=short)).steps
    assert [(step.step, step.status) for step in steps] == [(name, "ok") for name in STEPS]
    assert "API 4.5" in steps[-2].text
    assert engine.username in steps[-1].text
    assert not Provider.objects.exists(), "a test stores nothing"
    row = providers.connect_provider(root, name="engine", **given(engine, address=short))
    assert (row.address, row.username) == (engine.url, "portal@internal")
    assert connection_of(row).secrets == {"password": engine.password}
    assert engine.password not in str(vars(row))
    assert row.hosts.count() == 3
    assert Template.objects.filter(provider=row, name="Tiny Linux").exists()
    with pytest.raises(Conflict):
        providers.connect_provider(root, name="again", **given(engine, address=f"{engine.url}/"))


def test_an_engine_whose_ca_is_not_pinned_is_asked_nothing_and_its_ca_shown(engine, root):
    engine.calls(clear=True)
    step = providers.try_new(root, **given(engine, ca_pem="")).steps[-1]
    assert (step.step, step.code) == ("tls", "ca_unpinned")
    assert step.data["ca_pem"] == engine.ca_pem.strip()
    assert failing(root, given(engine, ca_pem=Authority.make("another CA").pem)) == ("tls", "ca_other")
    assert engine.calls() == [], "no log-in before its certificate is known to be good"


@pytest.mark.parametrize(
    ("username", "permits"),
    [("viewer@internal", "create_vm, delete_vm"), ("portal@internal", "")],
)
def test_permits_that_are_missing_are_named(engine, root, username, permits):
    trial = providers.try_new(root, **given(engine, username=username, password=engine.password_of(username)))
    step = trial.steps[-1]
    assert step.step == "rights"
    assert (step.code, step.status) == (("permits_missing", "failed") if permits else ("", "ok"))
    assert permits in step.text


def test_an_account_that_may_not_look_is_told(engine, root):
    engine.revoke("viewer")
    engine.grant("viewer", "UserRole")
    wanted = given(engine, username="viewer@internal", password=engine.password_of("viewer@internal"))
    assert failing(root, wanted) == ("rights", "rights_missing")


def test_a_wrong_password_an_unknown_profile_and_one_that_hangs_are_told_apart(engine, root):
    assert failing(root, given(engine, password="wrong")) == ("authentication", "denied")
    assert failing(root, given(engine, username="portal@nowhere")) == ("authentication", "denied")


def test_an_engine_that_is_too_old_is_told_with_both_versions(engine, root):
    engine.configure(version="4.2.8")
    with pytest.raises(NotReached) as refused:
        providers.connect_provider(root, name="engine", **given(engine))
    step = refused.value.steps[-1]
    assert (step.step, step.code) == ("version", "version_too_old")
    assert "4.2" in step.text
    assert "4.3" in step.text


def test_another_ca_stops_it_until_it_is_pinned_by_somebody(engine, root):
    row = providers.connect_provider(root, name="engine", **given(engine))
    before = engine.ca_pem
    engine.renew_certificate()
    engine.stop()
    engine.start()
    step = providers.try_connected(root, row.pk)[-1]
    assert (step.step, step.code) == ("tls", "ca_other")
    assert step.data["ca_pem"] == engine.ca_pem.strip() != before.strip()
    assert step.data["pinned"] in step.text
    assert step.data["fingerprint"] in step.text
    with pytest.raises(Exception, match=r"does not answer|certificate"):
        driver_for(row).about()
    with pytest.raises(NotReached):
        providers.edit_provider(root, row.pk, ProviderEdit(secrets={"password": engine.password}))
    edit = ProviderEdit(ca_pem=step.data["ca_pem"], secrets={"password": engine.password})
    row = providers.edit_provider(root, row.pk, edit)
    assert driver_for(row).about().product.startswith("oVirt")


def test_a_password_is_replaced_under_calls_that_go_on_and_is_in_no_row_log_or_event(engine, root, caplog):
    caplog.set_level(logging.DEBUG)
    row = providers.connect_provider(root, name="engine", **given(engine))
    old = driver_for(row)
    assert old.about()
    with pytest.raises(NotReached):
        providers.edit_provider(root, row.pk, ProviderEdit(secrets={"password": SECRET}))
    assert old.about(), "a try that fails changes nothing"
    edit = ProviderEdit(username="admin@internal", secrets={"password": engine.password_of("admin@internal")})
    engine.calls(clear=True)
    engine.fail("GET /hosts", "slow", seconds=1)
    with ThreadPoolExecutor(1) as pool:
        in_flight = pool.submit(old.inventory)
        wait_until(lambda: any("/hosts" in call for call in engine.calls()), "the call to be under way")
        new = driver_for(providers.edit_provider(root, row.pk, edit))
        assert new.about() == old.about()
        assert len(in_flight.result(60).hosts) == 3, "it goes on as it began"
    row = Provider.objects.get()
    assert row.status == "up"
    assert row.username == "admin@internal"
    told = [caplog.text, str(vars(row)), *map(str, Event.objects.values())]
    for secret in (SECRET, engine.password, engine.password_of("admin@internal")):
        assert not any(secret in text for text in told)


def test_readiness_looks_at_an_engine_as_at_any_host(engine, root):
    row = providers.connect_provider(root, name="engine", **given(engine))
    steps = told(_found(Provider.objects.get(pk=row.pk)), "ovirt")
    assert {step.step for step in steps} >= {*STEPS[:5], "name_back", "clock", "versions", "disk"}
    assert {step.status for step in steps if step.step in {*STEPS, "clock", "versions", "disk"}} == {"ok"}


@pytest.fixture
def admin(db: None, root: Actor) -> Client:
    sync_roles()
    user = create_user(root, username="admin", password="correct-horse-battery-staple")
    policy.grant(root, "super-admin", user, policy.system())
    client = Client()
    client.force_login(user)
    return client


def test_the_api_takes_and_answers_all_but_the_password(engine, admin):
    body = given(engine, name="engine")
    tried = admin.post(
        "/api/v1/providers/test/",
        {name: value for name, value in body.items() if name not in {"name", "ca_pem"}},
        content_type="application/json",
    )
    last = tried.json()["steps"][-1]
    assert (last["code"], last["details"]["ca_pem"]) == ("ca_unpinned", engine.ca_pem.strip())
    bad = admin.post(
        "/api/v1/providers/",
        body | {"address": "http://x", "username": "portal", "secrets": {}},
        content_type="application/json",
    )
    assert bad.status_code == HTTPStatus.BAD_REQUEST
    assert {one["field"]: one["code"] for one in bad.json()["reasons"]} == {
        "address": "address_https",
        "username": "username_profile",
        "password": "password_missing",
    }
    made = admin.post("/api/v1/providers/", body, content_type="application/json")
    assert made.status_code == HTTPStatus.CREATED, made.content
    address = f"/api/v1/providers/{made.json()['id']}/"
    other = {"username": "admin@internal", "secrets": {"password": engine.password_of("admin@internal")}}
    changed = admin.patch(address, other, content_type="application/json")
    assert changed.json()["username"] == "admin@internal"
    texts = [answer.content.decode() for answer in (tried, bad, made, changed, admin.get(address))]
    assert not any(engine.password in text or engine.password_of("admin@internal") in text for text in texts)


def test_the_form_pins_the_ca_by_a_tick_and_keeps_the_password_sealed(engine, admin):
    form = {"name": "engine", "kind": "ovirt", "address": engine.url, "username": engine.username}
    page = admin.get("/providers/new/?kind=ovirt").content.decode()
    assert 'name="password"' in page
    assert 'name="ssh_key"' not in page
    bad = admin.post("/providers/new/?kind=ovirt", form | {"action": "save"})
    assert (bad.status_code, 'id="password-error"' in bad.content.decode()) == (HTTPStatus.BAD_REQUEST, True)
    seen = admin.post("/providers/new/?kind=ovirt", form | {"password": engine.password, "action": "test"})
    shown = seen.context["found_ca"]
    text = seen.content.decode()
    assert shown["fingerprint"] in text
    assert ('class="step step-warning" data-step="tls"' in text, ">openssl x509" in text) == (True, True)
    assert ('href="#pin"' in text, 'id="pin"' in text) == (True, True)
    with_other = form | {"password": engine.password, "ca_pem": Authority.make("somebody's CA").pem, "action": "test"}
    instead = admin.post("/providers/new/?kind=ovirt", with_other).content.decode()
    assert ("Use this one instead" in instead, "I know why the CA changed" in instead) == (True, False)
    kept = {"kept": seen.context["form"]["kept"].value(), "found_ca": shown["ca_pem"].replace("\n", "\r\n")}
    made = admin.post("/providers/new/?kind=ovirt", form | kept | {"action": "save"})
    row = Provider.objects.get(name="engine")
    assert made.headers["Location"] == f"/providers/{row.pk}/"
    assert row.ca_pem == engine.ca_pem.strip()
    edit = admin.get(f"/providers/{row.pk}/edit/").content.decode()
    assert 'value="portal@internal"' in edit
    assert engine.password not in page + edit + seen.content.decode() + bad.content.decode()
    same = form | {"ca_pem": row.ca_pem.replace("\n", "\r\n"), "action": "save", "name": "renamed"}
    assert admin.post(f"/providers/{row.pk}/edit/", same).status_code == HTTPStatus.FOUND
    assert Provider.objects.get().name == "renamed"
    assert connection_of(Provider.objects.get()).secrets == {"password": engine.password}


def test_a_stored_password_goes_to_no_other_server_name_or_ca(engine, root, admin, tmp_path):
    row = providers.connect_provider(root, name="engine", **given(engine))
    ca, asked = Authority.make("somebody's CA"), list[str]()
    with showing(tmp_path, *ca.leaf(ADDRESS), ca_pem=ca.pem, asked=asked) as port:
        there = {"address": f"https://{ADDRESS}:{port}", "ca_pem": ca.pem}
        for change in (there, {"ca_pem": ca.pem}, {"address": there["address"]}, {"username": "admin@internal"}):
            form = {"name": "engine", "kind": "ovirt", "address": row.address, "username": row.username}
            for action in ("test", "save"):
                sent = form | {"ca_pem": row.ca_pem, "action": action} | change
                page = admin.post(f"/providers/{row.pk}/edit/", sent)
                assert page.status_code == HTTPStatus.BAD_REQUEST
                assert 'id="password-error"' in page.content.decode()
            refused = admin.patch(f"/api/v1/providers/{row.pk}/", change, content_type="application/json")
            assert refused.status_code == HTTPStatus.BAD_REQUEST
            assert [(one["field"], one["code"]) for one in refused.json()["reasons"]] == [
                ("password", "password_missing")
            ]
        # Whoever types one may send it where he likes.
        typed = admin.post(f"/providers/{row.pk}/edit/", sent | there | {"password": "of-ones-own", "action": "test"})
        assert typed.status_code == HTTPStatus.OK
        kept = typed.context["form"]["kept"].value()
        assert "of-ones-own" in "".join(asked)
    assert engine.password not in "".join(asked)
    # What was kept of it in the form is good for that server alone.
    elsewhere = form | {"ca_pem": row.ca_pem, "username": "admin@internal", "kept": kept, "action": "test"}
    assert admin.post(f"/providers/{row.pk}/edit/", elsewhere).status_code == HTTPStatus.BAD_REQUEST
    assert connection_of(Provider.objects.get()).secrets == {"password": engine.password}
    told = Event.objects.filter(object_uid=row.pk)
    assert told.filter(code="PROVIDER_TEST_REFUSED").count() == 5
    assert told.get(code="PROVIDER_TEST_DONE").data["address"] == f"{there['address']}/ovirt-engine/api"


def test_another_spelling_of_the_same_server_asks_for_no_password(engine, root):
    row = providers.connect_provider(root, name="engine", **given(engine))
    same = ProviderEdit(
        address=f" {engine.url}/", username=f"{row.username} ", ca_pem=engine.ca_pem.replace("\n", "\r\n")
    )
    assert providers.try_connected(root, row.pk, same)[-1].status == "ok"


def test_a_secret_that_a_kind_has_no_use_for_is_refused_beside_its_name(engine, admin):
    for body, name in (
        (given(engine) | {"secrets": {"password": "x", "ssh_key": "x"}}, "ssh_key"),
        ({"kind": "libvirt", "address": "qemu:///system", "secrets": {"password": "x"}}, "password"),
    ):
        answer = admin.post("/api/v1/providers/test/", body, content_type="application/json")
        assert answer.status_code == HTTPStatus.BAD_REQUEST
        assert [(one["field"], one["code"]) for one in answer.json()["reasons"]] == [(name, "secret_unused")]
