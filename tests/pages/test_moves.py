"""Moving a machine to another department through the pages, without JavaScript."""

from __future__ import annotations

from http import HTTPStatus

from compute.models import Vm
from tenants import quota
from tenants.models import DataCenter
from tenants.models.quota import Dimension


def test_super_admin_reviews_and_moves_and_the_others_are_told_who_can(demo):
    vm = demo.make_vm("alice", nics="none")
    here, there = f"/machines/{vm.pk}/", DataCenter.objects.exclude(pk=vm.data_center_id).order_by("name")[0]
    link = next(
        one for one in demo.browser("alice").get(here).content.decode().split("<a ") if 'data-verb="move"' in one
    )
    assert "Super-admins move machines to other data centers." in link
    why = demo.browser("alice").get("/explain/?object=system&permit=SYSTEM_MANAGE")
    assert (f'href="{why.request["PATH_INFO"]}?object=system&amp;permit=SYSTEM_MANAGE"' in link, why.status_code) == (
        True,
        200,
    )

    client = demo.browser("admin")
    assert f'href="{here}move/"' in client.get(here).content.decode()
    form = client.get(f"{here}move/").content.decode()
    assert (there.name in form, f'value="{vm.data_center_id}"' in form) == (True, False)
    wish = {"data_center": str(there.pk), "owner": ""}
    wrong = client.post(f"{here}move/", wish | {"owner": "nobody", "action": "review"})
    assert (wrong.status_code, 'id="owner-error"' in wrong.content.decode()) == (HTTPStatus.BAD_REQUEST, True)

    review = client.post(f"{here}move/", wish | {"action": "review"}).content.decode()
    assert f"{vm.name} moves from {vm.data_center.name} to {there.name}." in review
    assert ("1 → <strong>0</strong>" in review, "0 → <strong>1</strong>" in review) == (True, True), "both quotas"
    assert "Alice <span" in review, "her role ends"
    quota.set_limits(there, {Dimension.MACHINES: 0})
    refused = client.post(f"{here}move/", wish | {"action": "move"})
    assert (refused.status_code, 'value="move" disabled' in refused.content.decode()) == (HTTPStatus.CONFLICT, True)
    assert "limit 0, in use 0, asked for 1, 1 over" in refused.content.decode()
    assert Vm.objects.get().data_center_id == vm.data_center_id

    quota.set_limits(there, {Dimension.MACHINES: 5})
    assert client.post(f"{here}move/", wish | {"action": "move"}).headers["Location"] == here
    assert f"{vm.name} is in {there.name} now." in client.get(here).content.decode()
    assert Vm.objects.get().data_center == there
    assert demo.browser("alice").get(here).status_code == HTTPStatus.NOT_FOUND
    assert "The machine left for another data center" in client.get(f"{here}events/").content.decode()


def test_an_adopted_machine_moves_when_it_is_said_that_its_place_cannot_be_told(demo):
    vm = demo.make_vm("alice", nics="none")
    Vm.objects.update(adopted=True)
    here, there = f"/machines/{vm.pk}/", DataCenter.objects.exclude(pk=vm.data_center_id).order_by("name")[0]
    client = demo.browser("admin")
    wish = {"data_center": str(there.pk), "owner": ""}
    review = client.post(f"{here}move/", wish | {"action": "review"}).content.decode()
    assert ('name="despite_unknown" required' in review, 'value="move" disabled' in review) == (True, False)
    refused = client.post(f"{here}move/", wish | {"action": "move"})
    assert (refused.status_code, 'id="despite_unknown-error"' in refused.content.decode()) == (
        HTTPStatus.CONFLICT,
        True,
    )
    done = client.post(f"{here}move/", wish | {"action": "move", "despite_unknown": "on"})
    assert (done.headers["Location"], Vm.objects.get().data_center_id) == (here, there.pk)
