"""The way to an engine as far as its certificate: each thing that can stand in between told by a sentence of its own."""

from __future__ import annotations

import ssl
import subprocess
from uuid import UUID

import pytest

from compute.diagnosis import Told, told
from portal.hypervisors.findings import Finding
from portal.hypervisors.ovirt import certificates, surroundings, way
from portal.hypervisors.specs import Connection
from tests.compute.console.certificates import Authority
from tests.hypervisors.ovirt_connect.shown import ADDRESS, closed, plain, showing, silent

pytestmark = pytest.mark.once


def looked(port: int, ca_pem: str = "", host: str = ADDRESS) -> Told:
    """The last step that is reached, in words."""
    nobody = UUID(int=0)
    connection = Connection("ovirt", f"https://{host}:{port}/ovirt-engine/api", nobody, nobody, ca_pem=ca_pem)
    found: list[Finding] = []
    for probe in way.probes(connection):
        found.append(probe.look())
        if found[-1].has_failed:
            break
    last = told(found, "ovirt")[-1]
    assert last.text
    assert bool(last.remedy) == (last.status == "failed")
    return last


@pytest.fixture(scope="module")
def ca() -> Authority:
    return Authority.make("the engine's CA")


@pytest.fixture(scope="module")
def other() -> Authority:
    return Authority.make("another CA")


def test_a_certificate_by_the_pinned_ca_is_good_and_its_fingerprint_told(tmp_path, ca):
    with showing(tmp_path, *ca.leaf(ADDRESS), ca_pem=ca.pem) as port:
        last = looked(port, ca.pem)
    assert (last.step, last.status) == ("tls", "ok")
    assert certificates.fingerprint(ca.certificate) in last.text


def test_where_none_is_pinned_the_engines_own_is_shown_to_be_compared(tmp_path, ca):
    with showing(tmp_path, *ca.leaf(ADDRESS), ca_pem=ca.pem) as port:
        last = looked(port)
        assert last.code == "ca_unpinned"
        assert looked(port, last.data["ca_pem"]).status == "ok"
    (tmp_path / "ca.pem").write_text(ca.pem)
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", str(tmp_path / "ca.pem")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    assert shown.strip().endswith(f"={last.data['fingerprint']}")


def test_another_ca_is_told_with_both_fingerprints_and_can_be_pinned_anew(tmp_path, ca, other):
    with showing(tmp_path, *other.leaf(ADDRESS), ca_pem=other.pem) as port:
        last = looked(port, ca.pem)
    assert last.code == "ca_other"
    for one in (ca, other):
        assert certificates.fingerprint(one.certificate) in last.text
    assert last.data["ca_pem"] == other.pem.strip()


def test_of_several_cas_that_are_pasted_each_is_trusted_and_all_are_told(tmp_path, ca, other):
    both = f"The institute's:\n{other.pem}\nκαι του oVirt:\n{ca.pem}"
    prints = [certificates.fingerprint(one.certificate) for one in (other, ca)]
    for signer in (ca, other):
        with showing(tmp_path, *signer.leaf(ADDRESS), ca_pem=ca.pem) as port:
            last = looked(port, both)
            assert last.status == "ok"
            assert all(one in last.text for one in prints)
    third = Authority.make("a third CA")
    with showing(tmp_path, *third.leaf(ADDRESS), ca_pem=ca.pem) as port:
        assert looked(port, both).code == "ca_not_signer", "the engine's own is one of the pinned, which did not sign"
        assert "/etc/pki/ovirt-engine/ca.pem" in looked(port).remedy
    with showing(tmp_path, *third.leaf(ADDRESS)) as port:
        last = looked(port, both)
        assert last.code == "certificate_other"
        assert all(one in last.text for one in prints)
    # The relay of screens gets both, without what stands between them.
    context = ssl.create_default_context(cadata=certificates.bare(both))
    assert len(context.get_ca_certs()) == 2


@pytest.mark.parametrize("given", ["the pinned one", "none"])
def test_a_changed_certificate_is_told_with_both_fingerprints_and_nothing_is_offered(tmp_path, ca, other, given):
    certificate, key = other.leaf(ADDRESS)
    with showing(tmp_path, certificate, key, ca_pem=ca.pem if given == "the pinned one" else "") as port:
        last = looked(port, ca.pem)
        unpinned = looked(port)
    assert last.code == ("ca_not_signer" if given == "the pinned one" else "certificate_other")
    assert certificates.fingerprint(ca.certificate) in last.text
    if given == "none":
        assert certificates.fingerprint(certificates.read(certificate)[0]) in last.text
    assert unpinned.code == ("ca_not_signer" if given == "the pinned one" else "ca_none")
    assert "ca_pem" not in last.data | unpinned.data


@pytest.mark.parametrize(
    ("days", "host", "code"),
    [
        ((-3, -1), ADDRESS, "tls_expired"),
        ((1, 3), ADDRESS, "tls_not_yet_valid"),
        ((-1, 30), "198.18.7.9", "tls_other_host"),
    ],
)
def test_a_certificate_that_is_no_good_is_refused_pinned_or_not(tmp_path, ca, days, host, code):
    with showing(tmp_path, *ca.leaf(host, days=days), ca_pem=ca.pem) as port:
        assert looked(port, ca.pem).code == code
        assert looked(port).code == code, "there is no point in pinning it"


def test_a_closed_port_an_unknown_name_and_one_that_speaks_no_tls_are_told_apart(tmp_path, ca, monkeypatch):
    with closed() as port:
        assert looked(port).code == "port_closed"
        assert looked(port, host="no-such-host.invalid").code == "name_unknown"
    monkeypatch.setattr(certificates, "SECONDS", 0.3)
    with silent() as port:
        assert looked(port).code == "silent"
        assert looked(port, ca.pem).code == "silent"
    with plain() as port:
        assert looked(port).code == "tls_none"
        assert looked(port, ca.pem).code == "tls_none"


@pytest.mark.parametrize(("ahead", "told_seconds"), [(0, {"0"}), (400, {"398", "399", "400"})])
def test_the_clock_is_told_by_the_date_of_an_answer(tmp_path, ca, ahead, told_seconds):
    nobody = UUID(int=0)
    with showing(tmp_path, *ca.leaf(ADDRESS), ca_pem=ca.pem, ahead=ahead) as port:
        connection = Connection("ovirt", f"https://{ADDRESS}:{port}", nobody, nobody, ca_pem=ca.pem)
        clock = next(probe.look for probe in surroundings.probes(connection) if probe.step == "clock")
        assert clock().data["skew_seconds"] in told_seconds
    assert clock().code == "clock_not_told"
