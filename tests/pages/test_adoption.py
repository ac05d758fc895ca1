"""Adoption and protection through the pages, without JavaScript."""

from __future__ import annotations

from http import HTTPStatus
from uuid import uuid4

import pytest

from compute.models import FoundVm, Vm
from compute.sync.inventory import sync_provider
from portal import page_parts
from portal.events.models import Event
from portal.hypervisors.models import Provider
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import quota
from tenants.models import DataCenter
from tenants.models.quota import Dimension


@pytest.fixture
def mail(demo) -> FoundVm:
    demo.double.plant_vm("mail", state="up")
    sync_provider(Provider.objects.get())
    return FoundVm.objects.get()


def form(mail, action: str, **values: str) -> dict[str, str]:
    center = DataCenter.objects.get(name="physics")
    return {"machine": str(mail.pk), "data_center": str(center.pk), "owner": "alice", "action": action} | values


def test_list_says_what_the_portal_has_already_and_is_of_one_provider(demo, mail):
    vm = demo.make_vm("alice", name="mine")
    other = Provider.objects.create(name="again", kind="double", address="double:///again")
    twin = FoundVm.objects.create(provider=other, external_id=str(vm.pk), name="mine", memory_mib=1, vcpus=1)
    client = demo.browser("admin")
    page = client.get(f"/unassigned/?provider={other.pk}&select=all").content.decode()
    assert "the portal has it already, as mine on" in page
    assert f'value="{twin.pk}" aria-label="mine" disabled' in page
    assert str(mail.pk) not in page
    assert f'value="{mail.pk}" aria-label="mail" checked' in client.get("/unassigned/?select=all").content.decode()
    assert f"/unassigned/?provider={vm.provider_id}" in client.get(f"/providers/{vm.provider_id}/").content.decode()
    refused = client.post("/unassigned/", form(mail, "review", owner="nobody")).content.decode()
    assert 'id="owner-error">There is no user nobody.' in refused
    DataCenter.objects.update(enabled=False)
    assert "There is no data center yet" in client.get("/unassigned/").content.decode()


def test_super_admin_reviews_adopts_protects_and_gives_back(demo, mail):
    client = demo.browser("admin")
    assert "mail" in client.get("/unassigned/").content.decode()
    review = client.post("/unassigned/", form(mail, "review")).content.decode()
    assert "0 → <strong>1</strong> / 10" in review
    assert "The owner will be Alice." in review
    assert "Machines <span" in review, "each meter says what it measures"
    assert "share of Alice" in review
    assert "This goes over the quota" not in review
    quota.set_limits(DataCenter.objects.get(name="physics"), {Dimension.MACHINES: 0})
    review = client.post("/unassigned/", form(mail, "review")).content.decode()
    assert "This goes over the quota" in review
    assert "Machines: 1 of 0" in review
    assert "Nobody in physics can then make, start or enlarge a machine" in review
    assert "Alice can then make" not in review, "that share has no such limit"
    assert not Vm.objects.exists()
    assert client.post("/unassigned/", form(mail, "adopt")).status_code == HTTPStatus.FOUND
    vm = Vm.objects.get()
    run_to_end(Job.objects.get(target_uid=vm.pk).pk)
    assert "Every machine on the connected hypervisors" in client.get("/unassigned/").content.decode()
    here = f"/machines/{vm.pk}/"
    page = client.get(here).content.decode()
    assert ("Give back" in page, "<dt>Adopted</dt>" in page, "<dt>Created</dt>" in page) == (True, True, False)
    delete = next(one for one in page.split("<a ") if 'data-verb="delete"' in one)
    assert (f'href="{here}confirm/unadopt/"' in delete, "Super-admins can let go of it: Give back." in delete) == (
        True,
        True,
    )
    assert "asks for one while it starts" not in page
    assert "confirm/unadopt/" not in demo.browser("alice").get(here).content.decode()
    pushed = page_parts.vm(demo.actor("admin"), vm.pk)
    assert f'hx-post="{here}protect/"' in pushed, "a form that came over the socket has no token of its own"
    client.post(f"{here}protect/")
    page = demo.browser("alice").get(here).content.decode()
    assert "This machine is protected: others depend on it. Ask a super-admin." in page
    assert f"{here}confirm/stop/" in client.get(here).content.decode()
    assert "Type mail to confirm" in client.get(f"{here}confirm/stop/").content.decode()
    for verb in ("stop", "delete", "unadopt"):
        wrong = client.post(f"{here}{verb}/", {"confirm": "male"})
        assert wrong.status_code == HTTPStatus.CONFLICT
        assert 'id="confirm-error"' in wrong.content.decode(), "asked again"
    assert client.post(f"{here}stop/", {"confirm": "mail"}).status_code == HTTPStatus.FOUND
    run_to_end(Job.objects.get(target_uid=vm.pk, operation="compute.stop_vm").pk)
    client.post(f"{here}unprotect/")
    assert "Give back</button>" in client.get(f"{here}confirm/unadopt/").content.decode()
    run_to_end(client.post(f"{here}unadopt/").headers["Location"].rstrip("/").rpartition("/")[2])
    assert not Vm.objects.exists()


