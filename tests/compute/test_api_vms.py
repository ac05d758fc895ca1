"""The main job over HTTP, as any client may rely on it; and what it refuses."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from django.test import Client

from compute.models import Vm
from portal.common.access import access_version
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import policy, quota
from tenants.models import QuotaAccount
from tenants.models.quota import Dimension
from tenants.permits import Permit
from tests.crowd import in_threads
from tests.people import PASSWORD, Institute, the_institute

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place(transactional_db, tmp_path) -> Institute:
    return the_institute(tmp_path)


class Api:
    """A client with a bearer token."""

    def __init__(self, username: str, scope: str = "write") -> None:
        self.client = Client()
        answer = self.post("/api/v1/tokens/", {"username": username, "password": PASSWORD, "name": "t", "scope": scope})
        assert answer.status_code == 201, answer.content
        self.token = answer.json()["token"]

    token = ""

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        return ({"Authorization": f"Bearer {self.token}"} if self.token else {}) | more

    def post(self, path: str, body: object = None, **headers: str):
        return self.client.post(
            path,
            json.dumps(body if body is not None else {}),
            content_type="application/json",
            headers=self._headers({k.replace("_", "-"): v for k, v in headers.items()}),
        )

    def get(self, path: str):
        return self.client.get(path, headers=self._headers({}))

    def delete(self, path: str):
        return self.client.delete(path, headers=self._headers({}))


def body(place: Institute, name: str = "web-1", **more) -> dict:
    return {"name": name, "data_center": str(place.centers["physics"].pk), "template": str(place.template.pk), **more}


def test_the_six_steps_lead_to_a_machine_and_away_again(place):
    api = Api("alice")
    [template] = api.get("/api/v1/templates/").json()["results"]
    [center] = api.get("/api/v1/data-centers/").json()["results"]
    made = api.post(
        "/api/v1/vms/", {"name": "web-1", "data_center": center["id"], "template": template["id"], "run": True}
    )
    assert made.status_code == 202, made.content
    assert made["Location"] == f"/api/v1/jobs/{made.json()['job']['id']}/"
    run_to_end(made.json()["job"]["id"])
    job = api.get(made["Location"]).json()
    assert job["status"] == "finished"
    assert [step["status"] for step in job["steps"]] == ["done"] * 6
    vm = api.get(f"/api/v1/vms/{made.json()['vm']['id']}/").json()
    assert vm["status"] in {"up", "powering_up"}
    stopped = api.post(f"/api/v1/vms/{vm['id']}/stop/")
    assert stopped.status_code == 202
    run_to_end(stopped.json()["job"]["id"])
    gone = api.delete(f"/api/v1/vms/{vm['id']}/")
    assert gone.status_code == 202
    run_to_end(gone.json()["job"]["id"])
    assert api.get(f"/api/v1/vms/{vm['id']}/").status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"memory_mib": -1}, {"memory_mib": 0}, {"memory_mib": 2**63}, {"memory_mib": "256"}, {"memory_mib": [256]}, {"memory_mib": 1.5}, {"memory_mib": True},
        {"vcpus": 10**9}, {"name": ["a"]}, {"name": None}, {"data_center": "x"}, {"template": "../../etc"}, {"owner": "bob"}, {"status": "up"}, {"nics": "all"},
        {"nics": [{"vnic_profile": "json:{}"}]}, {"initial_run": {"user_name": "a\nb"}}, {"initial_run": {"hostname": "-x"}},
        {"initial_run": {"user_name": "ada", "ssh_authorized_keys": ["ssh-ed25519 AAAA\nroot: x"]}}, {"initial_run": {"write_files": []}},
    ],
)  # fmt: skip
def test_in18_in04_in10_bad_input_is_refused_naming_the_field(place, change):
    answer = Api("alice").post("/api/v1/vms/", body(place) | change)
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["reasons"]
    assert all(reason["text"] for reason in problem["reasons"])
    assert any(reason.get("field", "").split(".")[0] == next(iter(change)) for reason in problem["reasons"])
    assert not Vm.objects.exists()


@pytest.mark.parametrize(
    "text", ['{"name": NaN}', '{"name": Infinity}', '{"a": 1, "a": 2}', "[" * 5000, '{"a": 1e9999999999}x', "\xff"]
)
def test_in18_malformed_json_is_400(place, text):
    api = Api("alice")
    answer = api.client.post(
        "/api/v1/vms/", text, content_type="application/json", headers={"Authorization": f"Bearer {api.token}"}
    )
    assert answer.status_code == 400


def test_unknown_and_unseen_answer_alike(place):
    vm_id = Api("alice").post("/api/v1/vms/", body(place)).json()["vm"]["id"]
    charlie = Api("charlie")
    for path in (f"/api/v1/vms/{vm_id}/", f"/api/v1/jobs/{Job.objects.latest('created_at').pk}/"):
        unseen = charlie.get(path)
        unknown = charlie.get(path.replace(path.split("/")[-2], str(uuid4())))
        assert (unseen.status_code, unknown.status_code) == (404, 404)
        a, b = unseen.json(), unknown.json()
        assert {**a, "request_id": ""} == {**b, "request_id": ""}
    assert charlie.post("/api/v1/vms/", body(place, "x")).status_code == 404
    assert charlie.post(f"/api/v1/vms/{vm_id}/stop/").status_code == 404
    assert charlie.delete(f"/api/v1/vms/{vm_id}/").status_code == 404


def test_without_a_login_everything_is_401(place):
    for path in (
        "/api/v1/vms/",
        "/api/v1/templates/",
        "/api/v1/data-centers/",
        "/api/v1/jobs/",
        "/api/v1/me/",
        "/api/v1/tokens/",
    ):
        answer = Client().get(path)
        assert answer.status_code == 401, path
        assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.long
def test_cc07_one_key_in_parallel_makes_one_machine(place):
    api = Api("alice")
    answers = in_threads(20, lambda _n: api.post("/api/v1/vms/", body(place), Idempotency_Key="k-1"))
    assert {answer.status_code for answer in answers} <= {202, 409}
    ids = {answer.json()["vm"]["id"] for answer in answers if answer.status_code == 202}
    assert len(ids) == 1
    assert Vm.objects.count() == 1
    assert api.post("/api/v1/vms/", body(place), Idempotency_Key="k-1").json()["vm"]["id"] in ids
    assert api.post("/api/v1/vms/", body(place, "other"), Idempotency_Key="k-1").status_code == 422
    assert Api("bob").post("/api/v1/vms/", body(place, "bobs"), Idempotency_Key="k-1").status_code == 202


@pytest.mark.long
def test_cc01_parallel_creates_never_exceed_the_quota(place):
    center = place.centers["physics"]
    quota.set_limits(center, {Dimension.MACHINES: 5, Dimension.VCPUS_RUNNING: None})
    api = Api("alice")
    answers = in_threads(30, lambda n: api.post("/api/v1/vms/", body(place, f"web-{n}")))
    codes = [answer.status_code for answer in answers]
    assert codes.count(202) == 5, codes
    assert codes.count(409) == 25
    refused = next(answer.json() for answer in answers if answer.status_code == 409)
    assert refused["code"] == "quota_exceeded"
    assert refused["reasons"][0]["limit"] == 5
    assert Vm.objects.count() == 5
    assert (
        QuotaAccount.objects.get(data_center=center, subject_kind="data_center", dimension=Dimension.MACHINES).used == 5
    )
    assert quota.recount_drift(center) == []


def test_a_read_token_makes_neither_machines_nor_tokens(place):
    reader = Api("alice", scope="read")
    assert reader.get("/api/v1/vms/").status_code == 200
    assert reader.post("/api/v1/vms/", body(place)).status_code == 403
    answer = reader.post(
        "/api/v1/tokens/", {"username": "alice", "password": PASSWORD, "name": "more", "scope": "write"}
    )
    assert answer.status_code == 403


def test_a_wrong_password_and_an_unknown_name_answer_alike(place):
    wrong = Client().post(
        "/api/v1/tokens/", {"username": "alice", "password": "x", "name": "t"}, content_type="application/json"
    )
    unknown = Client().post(
        "/api/v1/tokens/", {"username": "nobody", "password": "x", "name": "t"}, content_type="application/json"
    )
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert {**wrong.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}


def test_the_schema_is_generated_and_valid(place):
    from openapi_spec_validator import validate

    answer = Client().get("/api/v1/schema/", headers={"Accept": "application/vnd.oai.openapi+json"})
    assert answer.status_code == 200
    validate(json.loads(answer.content))


def test_a_machine_is_accepted_in_few_queries_and_no_socket_has_to_look_anew(place, django_assert_max_num_queries):
    """What its maker gets on it nobody's page can have shown before."""
    alice, uid = Api("alice"), place.users["alice"].pk
    alice.post("/api/v1/vms/", body(place))
    before = access_version(uid)
    with django_assert_max_num_queries(40):
        assert alice.post("/api/v1/vms/", body(place, "web-2")).status_code == 202
    assert access_version(uid) == before
    assert policy.permits_on(place.actor("alice"), [Vm.objects.get(name="web-2")]).popitem()[1] >= {Permit.VM_DELETE}


def test_a_list_page_asks_the_same_number_of_queries_for_3_and_60_machines(place, django_assert_max_num_queries):
    def fill(count: int) -> None:
        first = Vm.objects.first()
        Vm.objects.bulk_create(
            Vm(
                name=f"m-{uuid4().hex[:12]}",
                data_center=first.data_center,
                owner=first.owner,
                template=first.template,
                cluster=first.cluster,
                host=first.host,
                provider=first.provider,
                memory_mib=64,
                vcpus=1,
            )
            for _ in range(count)
        )

    admin = Api("physics-admin")
    Api("alice").post("/api/v1/vms/", body(place))
    fill(2)
    with django_assert_max_num_queries(12):
        assert len(admin.get("/api/v1/vms/").json()["results"]) == 3
    fill(57)
    with django_assert_max_num_queries(12):
        page = admin.get("/api/v1/vms/").json()
    assert len(page["results"]) == 50
    assert page["next"]
