"""Readiness through the page and the API: looked at by a job, kept with its age, told in the reader's language."""

from __future__ import annotations

import socket
from http import HTTPStatus

from django.db import connection

from compute.models import Host, ReadinessResult, StorageDomain
from portal.hypervisors.models import Provider
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants.models import Directory
from tests.doubles.hypervisor_state import Fault


def looked(demo) -> Job:
    answer = demo.browser("admin").post("/readiness/")
    assert answer.status_code == HTTPStatus.FOUND
    return run_to_end(answer.headers["Location"].rstrip("/").rpartition("/")[2])


def test_s13_a_job_looks_at_every_provider_and_the_page_tells_it_with_its_age(demo):
    client = demo.browser("admin")
    first = client.get("/readiness/").content.decode()
    assert "not looked at yet" in first
    assert "Check again" not in first
    demo.double.configure(skew_seconds="-7")
    Host.objects.update(accelerator="tcg")
    StorageDomain.objects.update(total_bytes=100, used_bytes=91)
    demo.double.forget_calls()
    assert client.get("/readiness/").status_code == HTTPStatus.OK
    assert demo.double.calls() == [], "a page asks no hypervisor"
    job = looked(demo)
    assert job.status == "finished", job.error
    assert {call.method for call in demo.double.calls()} == {"about", "clock"}
    assert client.get(f"/jobs/{job.pk}/").context["about"].address == "/readiness/"
    page = client.get("/readiness/").content.decode()
    assert 'data-status="failed"' in page
    for words in ("Its clock is 7 s off.", "91 % used", "emulated, and slow", "just now", "Check again"):
        assert words in page
    [found] = client.get("/api/v1/readiness/").json()["providers"]
    told = {check["check"]: (check["status"], check["code"]) for check in found["checks"]}
    assert told == {
        "authentication": ("ok", ""),
        "version": ("ok", ""),
        "clock": ("warning", "clock_skewed"),
        "virtualization": ("warning", "virtualization_off"),
        "versions": ("ok", ""),
        "disk": ("failed", "disk_full"),
    }
    assert all(check["remedy"] for check in found["checks"] if check["status"] != "ok")
    client.post("/language/", {"language": "el", "theme": "auto"})
    assert "Το ρολόι του αποκλίνει 7 s." in client.get("/readiness/").content.decode()
    assert "Έλεγχος ετοιμότητας: όλοι οι πάροχοι" in client.get(f"/jobs/{job.pk}/").content.decode()
    assert "See what was found" in demo.browser("admin").get(f"/jobs/{job.pk}/").content.decode()


def test_s13_the_portals_own_ports_are_looked_at_each_by_its_purpose(demo, settings):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings.CELERY_BROKER_URL = f"redis://:secret@127.0.0.1:{listener.getsockname()[1]}/0"
        Directory.objects.create(name="staff", urls=["ldaps://127.0.0.1:9", "ldap://127.0.0.9"])
        looked(demo)
        looked(demo)
    told = demo.browser("admin").get("/api/v1/readiness/").json()["portal"]
    by_network = not str(connection.settings_dict["HOST"] or "/").startswith("/")
    database = [("database_port", "")] if by_network else []
    closed = [("directory_port", "port_closed")] * 2
    assert [(check["check"], check["code"]) for check in told["checks"]] == [*database, ("broker_port", ""), *closed]
    assert [check["details"]["port"] for check in told["checks"]][-2:] == ["9", "389"]
    assert (told["provider"], told["status"]) == (None, "failed")
    page = demo.browser("admin").get("/readiness/").content.decode()
    assert "Nothing listens on port 389 of 127.0.0.9." in page
    assert "secret" not in page


def test_another_look_takes_the_place_of_the_one_before(demo):
    demo.double.configure(skew_seconds="400")
    looked(demo)
    assert ReadinessResult.objects.get(step="clock").code == "clock_wrong"
    demo.double.configure(skew_seconds="1")
    looked(demo)
    assert ReadinessResult.objects.get(step="clock").code == ""


def test_a_provider_that_does_not_let_us_in_is_told_and_the_others_are_looked_at(demo):
    other = Provider.objects.create(kind="double", name="zebra", address=f"{demo.double.address}-other")
    demo.double.fail("about", Fault.REFUSED)
    assert looked(demo).status == "finished"
    [local] = ReadinessResult.objects.filter(provider__name="local", step="authentication")
    assert local.code == "denied"
    assert not ReadinessResult.objects.filter(provider__name="local", step="clock").exists()
    assert ReadinessResult.objects.filter(provider=other, step="clock", code="").exists()
    [zebra] = ReadinessResult.objects.filter(provider=other, step="disk")
    assert zebra.code == "disk_none"


def test_a_second_look_at_once_is_refused_naming_the_first(demo):
    client = demo.browser("admin")
    first = client.post("/api/v1/readiness/", {}, content_type="application/json").json()["job"]["id"]
    refused = client.post("/api/v1/readiness/", {}, content_type="application/json")
    assert refused.status_code == HTTPStatus.CONFLICT
    assert refused.json()["job"]["id"] == first
    page = client.get("/readiness/").content.decode()
    assert f'data-watch="job:{first}"' in page, "the page follows the one that is at work"


def test_without_a_provider_the_page_says_what_comes_first(demo):
    Provider.objects.update(enabled=False)
    client = demo.browser("admin")
    assert "Connect a hypervisor first." in client.get("/readiness/").content.decode()
    assert client.post("/readiness/").status_code == HTTPStatus.CONFLICT