def test_refusals_stand_on_the_list_and_what_was_chosen_stays(demo, mail):
    client = demo.browser("admin")
    answer = client.post("/unassigned/", form(mail, "review", owner="nobody"))
    page = answer.content.decode()
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert "There is no user nobody." in page
    assert 'value="nobody"' in page
    assert f'value="{mail.pk}" aria-label="mail" checked' in page
    none = client.post("/unassigned/", {"action": "review", "data_center": form(mail, "")["data_center"]})
    assert "Choose between 1 and 100 machines." in none.content.decode()


@pytest.mark.long
def test_a_hundred_are_adopted_together_and_the_rest_is_shown_then(demo):
    for number in range(150):
        demo.double.plant_vm(f"vm{number:03d}")
    demo.double.plant_vm("theirs", portal_id=uuid4())
    sync_provider(Provider.objects.get())
    client, seen = demo.browser("admin"), []
    for expected in ("/unassigned/", "/"):
        shown = [str(row.pk) for row in client.get("/unassigned/").context["machines"] if not row.mark]
        wish = form(FoundVm.objects.first(), "adopt", machine=shown, owner="")
        answer = client.post("/unassigned/", wish)
        assert (answer.status_code, answer.headers["Location"]) == (HTTPStatus.FOUND, expected)
        seen.append(len(shown))
    assert seen == [99, 51], "another portal's is shown on the first page, and not counted as left"
    assert Vm.objects.filter(adopted=True).count() == 150


def test_list_pages_through_machines_of_one_name_too(demo):
    for _ in range(120):
        demo.double.plant_vm("vm1")
    sync_provider(Provider.objects.get())
    client, seen, after = demo.browser("admin"), [], ""
    while True:
        context = client.get("/unassigned/", {"after": after}).context
        seen += [row.pk for row in context["machines"]]
        after = context["more"]
        if not after:
            break
    assert len(seen) == len(set(seen)) == 120
    assert len(client.get("/unassigned/?after=gone").context["machines"]) == 100


def test_what_cannot_be_adopted_says_why_at_the_review_and_the_button_is_off(demo, mail):
    DataCenter.objects.get(name="physics").cluster_assignments.all().delete()
    page = demo.browser("admin").post("/unassigned/", form(mail, "review")).content.decode()
    assert "mail runs on a cluster that is not assigned to this data center." in page
    assert 'value="adopt" disabled' in page


def test_who_may_not_measure_leaves_a_record_though_he_chose_no_machine(demo, mail):
    assert demo.browser("physics-admin").post("/unassigned/measure/").status_code == HTTPStatus.FORBIDDEN
    assert Event.objects.get(code="VMS_MEASURE_REFUSED").actor_name == "physics-admin"


def test_the_list_tells_what_disks_promise_once_measured_and_which_cannot_be(demo, mail):
    client = demo.browser("admin")
    demo.double.set_vm(mail.external_id, disk_bytes=(5 << 30) + 1)
    demo.double.plant_vm("broken", disk_bytes=None)
    sync_provider(Provider.objects.get())
    assert client.get("/unassigned/").content.decode().count("not measured yet") == 2
    chosen = client.post("/unassigned/measure/?q=mail", {"machine": str(mail.pk)})
    assert chosen.headers["Location"] == "/unassigned/?q=mail&after="
    page = client.get("/unassigned/").content.decode()
    assert ("6 GiB" in page, page.count("not measured yet")) == (True, 1)
    client.post("/unassigned/measure/")
    page = client.get("/unassigned/").content.decode()
    assert ("one is gone or cannot be read" in page, "not measured yet" in page) == (True, False)
    rows = {row["name"]: row["disk_bytes"] for row in client.get("/api/v1/unassigned-vms/").json()["results"]}
    assert rows == {"mail": (5 << 30) + 1, "broken": None}
    sync_provider(Provider.objects.get())
    assert FoundVm.objects.get(pk=mail.pk).disk_gib == 6, "a compare keeps what was measured"
