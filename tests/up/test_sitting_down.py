"""The whole of it on real parts: a person makes a machine in the browser, types at its screen, and logs in over SSH."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.person import take_picture
from tests.lab.browser import new_context, watched
from tests.up.portal_run import PortalRun, eventually

pytestmark = [pytest.mark.whole, pytest.mark.browser, pytest.mark.usefixtures("libvirtd")]
WORK_MILLISECONDS = 90_000


@pytest.fixture
def demo(portal_run: PortalRun) -> Iterator[PortalRun]:
    started = portal_run.up("--detach")
    assert started.returncode == 0, started.stdout + started.stderr
    yield portal_run
    assert portal_run.up("--purge").returncode == 0


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=30)
    return path


def test_a_person_makes_a_machine_types_at_its_screen_and_logs_in(
    chromium: Browser, demo: PortalRun, key: Path
) -> None:
    with new_context(chromium, size=(1440, 900)) as context:
        page = context.new_page()
        complaints = watched(page)
        log_in(page, demo, "alice")
        make_machine(page, (key.with_suffix(".pub")).read_text())
        expect(page.locator(".head .state-up")).to_be_visible(timeout=WORK_MILLISECONDS)
        expect(page.locator("dl.facts code").first).to_contain_text(".", timeout=WORK_MILLISECONDS)
        address = page.locator("dl.facts code").first.inner_text()
        assert eventually(lambda: ssh(address, key, "true") is not None, seconds=90)
        page.click(".head a[data-verb=connect]")
        expect(page.locator("#console-note")).to_have_text("Connected", timeout=WORK_MILLISECONDS)
        type_at_console(page, "echo 'Typed: {here} #1' > typed.txt\n")
        assert eventually(lambda: ssh(address, key, "cat typed.txt") == "Typed: {here} #1\n", seconds=30)
        take_picture(page, "console-of-a-real-machine")
        assert complaints == []


def log_in(page: Page, run: PortalRun, username: str) -> None:
    password = next(login["password"] for login in run.status()["logins"] if login["username"] == username)
    page.goto(run.status()["url"])
    page.fill("#username", username)
    page.fill("#password", password)
    page.click(".simple-card button[type=submit]")
    page.click("a[href='/machines/new/']")


def make_machine(page: Page, public_key: str) -> None:
    page.fill("#user_name", "alice")
    page.fill("#ssh_authorized_keys", public_key)
    page.click("button[value=review]")
    page.click("button[value=create]")
    page.wait_for_url(re.compile(r"/machines/[0-9a-f-]{36}/"))


def type_at_console(page: Page, text: str) -> None:
    page.click("#console-type summary")
    page.fill("#console-words", text)
    page.click("#console-text button")


def ssh(address: str, key: Path, command: str) -> str | None:
    """What the command printed on the machine; None when it could not be run."""
    options = ["-i", str(key), "-oBatchMode=yes", "-oConnectTimeout=3", "-oStrictHostKeyChecking=no"]
    options += ["-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR"]
    done = subprocess.run(
        ["ssh", *options, f"alice@{address}", command], capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout if done.returncode == 0 else None
