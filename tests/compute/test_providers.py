"""Providers by service and API: who may, what is refused, what is stored and what never comes back."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http import HTTPStatus

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from compute.models import FoundVm, Host
from compute.services import providers, vms
from compute.services.providers import NotReached, ProviderEdit
from compute.services.wishes import VmRequest
from compute.sync import watcher
from portal.common import sealed
from portal.common.errors import Conflict, Invalid, NotFound, NotPermitted
from portal.hypervisors import diagnosis
from portal.hypervisors.connect import connection_of, driver_for
from portal.hypervisors.errors import Denied, Unavailable
from portal.hypervisors.libvirt.uri import Uri, parsed
from portal.hypervisors.models import Provider
from portal.jobs.engine import advance, run_to_end
from portal.jobs.models import Job
from tests.compute.console.certificates import Authority
from tests.doubles.hypervisor_state import Fault, HypervisorDouble
from tests.hypervisors.libvirt.real import until

pytestmark = pytest.mark.django_db(transaction=True)


def client_of(institute, name: str) -> Client:
    client = Client()
    client.force_login(institute.users[name])
    return client


def test_a_try_that_fails_stores_nothing_and_says_where(institute, tmp_path):
    address = f"double://{tmp_path}/broken"
    HypervisorDouble(tmp_path / "broken").fail("ensure_storage_domain", Fault.REFUSED)
    with pytest.raises(NotReached) as refused:
        providers.connect_provider(institute.actor("root"), name="broken", kind="double", address=address)
    assert [(step.step, step.status) for step in refused.value.steps][-1] == ("rights", "failed")
    assert Provider.objects.count() == 1


@pytest.mark.long
@pytest.mark.parametrize(("in_all", "of_the_step", "code"), [(0.5, 30.0, "out_of_time"), (30.0, 0.5, "silent")])
def test_a_test_ends_in_time_and_says_at_which_step(institute, tmp_path, monkeypatch, in_all, of_the_step, code):
    monkeypatch.setattr(diagnosis, "IN_ALL", in_all)
    monkeypatch.setattr(diagnosis, "RIGHTS", of_the_step)
    double = HypervisorDouble(tmp_path / "slow")
    double.fail("ensure_storage_domain", Fault.HANG)
    answer = client_of(institute, "root").post(
        "/api/v1/providers/test/", {"kind": "double", "address": double.address}, content_type="application/json"
    )
    double.heal()
    assert answer.json()["reached"] is False
    last = answer.json()["steps"][-1]
    assert (last["step"], last["code"]) == ("rights", code)
    assert last["remedy"]


def test_a_test_has_half_a_minute_at_most():
    assert max(diagnosis.CONNECT, diagnosis.RIGHTS, diagnosis.PROVE) < diagnosis.IN_ALL <= 30


def test_the_same_hypervisor_is_not_connected_twice(institute):
    again = {"kind": "double", "address": institute.provider.address}
    with pytest.raises(Conflict) as refused:
        providers.connect_provider(institute.actor("root"), name="again", **again)
    assert refused.value.reasons[0].field == "address"


def test_one_that_is_reached_by_another_address_is_told_at_the_test_and_refused(institute, tmp_path):
    root, told = institute.actor("root"), []
    for name in ("one", "two"):
        double = HypervisorDouble(tmp_path / name)
        double.configure(manager={"version": "1", "identity": "host/6c1f"})
        told.append({"kind": "double", "address": double.address})
    providers.connect_provider(root, name="first-way", **told[0])
    warning = providers.try_new(root, **told[1]).steps[-1]
    assert (warning.step, warning.status, warning.data) == ("already", "warning", {"name": "first-way"})
    answer = client_of(institute, "root").post(
        "/api/v1/providers/", {"name": "second-way"} | told[1], content_type="application/json"
    )
    assert (answer.status_code, "first-way" in answer.json()["detail"]) == (HTTPStatus.CONFLICT, True)
    first = Provider.objects.get(name="first-way")
    assert providers.try_connected(root, first.pk)[-1].step != "already", "it is not its own twin"


def test_of_two_that_connect_the_same_at_once_one_is_told(institute, tmp_path):
    root, ended = institute.actor("root"), []

    def connect(address: str) -> None:
        try:
            ended.append(providers.connect_provider(root, name="twin", kind="double", address=address).name)
        except Conflict as error:
            ended.append(error.reasons[0].code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=connect, args=(f"double://{tmp_path}/{number}",)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert sorted(ended) == ["name_taken"] * 3 + ["twin"]


def test_pages_and_lists_cost_no_more_with_more_providers(institute, tmp_path):
    client, root = client_of(institute, "root"), institute.actor("root")
    addresses = ("/providers/", "/api/v1/providers/", "/api/v1/hosts/", "/api/v1/storage-domains/")

    def counted() -> list[int]:
        found = []
        for address in addresses:
            with CaptureQueriesContext(connection) as queries:
                assert client.get(address).status_code == HTTPStatus.OK
            found.append(len(queries))
        return found

    counted()
    few = counted()
    for number in range(5):
        address = f"double://{tmp_path}/{number}"
        providers.connect_provider(root, name=f"more-{number}", kind="double", address=address)
    assert counted() == few
    assert few == [8, 4, 4, 6]


def test_an_admin_of_a_department_connects_nothing_and_sees_no_provider(institute):
    actor, uid = institute.actor("physics-admin"), institute.provider.pk
    with pytest.raises(NotPermitted):
        providers.try_new(actor, kind="double", address=institute.provider.address)
    for act in (providers.try_connected, providers.remove_provider):
        with pytest.raises(NotFound):
            act(actor, uid)


def test_a_department_sees_the_inventory_that_is_assigned_to_it_alone(institute, tmp_path):
    root = institute.actor("root")
    providers.connect_provider(root, name="unassigned", kind="double", address=f"double://{tmp_path}/unassigned")
    for name, expected in {"root": 2, "physics-admin": 1, "alice": 1}.items():
        client = client_of(institute, name)
        for noun in ("clusters", "hosts", "storage-domains"):
            assert len(client.get(f"/api/v1/{noun}/").json()["results"]) == expected, (name, noun)


def test_api_answers_with_no_secret_and_an_edit_over_anothers_is_refused(institute):
    certificate, key = Authority.make("CA").leaf("192.0.2.1")
    secrets = {"client_certificate": certificate, "client_key": key}
    Provider.objects.update(sealed_secrets=sealed.seal_json(secrets))
    client, uid = client_of(institute, "root"), institute.provider.pk
    seen = client.get(f"/api/v1/providers/{uid}/")
    headers = {"If-Match": seen.headers["ETag"]}
    first = client.patch(f"/api/v1/providers/{uid}/", {"name": "one"}, content_type="application/json", headers=headers)
    second = client.patch(
        f"/api/v1/providers/{uid}/", {"name": "two"}, content_type="application/json", headers=headers
    )
    assert (first.status_code, second.status_code) == (HTTPStatus.OK, HTTPStatus.PRECONDITION_FAILED)
    texts = [answer.content.decode() for answer in (seen, first, second, client.get(f"/providers/{uid}/edit/"))]
    assert not any(
        part in text for text in texts for part in (key.splitlines()[1], "sealed_secrets", sealed.seal("x")[:5])
    )
    assert connection_of(Provider.objects.get()).secrets == secrets


def test_api_repeats_its_answer_and_connects_once(institute, tmp_path):
    client = client_of(institute, "root")
    body = {"name": "second", "kind": "double", "address": f"double://{tmp_path}/second"}
    answers = [
        client.post("/api/v1/providers/", body, content_type="application/json", headers={"Idempotency-Key": "k" * 20})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [HTTPStatus.CREATED] * 2
    assert answers[0].json() == answers[1].json()
    assert Host.objects.filter(provider__name="second").exists()


@pytest.mark.parametrize(
    "address",
    [
        "qemu+ssh://me@host/system?command=/tmp/x",
        "qemu+ssh://me@host/system?no_verify=1",
        "qemu+ssh://me@host/system#x",
        "qemu+ssh://me:secret@host/system",
        "qemu+ssh://-oProxyCommand=x@host/system",
        "qemu+ssh://me@-oProxyCommand=x/system",
        "qemu+ssh://me@host:0/system",
        "qemu+ssh://me@host:99999/system",
        "qemu+ssh://me@host/system/../x",
        "qemu+ssh://me@host/session",
        "qemu+ext://host/system",
        "qemu://host/system",
        "test:///etc/passwd",
        "qemu+ssh://me@host name/system",
        "qemu+ssh://me@höst/system",
        "",
    ],
)
def test_IN09_an_address_that_could_do_more_than_connect_is_refused(institute, address):  # noqa: N802
    assert isinstance(parsed(address), str)
    with pytest.raises(Invalid) as refused:
        providers.try_new(institute.actor("root"), kind="libvirt", address=address, secrets={"ssh_key": "x"})
    assert refused.value.reasons[0].field == "address"


def test_a_user_beside_an_address_that_names_its_own_is_refused(institute):
    given = {"kind": "libvirt", "address": "qemu+ssh://me@host/system", "secrets": {"ssh_key": "x"}}
    with pytest.raises(Invalid) as refused:
        providers.try_new(institute.actor("root"), **given, username="me@internal")
    assert [(one.field, one.code) for one in refused.value.reasons] == [("username", "username_unused")]


def test_IN09_an_address_put_into_the_row_behind_the_portal_is_not_opened(institute):  # noqa: N802
    Provider.objects.update(kind="libvirt", address="qemu+ssh://me@host/system?command=/bin/false")
    with pytest.raises(Exception, match="rejected the request as invalid"):
        driver_for(Provider.objects.get()).about()


def test_addresses_that_are_taken_say_where_they_lead():
    assert parsed("qemu:///system") == Uri("qemu")
    assert parsed("qemu+ssh://me@[2001:db8::1]:2222/system") == Uri("qemu+ssh", "me", "2001:db8::1", 2222)
    assert parsed("qemu+tls://host.example/system") == Uri("qemu+tls", "", "host.example", 16514)


def test_plain_tcp_is_refused_unless_the_installation_allows_it(institute, settings):
    root, given = institute.actor("root"), {"kind": "libvirt", "address": "qemu+tcp://127.0.0.1:1/system"}
    with pytest.raises(Invalid) as refused:
        providers.try_new(root, **given, options={"plain_tcp": "yes"})
    assert refused.value.reasons[0].code == "address_tcp"
    settings.ALLOW_PLAIN_TCP = True
    assert providers.try_new(root, **given).steps[-1].code == "port_closed"


def test_what_goes_without_encryption_is_allowed_while_the_installation_does_and_no_longer(institute, settings):
    kept = {"plain_tcp": "yes", "plain_vnc": "yes", "page": 5}
    Provider.objects.update(kind="libvirt", address="qemu+tcp://127.0.0.1:1/system", options=kept)
    row = Provider.objects.get()
    assert connection_of(row).options == {"page": "5"}
    with pytest.raises(Unavailable, match="no encryption"):
        driver_for(row).about()
    settings.ALLOW_PLAIN_VNC = settings.ALLOW_PLAIN_TCP = True
    assert connection_of(row).options == {"page": "5", "plain_tcp": "yes", "plain_vnc": "yes"}
    row = providers.connect_provider(
        institute.actor("root"), name="new", kind="double", address=institute.provider.address
    )
    assert row.options == {}, "no row keeps what the settings allow"


def test_an_old_seal_key_can_be_put_away_after_everything_was_sealed_anew(institute, settings):
    old, new = settings.SEAL_KEYS, [Fernet.generate_key().decode()]
    Provider.objects.update(sealed_secrets=sealed.seal_json({"ssh_key": "secret"}))
    settings.SEAL_KEYS = new + old
    call_command("reseal")
    settings.SEAL_KEYS = new
    assert connection_of(Provider.objects.get()).secrets == {"ssh_key": "secret"}
    settings.SEAL_KEYS = old
    with pytest.raises(Denied, match="cannot be opened"):
        connection_of(Provider.objects.get())
    with pytest.raises(CommandError, match=str(institute.provider.pk)):
        call_command("reseal")


@contextmanager
def watching():
    stop = threading.Event()

    def watch() -> None:
        watcher.watch_all(stop)
        connections.close_all()

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    stop.set()
    thread.join(30)
    names = ("watch-", "screens-")
    until(lambda: not any(each.name.startswith(names) for each in threading.enumerate()), "their end", seconds=30)


def watched(uid) -> bool:
    return Provider.objects.filter(pk=uid).exclude(watcher_holder="").exists()


def test_what_was_asked_for_before_a_provider_was_disabled_is_done_and_what_is_there_obeys(institute):
    place, root = institute, institute.actor("root")
    request = VmRequest("web", place.centers["physics"].pk, place.template.pk, vnic_profile_uids=())
    vm, job = vms.create_vm(place.actor("alice"), request)
    advance(job.pk)
    assert Job.objects.get(pk=job.pk).status == "started"
    providers.set_provider_enabled(root, vm.provider_id, enabled=False)
    assert run_to_end(job.pk).status == "finished"
    vm.refresh_from_db()
    assert vm.status in {"powering_up", "up"}, "nobody watches it come up"
    for verb in (vms.stop_vm, vms.delete_vm):
        assert run_to_end(verb(place.actor("alice"), vm.pk).pk).status == "finished"


@pytest.mark.turns
@pytest.mark.long
def test_a_new_provider_is_watched_and_a_disabled_or_removed_one_let_go_of(institute, tmp_path, monkeypatch):
    monkeypatch.setattr(watcher, "RETRY_SECONDS", 0.2)
    monkeypatch.setattr(watcher, "STRANGERS_SECONDS", 0.2)
    root = institute.actor("root")
    with watching():
        given = {"kind": "double", "address": f"double://{tmp_path}/second"}
        row = providers.connect_provider(root, name="second", **given)
        until(lambda: watched(row.pk), "a watcher of the new provider", seconds=30)
        providers.set_provider_enabled(root, row.pk, enabled=False)
        until(lambda: not watched(row.pk), "the watcher to let go", seconds=30)
        providers.set_provider_enabled(root, row.pk, enabled=True)
        until(lambda: watched(row.pk), "a watcher again", seconds=30)
        there = HypervisorDouble(tmp_path / "moved").plant_vm("there", state="up")
        providers.edit_provider(root, row.pk, ProviderEdit(address=f"double://{tmp_path}/moved"))
        until(lambda: FoundVm.objects.filter(external_id=there).exists(), "a look by the new address", seconds=30)
        providers.remove_provider(root, row.pk)
        name = f"watch-{row.pk}"
        until(lambda: name not in {each.name for each in threading.enumerate()}, "the thread's end", seconds=30)


@pytest.mark.turns
@pytest.mark.long
def test_a_machine_that_is_not_ours_is_found_when_it_comes_and_forgotten_when_it_goes(institute, tmp_path, monkeypatch):
    monkeypatch.setattr(watcher, "RETRY_SECONDS", 0.2)
    monkeypatch.setattr(watcher, "STRANGERS_SECONDS", 0.2)
    double = HypervisorDouble(tmp_path / "hypervisor")
    with watching():
        until(lambda: watched(institute.provider.pk), "a watcher", seconds=30)
        uid = double.plant_vm("mail", state="up")
        until(lambda: FoundVm.objects.filter(external_id=uid).exists(), "the machine", seconds=30)
        double.remove("vm", uid)
        until(lambda: not FoundVm.objects.filter(external_id=uid).exists(), "its end", seconds=30)
