"""The whole of it on real parts: a person makes a machine in the browser, types at its screen, logs in over SSH, deletes it.

On a libvirt host and on an engine by the same clicks; of the engine its manager alone is a double, its machines are real.
"""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.person import expect_down, follow, take_picture
from tests.guest.qemu_socket import AgentSocket, RefusedCommand
from tests.lab.browser import new_context, watched
from tests.lab.libvirt_server import LibvirtServer
from tests.up.portal_run import PortalRun, eventually

pytestmark = [pytest.mark.whole, pytest.mark.browser, pytest.mark.usefixtures("libvirtd")]
WORK_MILLISECONDS = 90_000
Read = Callable[[str], str | None]  # a file of the guest's, once it can be read


@pytest.fixture(scope="module")
def demo(session_libvirtd: LibvirtServer) -> Iterator[PortalRun]:
    run = PortalRun.new()
    started = run.up("--detach", "--with-ovirt")
    assert started.returncode == 0, started.stdout + started.stderr
    yield run
    violations = run.engine().violations()
    assert run.up("--purge").returncode == 0
    run.close()
    assert violations == []


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=30)
    return path


@pytest.mark.parametrize("where", ["libvirt", "oVirt"])
def test_a_person_makes_a_machine_types_at_its_screen_and_deletes_it(
    chromium: Browser, demo: PortalRun, key: Path, where: str
) -> None:
    with new_context(chromium, size=(1440, 900)) as context:
        page = context.new_page()
        complaints = watched(page)
        log_in(page, demo, "alice")
        make_machine(page, (key.with_suffix(".pub")).read_text(), where=where)
        expect(page.locator(".head .state-up")).to_be_visible(timeout=WORK_MILLISECONDS)
        expect(page.locator("dl.facts code").first).to_contain_text(".", timeout=WORK_MILLISECONDS)
        machine = page.url
        read = over_ssh(page, key) if where == "libvirt" else by_agent(demo)
        assert eventually(lambda: read("/etc/hostname") is not None, seconds=90)
        page.click(".head a[data-verb=connect]")
        expect(page.locator("#console-note")).to_have_text("Connected", timeout=WORK_MILLISECONDS)
        type_at_console(page, "echo 'Typed: {here} #1' > typed.txt\n")
        assert eventually(lambda: read("/home/alice/typed.txt") == "Typed: {here} #1\n", seconds=30)
        take_picture(page, f"console-of-a-real-machine-{where.lower()}")
        assert complaints == []
        delete(page, machine)


def log_in(page: Page, run: PortalRun, username: str) -> None:
    password = next(login["password"] for login in run.status()["logins"] if login["username"] == username)
    page.goto(run.status()["url"])
    page.fill("#username", username)
    page.fill("#password", password)
    follow(page, page.locator(".simple-card button[type=submit]"))
    page.click("a[href='/machines/new/']")


def make_machine(page: Page, public_key: str, *, where: str) -> None:
    page.locator("label", has_text=f"(on {where}").click()
    page.fill("#user_name", "alice")
    page.fill("#ssh_authorized_keys", public_key)
    page.click("button[value=review]")
    page.click("button[value=create]")
    page.wait_for_url(re.compile(r"/machines/[0-9a-f-]{36}/"))


def type_at_console(page: Page, text: str) -> None:
    page.click("#console-type summary")
    page.fill("#console-words", text)
    page.click("#console-text button")


def delete(page: Page, machine: str) -> None:
    page.goto(machine)
    page.locator(".head details summary").click()
    page.click("button[data-verb=stop]")
    expect_down(page, WORK_MILLISECONDS)
    page.goto(f"{machine}delete/")
    page.click("form button.btn-outline-danger")
    page.wait_for_url(re.compile("/jobs/"))
    expect(page.locator("main").get_by_text("finished").first).to_be_visible(timeout=WORK_MILLISECONDS)
    answer = page.goto(machine)
    assert answer is not None
    assert answer.status == 404


def over_ssh(page: Page, key: Path) -> Read:
    address = page.locator("dl.facts code").first.inner_text()
    return lambda path: ssh(address, key, f"cat {path}")


def by_agent(run: PortalRun) -> Read:
    """The engine's guests are on networks that lead nowhere, so their agent is asked: of the one that runs and is not others'."""
    [agent] = [
        path
        for path in (run.data / "engine" / "machines").glob("*/run/agent.sock")
        if (path.parents[1] / "first_boot.iso").exists()
    ]

    def read(path: str) -> str | None:
        try:
            with AgentSocket(agent, seconds=5) as guest:
                handle = guest.ask("guest-file-open", path=path)
                content = guest.ask("guest-file-read", handle=handle)["buf-b64"]
                guest.ask("guest-file-close", handle=handle)
        except (OSError, RefusedCommand):
            return None
        return base64.b64decode(content).decode()

    return read


def ssh(address: str, key: Path, command: str) -> str | None:
    """What the command printed on the machine; None when it could not be run."""
    options = ["-i", str(key), "-oBatchMode=yes", "-oConnectTimeout=3", "-oStrictHostKeyChecking=no"]
    options += ["-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR"]
    done = subprocess.run(
        ["ssh", *options, f"alice@{address}", command], capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout if done.returncode == 0 else None
