"""The lab keeps its promises: each part is the real one, can be broken by a test, and stays inside."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.lab.libvirt_server import LibvirtServer
from tests.lab.postgres_server import PostgresServer
from tests.lab.redis_server import RedisServer
from tests.lab.servers import RealPartFailed, Server, wait_until

GUEST = """<domain type='qemu'><name>lab-guest</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><interface type='network'><source network='lab-net'/><model type='virtio'/></interface>
<graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/></devices></domain>"""
NETWORK = """<network><name>lab-net</name><forward mode='nat'/><bridge name='labbr0'/>
<ip address='10.77.0.1' netmask='255.255.255.0'><dhcp><range start='10.77.0.10' end='10.77.0.20'/></dhcp></ip></network>"""


@pytest.fixture
def guest(libvirtd: LibvirtServer, tmp_path: Path) -> Iterator[LibvirtServer]:
    """A guest without a disk, under QEMU's own emulation, on a NAT network with DHCP."""
    network, domain = tmp_path / "network.xml", tmp_path / "domain.xml"
    network.write_text(NETWORK)
    domain.write_text(GUEST)
    libvirtd.virsh("net-create", str(network))
    libvirtd.virsh("create", str(domain))
    yield libvirtd
    libvirtd.virsh("destroy", "lab-guest", check=False)
    libvirtd.virsh("net-destroy", "lab-net")


def test_a_guest_runs_on_a_nat_network_that_hands_out_addresses(guest: LibvirtServer) -> None:
    assert guest.virsh("domstate", "lab-guest").stdout.strip() == "running"
    assert "dnsmasq" in subprocess.run(["ps", "-e", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert "10.77.0.0/24" in subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout


def test_a_guest_survives_a_killed_libvirtd_and_is_found_again(guest: LibvirtServer) -> None:
    before = guest.guests()
    guest.kill()
    assert guest.virsh("list", check=False).returncode != 0
    guest.start()
    assert guest.guests() == before


def test_a_frozen_libvirtd_keeps_its_socket_and_says_nothing(libvirtd: LibvirtServer) -> None:
    libvirtd.freeze()
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["virsh", "-c", libvirtd.uri, "list"], capture_output=True, check=False, timeout=2)
    libvirtd.thaw()
    assert libvirtd.answers()


def test_a_dead_guest_leaves_no_zombie(guest: LibvirtServer) -> None:
    guest.virsh("destroy", "lab-guest")
    assert guest.guests() == []
    states = subprocess.run(["ps", "-e", "-o", "stat=,comm="], capture_output=True, text=True, check=True).stdout
    assert not [line for line in states.splitlines() if "qemu" in line and line.startswith("Z")]


@pytest.mark.libvirt
def test_nothing_but_the_labs_own_network_is_there() -> None:
    links = {name for _, name in socket.if_nameindex()}
    assert links <= {"lo", "labbr0", "far0"}  # far0: the cable to the far host, which lives as long as the run
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as outward, pytest.raises(OSError, match="unreachable"):
        outward.connect(("198.51.100.1", 80))


@pytest.mark.libvirt
def test_libvirts_folders_are_the_labs_own() -> None:
    own = Path(os.environ["STEGI_LAB"]) / "var-lib-libvirt"
    assert Path("/var/lib/libvirt").samefile(own)
    assert "cgroup_controllers = [ ]" in Path("/etc/libvirt/qemu.conf").read_text()


def test_postgres_answers_and_comes_back_after_a_kill(postgres: PostgresServer) -> None:
    assert postgres.sql("select 6 * 7") == "42"
    postgres.kill()
    with pytest.raises(RealPartFailed):
        postgres.sql("select 1")
    postgres.start()
    assert postgres.sql("show server_encoding") == "UTF8"


def test_redis_answers_freezes_and_comes_back_on_the_same_port(redis_server: RedisServer) -> None:
    port = redis_server.port
    assert redis_server.answers()
    redis_server.freeze()
    assert not redis_server.answers()
    redis_server.thaw()
    redis_server.kill()
    assert not redis_server.answers()
    redis_server.start()
    assert redis_server.answers()
    assert redis_server.port == port


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A page on loopback whose words a script writes."""
    (tmp_path / "index.html").write_text(
        "<!doctype html><title>lab</title><p id=p></p><script>p.textContent = 'Γειά ' + 6 * 7</script>"
    )

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_given: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join(timeout=5)


def test_chromium_renders_a_page_and_runs_its_script(page: Page, served: str) -> None:
    page.goto(served)
    assert page.inner_text("#p").endswith("42")


class Broken(Server):
    name = "broken"

    def command(self) -> list[str]:
        return ["/bin/sh", "-c", "echo it is the disk; exit 3"]

    def answers(self) -> bool:
        return False


def test_a_server_that_ends_at_start_fails_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(RealPartFailed, match="it is the disk"):
        Broken(tmp_path).start()


def test_waiting_ends_and_says_what_for() -> None:
    with pytest.raises(RealPartFailed, match="rain"):
        wait_until(lambda: False, "rain", seconds=0.1)
