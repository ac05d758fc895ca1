"""Which directory a name at log-in means, and what entries say of accounts: the pure parts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from tenants.directory.accounts import account_of_ad, account_of_openldap, kept_out_by_bind
from tenants.directory.names import folded, led_elsewhere, login_name

NOW = datetime(2026, 6, 1, tzinfo=UTC)
GUID = UUID("12345678-9abc-4ef0-8123-456789abcdef")
FILETIME_2016, FILETIME_2030 = b"131000000000000000", b"135400000000000000"


@dataclass
class Named:
    name: str
    domains: list[str] = field(default_factory=list)
    is_default: bool = False
    enabled: bool = True
    pk: UUID = field(default_factory=uuid4)


PHYSICS = Named("PHYSICS", ["physics.example", "phys"])
CHEMISTRY = Named("chem", ["chemistry.example"])


@pytest.mark.parametrize(
    ("typed", "name", "directory", "may_be_local"),
    [
        ("alice", "alice", None, True),
        ("PHYSICS\\alice", "alice", PHYSICS, False),
        ("physics.EXAMPLE\\alice", "alice", PHYSICS, False),
        ("alice@chemistry.example", "alice", CHEMISTRY, True),
        ("alice@Phys", "alice", PHYSICS, True),
        ("a@b@chem", "a@b", CHEMISTRY, True),
        (".\\alice", "alice", None, True),
        (".\\alice@chem", "alice@chem", None, True),
        ("nowhere\\alice", "nowhere\\alice", None, True),
        ("alice@nowhere", "alice@nowhere", None, True),
        ("@chem", "@chem", None, True),
        ("", "", None, True),
        (" PHYSICS \\  alice ", "alice", PHYSICS, False),
        ("\uff30HYSICS\\alice", "alice", PHYSICS, False),
        ("alice @ chem", "alice", CHEMISTRY, True),
        (".\\ alice", "alice", None, True),
    ],
)
def test_a_name_means_one_place_or_none(typed, name, directory, may_be_local):
    found = login_name(typed, [PHYSICS, CHEMISTRY])
    assert (found.name, found.directory, found.may_be_local) == (name, directory and directory.pk, may_be_local)


def test_what_names_no_directory_goes_whole_to_the_default_one_or_the_only_one():
    default = Named("default", is_default=True)
    for directories in ([PHYSICS, default], [default]):
        assert login_name("alice@nowhere", directories).directory == default.pk
        assert login_name("alice@nowhere", directories).name == "alice@nowhere"
    assert login_name("alice", [CHEMISTRY]).directory == CHEMISTRY.pk
    assert login_name(".\\alice", [CHEMISTRY]).directory is None


UNI = Named("UNI", ["uni.example"])
HIS = Named("HIS")


@pytest.mark.parametrize(
    ("before", "after", "led"),
    [
        ([UNI], [UNI], []),
        ([UNI], [UNI, HIS], []),  # a bare name means nobody of a directory any more
        ([UNI], [UNI, replace(HIS, is_default=True)], ["UNI"]),
        ([UNI, HIS], [replace(UNI, enabled=False), HIS], ["UNI"]),
        ([replace(UNI, enabled=False)], [replace(UNI, enabled=False), HIS], ["UNI"]),
        ([replace(UNI, is_default=True), HIS], [replace(UNI, is_default=True), replace(HIS, enabled=False)], []),
        ([replace(UNI, is_default=True), HIS], [replace(UNI, is_default=True), replace(HIS, domains=["x"])], ["UNI"]),
        ([UNI], [UNI, replace(HIS, domains=["sub.uni.example"])], ["UNI"]),
        ([UNI], [UNI, replace(HIS, name="sub.uni.example")], ["UNI"]),
        ([UNI, HIS], [UNI, replace(HIS, domains=["sub.uni.example"])], []),  # nobody's before: there was no default
        ([UNI, replace(HIS, is_default=True)], [replace(UNI, domains=[]), replace(HIS, is_default=True)], ["UNI"]),
        ([UNI, HIS], [replace(UNI, domains=[]), replace(HIS, domains=["UNI.example"])], ["UNI"]),
        ([UNI, replace(HIS, is_default=True)], [replace(UNI, name="uni"), replace(HIS, is_default=True)], []),
    ],
)
def test_whose_people_would_type_their_password_to_another_directory(before, after, led):
    kept = {one.name.casefold(): one.pk for one in before}
    now = [replace(one, pk=kept.get(one.name.casefold(), one.pk)) for one in after]
    names = {one.pk: one.name for one in before}
    assert sorted(names[uid] for uid in led_elsewhere(before, now)) == led


@pytest.mark.parametrize(
    "spelling",
    [
        "Anna  Lee",
        " anna lee ",
        "\uff21nna lee",
        "anna\u00a0lee",
        "anna\u3000lee",
        "anna\tlee",
        "an\u00adna lee",
        "\u200banna lee",
        "\u00e1nna lee",
        "anna\u0301 lee",
    ],
)
def test_spellings_that_a_directory_takes_for_one_name_are_counted_as_one(spelling):
    assert folded(spelling) == "anna lee"
    assert folded("annalee") != folded("anna lee")


def ad(**attributes: bytes):
    known = {"objectGUID": GUID.bytes_le, "sAMAccountName": b"alice", "userAccountControl": b"512", "pwdLastSet": b"1"}
    return account_of_ad("CN=alice", {name: [value] for name, value in (known | attributes).items()}, NOW)


@pytest.mark.parametrize(
    ("attributes", "kept_out"),
    [
        ({}, ""),
        ({"userAccountControl": b"514"}, "disabled"),
        ({"accountExpires": b"0"}, ""),
        ({"accountExpires": b"9223372036854775807"}, ""),
        ({"accountExpires": FILETIME_2030}, ""),
        ({"accountExpires": FILETIME_2016}, "expired"),
        ({"msDS-User-Account-Control-Computed": b"16"}, "locked"),
        ({"pwdLastSet": b"0"}, "must_change"),
        ({"pwdLastSet": b"0", "userAccountControl": b"66048"}, ""),
        ({"msDS-User-Account-Control-Computed": b"8388608"}, "password_expired"),
        ({"userAccountControl": b"nonsense"}, ""),
    ],
)
def test_active_directory_says_whom_it_keeps_out(attributes, kept_out):
    assert ad(**attributes).kept_out == kept_out


def test_the_primary_group_is_a_neighbour_of_the_account():
    sid = bytes.fromhex("0105000000000005150000000102030405060708090a0b0c") + (1105).to_bytes(4, "little")
    account = ad(objectSid=sid, primaryGroupID=b"513")
    assert (account.guid, account.primary_group_sid) == (str(GUID), sid[:-4] + (513).to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("attributes", "kept_out"),
    [
        ({}, ""),
        ({"pwdAccountLockedTime": b"000001010000Z"}, "locked"),
        ({"pwdReset": b"TRUE"}, "must_change"),
        ({"pwdEndTime": b"20200101000000Z"}, "expired"),
        ({"pwdEndTime": b"20300101000000Z"}, ""),
        ({"shadowExpire": b"-1"}, ""),
        ({"shadowExpire": b"10000"}, "expired"),
        ({"shadowExpire": b"999999999999"}, ""),
        ({"nsAccountLock": b"true"}, "disabled"),
    ],
)
def test_openldap_says_whom_it_keeps_out(attributes, kept_out):
    known = {"entryUUID": str(GUID).encode(), "uid": b"alice"} | attributes
    account = account_of_openldap("uid=alice", {name: [value] for name, value in known.items()}, NOW)
    assert (account.guid, account.kept_out) == (str(GUID), kept_out)


def test_an_entry_without_a_guid_is_nobody():
    assert account_of_openldap("cn=x", {"cn": [b"x"]}, NOW) is None
    assert account_of_ad("cn=x", {"objectGUID": [b"short"]}, NOW) is None


def test_hostile_values_are_cut_and_held_together():
    entry = {"objectGUID": [GUID.bytes_le], "sAMAccountName": [b"a\x00" + b"x" * 500], "displayName": [b"\xff" * 400]}
    account = account_of_ad("cn=x", entry, NOW)
    assert "\x00" not in account.name
    assert (len(account.name), len(account.display_name)) == (100, 150)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error, data 533, v3839", "disabled"),
        ("AcceptSecurityContext error, data 52e, v1", ""),
        ("error, data 775, v1", "locked"),
        ("error, data 773", "must_change"),
        ("nothing to read", ""),
    ],
)
def test_a_refused_bind_tells_what_is_the_matter(text, why):
    assert kept_out_by_bind(text) == why
