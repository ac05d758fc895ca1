"""Readiness of a real far host: its clock asked over SSH, its plain port, and what cannot be seen told as not known."""

from __future__ import annotations

import socket
import subprocess

import pytest

from compute.models import ReadinessResult
from compute.services import providers
from compute.services.readiness import check_readiness
from portal.common.actor import Actor
from portal.hypervisors.connect import connection_of
from portal.hypervisors.diagnosis import look_around
from portal.hypervisors.libvirt import surroundings
from portal.hypervisors.models import Provider
from portal.jobs.engine import run_to_end
from tests.hypervisors.far.test_connecting import over_ssh, over_tls
from tests.lab.far_host import ADDRESS, FarHost

pytestmark = [pytest.mark.libvirt, pytest.mark.long]


def found(root: Actor) -> dict[str, str]:
    """The codes of a look, by check; the worst of several."""
    assert run_to_end(check_readiness(root).pk).status == "finished"
    rows = ReadinessResult.objects.order_by("code")
    return {row.step: row.code for row in rows}


def test_over_ssh_the_clock_is_read_and_ports_are_looked_at(far: FarHost, root: Actor, monkeypatch) -> None:
    providers.connect_provider(root, name="far", **over_ssh(far))
    codes = found(root)
    assert {codes[step] for step in ("name", "port", "host_key", "authentication", "version", "clock", "screens")} == {
        ""
    }
    assert codes["name_back"] == "name_no_reverse", "no name server knows the lab's addresses"
    assert codes["plain_port"] == ""
    assert ReadinessResult.objects.get(step="clock").data == {"skew_seconds": "0"}
    names = ("localhost", "nobody.invalid", "$(touch /tmp/taken)")
    around = look_around(connection_of(Provider.objects.get(name="far")), names)
    [seen] = [one for one in around if one.step == "neighbours"]
    assert (seen.code, seen.data) == ("neighbours_lacking", {"names": "nobody.invalid, $(touch /tmp/taken)"})
    real = surroundings.time.time
    monkeypatch.setattr(surroundings.time, "time", lambda: real() + 400)
    assert found(root)["clock"] == "clock_wrong"
    assert int(ReadinessResult.objects.get(step="clock").data["skew_seconds"]) in range(390, 401)


def test_an_open_plain_port_is_a_warning(far: FarHost, root: Actor) -> None:
    providers.connect_provider(root, name="far", **over_ssh(far))
    script = (
        f"import socket, time; s = socket.create_server(('{ADDRESS}', 16509)); print('up', flush=True); time.sleep(120)"
    )
    command = far.libvirt.inside("python3", "-c", script)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "up\n"
        assert found(root)["plain_port"] == "plain_port_open"
        listener.kill()


def test_over_tls_the_clock_is_not_known_and_screens_are_not_reached(far: FarHost, root: Actor) -> None:
    providers.connect_provider(root, name="far", **over_tls(far))
    codes = found(root)
    assert (codes["clock"], codes["screens"], codes["tls"]) == ("clock_unknown", "screens_need_ssh", "")


def test_a_host_that_is_gone_is_told_and_nothing_else_is_looked_at(far: FarHost, root: Actor) -> None:
    providers.connect_provider(root, name="far", **over_ssh(far))
    far.ssh.stop()
    codes = found(root)
    assert codes["port"] == "port_closed"
    assert "clock" not in codes
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((ADDRESS, 2222), timeout=2)
