"""An engine's address and log-in as they stand: what is refused, beside which field, and what is added."""

from __future__ import annotations

from uuid import UUID

import pytest

from compute.diagnosis import reason
from portal.hypervisors.ovirt.address import Engine, parsed, whole
from portal.hypervisors.ovirt.certificates import fingerprint, read
from portal.hypervisors.ovirt.inputs import refusals
from portal.hypervisors.specs import Connection
from tests.compute.console.certificates import Authority

pytestmark = pytest.mark.once

URL = "https://engine.example/ovirt-engine/api"


def given(
    address: str = URL, username: str = "portal@internal", password: str = "secret", ca_pem: str = ""
) -> Connection:
    nobody = UUID(int=0)
    secrets = {"password": password} if password else {}
    return Connection("ovirt", address, nobody, nobody, username=username, ca_pem=ca_pem, secrets=secrets)


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("", "address_invalid"),
        ("https://engine example/", "address_invalid"),
        ("https://engine.example:99999/", "address_invalid"),
        ("engine.example", "address_scheme"),
        ("qemu+ssh://me@host/system", "address_scheme"),
        ("file:///etc/passwd", "address_scheme"),
        ("http://engine.example/ovirt-engine/api", "address_https"),
        (f"{URL}?insecure=1", "address_parameters"),
        (f"{URL}#x", "address_parameters"),
        ("https://portal@engine.example/ovirt-engine/api", "address_password"),
        ("https://portal:secret@engine.example/ovirt-engine/api", "address_password"),
        ("https://engine.example/ovirt-engine/webadmin", "address_path"),
        ("https://engine.example/ovirt-engine/api/../x", "address_path"),
        ("https:///ovirt-engine/api", "address_host"),
        ("https://-oX/ovirt-engine/api", "address_host"),
        ("https://engine.example:0/", "address_host"),
    ],
)
def test_IN09_an_address_that_is_none_or_could_do_more_than_connect_is_refused(address, code):  # noqa: N802
    [refused] = refusals(given(address))
    assert (refused.step, refused.code) == ("address", code)
    assert reason(refused, "ovirt").text.startswith(("This", "The", "An", "http"))


@pytest.mark.parametrize(
    "begun",
    [
        "https://engine.example",
        "https://engine.example/",
        "https://Engine.Example:443/ovirt-engine/",
        f"{URL}/",
        URL,
    ],
)
def test_the_path_of_the_api_is_added_and_an_engine_is_spelled_in_one_way(begun):
    assert whole(begun) == URL
    assert not refusals(given(begun))


def test_ports_and_addresses_of_ip_are_kept():
    assert parsed("https://[2001:db8::1]:8443") == Engine("2001:db8::1", 8443)
    assert whole("https://[2001:db8::1]:8443") == "https://[2001:db8::1]:8443/ovirt-engine/api"
    assert whole("http://engine.example") == "http://engine.example", "what cannot be stays as it is"


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"username": ""}, ("username", "username_missing")),
        ({"username": "portal"}, ("username", "username_profile")),
        ({"username": "@internal"}, ("username", "username_profile")),
        ({"username": "por\ttal@internal"}, ("username", "username_invalid")),
        ({"username": "p" * 250 + "@internal"}, ("username", "username_invalid")),
        ({"password": ""}, ("password", "password_missing")),
        ({"ca_pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}, ("ca_pem", "certificate_invalid")),
    ],
)
def test_a_log_in_that_cannot_be_is_refused_beside_its_field(changes, refused):
    [found] = refusals(given(**changes))
    assert (found.step, found.code) == refused
    assert reason(found, "ovirt").field == refused[0]


def test_a_name_with_a_directory_and_a_profile_and_a_ca_are_taken_and_all_refusals_are_told():
    assert not refusals(given(username="somebody@example.org@ldap", ca_pem=Authority.make("CA").pem))
    assert len(refusals(given("http://x", username="", password="", ca_pem="x"))) == 4


def test_a_fingerprint_is_shown_as_openssl_shows_it():
    [certificate] = read(Authority.make("CA").pem)
    shown = fingerprint(certificate)
    assert len(shown.split(":")) == 32
    assert shown == shown.upper()


def test_a_ca_that_has_expired_says_until_when_it_was_good():
    certificate, _key = Authority.make("CA").leaf("192.0.2.1", days=(-3, -1))
    [found] = refusals(given(ca_pem=certificate))
    assert found.code == "ca_expired"
    assert found.data["until"] in reason(found, "ovirt").text
    assert not refusals(given(ca_pem=certificate + Authority.make("another CA").pem)), "of several one may have expired"
