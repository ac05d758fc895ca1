"""Clusters, storage, readiness and a provider's networks, as a super-admin and a department's admin see them."""

from __future__ import annotations

import re
from uuid import uuid4

from playwright.sync_api import Browser, Page, expect

from tests.browser.looking import Look, every_look
from tests.browser.person import follow
from tests.browser.portal_server import PortalServer
from tests.doubles.hypervisor_state import HypervisorDouble, put

WORK_MILLISECONDS = 60_000


def second(page: Page, portal: PortalServer, look: Look) -> HypervisorDouble:
    """Another hypervisor, connected on the page: an older processor, a bridge, somebody's network, a full folder."""
    double = HypervisorDouble(portal.data / f"second-{look}")
    cpu = {"arch": "x86_64", "model": "Haswell-noTSX-IBRS", "vendor": "Intel", "features": ["aes"]}
    double.configure(host_name="ov-node2.islab.local", cpu=cpu, skew_seconds="-42", capacity_bytes=1 << 20)
    with double.store.change() as db:
        put(db, "bridge", "br0", {"active": True})
        network = {"name": "somebody's-network", "cidr": "192.168.10.0/24", "marker": None, "leases": {}}
        put(db, "network", str(uuid4()), network)
        body = {"marker": None, "base": "", "size": 1, "allocated": 960_000, "sha256": "", "storage_domain": "nas"}
        put(db, "storage_domain", "nas", {"path": "/nas", "marker": None, "source": "netfs nfs nas /export"})
        put(db, "disk", "theirs.qcow2", body)
    page.goto(f"{portal.url}/providers/new/?kind=double")
    page.fill("#name", f"second-{look.size}")
    page.fill("#address", double.address)
    page.click("button[value=save]")
    page.wait_for_url(re.compile(r"/providers/[0-9a-f-]{36}/"))
    return double


@every_look
def test_inventory_pages_fit_and_are_legible(chromium: Browser, portal: PortalServer, look: Look) -> None:
    with look.of(chromium, portal, "admin") as page:
        page.set_default_timeout(WORK_MILLISECONDS)
        second(page, portal, look)
        provider = page.url
        look.see(page, "provider-networks")
        offer_bridge(page, look)
        page.goto(f"{portal.url}/clusters/")
        look.see(page, "clusters")
        cluster = make_cluster(page, portal, look)
        look.see(page, "cluster")
        page.goto(f"{portal.url}/storage/")
        look.see(page, "storage")
        page.goto(f"{portal.url}/readiness/")
        page.locator("main form button[type=submit]").click()
        page.wait_for_url(re.compile(r"/jobs/"))
        page.locator("main a.btn-primary[href='/readiness/']").click()
        expect(page.locator("[data-step=clock][data-status=warning]").first).to_be_visible()
        look.see(page, "readiness")
        dissolve(page, cluster, look)
        page.goto(f"{provider}remove/")
        follow(page, page.locator("main form button[type=submit]"))
    with look.of(chromium, portal, "physics-admin") as page:
        page.goto(f"{portal.url}/storage/")
        look.see(page, "storage-of-a-department")


def offer_bridge(page: Page, look: Look) -> None:
    """Offered under a name of its own, and taken back."""
    follow(page, page.locator("#networks tr", has_text="br0").locator("[data-verb=offer]"))
    look.see(page, "network-offer")
    page.fill("#name", "Institute-LAN")
    page.locator("main form button[type=submit]").click()
    offered = page.locator("#networks tr", has_text="Institute-LAN")
    expect(offered).to_be_visible()
    look.see(page, "networks-offered")
    follow(page, offered.locator("[data-verb=take-back]"))
    look.see(page, "network-take-back")
    follow(page, page.locator("main form button[type=submit]"))
    expect(page.locator("#networks [data-verb=take-back]")).to_have_count(0)


def make_cluster(page: Page, portal: PortalServer, look: Look) -> str:
    """The address of a cluster of the new host alone, once the check of both was seen."""
    page.goto(f"{portal.url}/clusters/new/")
    page.fill("#name", f"lab-{look.size}")
    for box in page.locator("input[name=hosts]").all():
        box.check()
    page.click("button[value=check]")
    page.wait_for_selector("[data-problem=cpu_features_differ]")
    look.see(page, "cluster-checked")
    page.locator("label", has_text="double").locator("input[name=hosts]").uncheck()
    page.click("button[value=save]")
    page.wait_for_url(re.compile(r"/clusters/[0-9a-f-]{36}/$"))
    return page.url


def dissolve(page: Page, cluster: str, look: Look) -> None:
    page.goto(f"{cluster}remove/")
    look.see(page, "cluster-dissolve")
    page.locator("main form button[type=submit]").click()
    page.wait_for_url(re.compile(r"/clusters/$"))
