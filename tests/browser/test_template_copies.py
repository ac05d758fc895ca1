"""A super-admin makes a template of a volume in the browser; the new pages fit their windows."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.browser.looking import Look, every_look
from tests.browser.portal_server import PortalServer
from tests.compute.image_files import sound
from tests.doubles.hypervisor_state import HypervisorDouble

MOST_MILLISECONDS = 60_000


@every_look
def test_a_volume_on_a_host_becomes_a_template(
    chromium: Browser, portal: PortalServer, tmp_path: Path, look: Look
) -> None:
    double, head = HypervisorDouble(portal.hypervisor), sound(tmp_path)[: 1 << 20]
    double.plant_volume(f"golden-{look.size}.qcow2", head, size=8 << 20)
    double.plant_volume(f"over-{look.size}.qcow2", head, base="below", size=20 << 30)
    used = double.plant_volume(f"{'long-name-' * 6}{look.size}.qcow2", head, size=300 << 30)
    double.set_vm(double.plant_vm(f"mail-{look.size}", disk_bytes=300 << 30), disks=[used], state="up")
    with look.of(chromium, portal, "admin") as page:
        page.goto(f"{portal.url}/providers/")
        page.get_by_role("link", name="local").click()
        page.locator("a[href*='/storage-domains/']").first.click()
        page.wait_for_url(re.compile("/volumes/"))
        look.see(page, "volumes")
        page.locator("#data_center").select_option(index=1)
        page.locator("form.filters button").click()
        page.wait_for_url(re.compile("data_center="))
        expect(page.locator("td form button").first).to_be_visible()
        look.see(page, "volumes-to-offer")
        page.locator(f"a[href*='golden-{look.size}']").click()
        page.wait_for_url(re.compile("/templates/new/"))
        page.locator("main button[type=submit]").click()
        page.wait_for_selector("#accept_unsealed-error")
        look.see(page, "template-form-of-volume")
        page.check("#accept_unsealed")
        page.locator("main button[type=submit]").click()
        page.wait_for_url(re.compile(r"/jobs/[0-9a-f-]{36}/"))
        done = page.locator("main .state-up, main .state-finished, main .text-success").first
        expect(done).to_be_visible(timeout=MOST_MILLISECONDS)
        page.goto(f"{portal.url}/templates/")
        page.get_by_role("link", name=f"golden-{look.size}").click()
        page.wait_for_selector(".alert-warning")
        look.see(page, "template-not-sealed")
