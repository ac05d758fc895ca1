"""What of an engine's is offered where several things are chosen from: in the launch wizard, on a data center's page, in the search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lxml.html
import pytest
from django.test import Client

from compute.models import Cluster, Template
from compute.services import launch, sharing
from tests.engines import Both, the_both


@pytest.fixture
def both(db: None, tmp_path: Path) -> Both:
    return the_both(tmp_path)


def client_of(both: Both, name: str) -> Client:
    client = Client()
    client.force_login(both.users[name])
    return client


def test_a_launch_offers_and_proposes_what_the_chosen_clusters_reach_and_tells_what_was_chosen(both: Both):
    client = client_of(both, "root")
    first = client.get("/data-centers/launch/")
    assert (first.context["passed"], "Nothing yet." in first.content.decode()) == (set(), True)
    big, ours = Cluster.objects.get(name="big"), Cluster.objects.get(hosts__provider=both.provider)

    def leave(at: int, **entered: Any) -> Any:
        return client.post("/data-centers/launch/", {"at": at, "go": "next", "name": "chemistry"} | entered)

    storage = leave(1, clusters=[str(big.pk)], reached=1)
    form, page = storage.context["form"], storage.content.decode()
    labels = [label for _value, label in form.fields["storage_domains"].choices]
    assert all("(engine, East)" in label for label in labels), labels
    assert form["templates"].value() == [str(both.debian.pk)], "the latest that can be used there"
    assert (str(both.template.pk) in page, "left out: the chosen clusters do not reach" in page) == (False, True)
    assert storage.context["passed"] == {"data_center", "clusters"}
    kept = {
        "clusters": [str(big.pk)],
        "storage_domains": form["storage_domains"].value() or [form.fields["storage_domains"].choices[0][0]],
    }
    network = leave(2, reached=2, **kept)
    form, page = network.context["form"], network.content.decode()
    assert (form["network_provider"].value(), [value for value, _ in form.fields["network_provider"].choices]) == (
        "",
        [""],
    )
    assert ("On engines none can be made" in page, 'id="network_cidr"' in page) == (True, False)
    assert {row.zone_name for row in launch.offered(both.actor("root"), [big.pk])["networks"].rows} == {"East"}
    assert "No machine can be made here until" in page.replace("None: no", "No")
    assert leave(3, reached=3, **kept).context["stage"].name == "quota", "its own proposal is not refused"
    # Other clusters: what was chosen for the ones before is dropped, and proposed anew.
    changed = leave(1, reached=3, **kept | {"clusters": [str(ours.pk)], "templates": [str(both.debian.pk)]})
    assert changed.context["form"]["templates"].value() == [str(both.template.pk)]
    assert leave(2, reached=2, clusters=[str(ours.pk)], storage_domains=[str(both.template.storage_domain_id)]).context[
        "form"
    ]["network_provider"].value() == str(both.provider.pk)


def test_templates_of_one_name_are_told_apart_on_the_data_centers_page_and_in_the_search(both: Both):
    admin = client_of(both, "physics-admin")
    sharing.assign(
        both.actor("root"), both.centers["physics"].pk, "template", Template.objects.get(external_id="debian").pk
    )
    for path in (f"/data-centers/{both.centers['physics'].pk}/", "/search/?q=tiny"):
        page = lxml.html.document_fromstring(admin.get(path).content)
        for uid, place in {both.debian.pk: "on engine, version 2", both.template.pk: "on double, version 1"}.items():
            [link] = page.xpath(f"//main//a[@href='/templates/{uid}/']")
            assert " ".join(link.text_content().split()) == f"Tiny Linux ({place})", path
