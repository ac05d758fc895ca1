"""A directory's group holds roles on objects of any kind: given by those who rule there, looked through by super-admins. On the lab's OpenLDAP."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from itertools import groupby
from threading import Thread
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from compute.models import Cluster, Image, StorageDomain, Template, Vm
from network.models import Network, VnicProfile
from portal.common.actor import system_actor
from portal.common.errors import Invalid, Unavailable
from portal.events.models import Event
from portal.hypervisors.models import Provider
from tenants import policy
from tenants.directory.dns import domain_of, is_below, is_dn
from tenants.directory.names import group_name
from tenants.directory.reading import Group
from tenants.kinds import kinds
from tenants.models import Directory, DirectoryGroup, KeptOut, User
from tenants.services import directory_groups, grantees, group_search
from tenants.services.directory_groups import mappings
from tenants.services.grantees import GrantRequest
from tests.lab.slapd_server import GROUPS
from tests.tenants.conftest import as_actor
from tests.tenants.directory.conftest import follow, fresh, log_in, openldap_row

SECRET, JSON = "Prima-vera-1642", "application/json"
ROLES = {
    "vm": "user-role", "template": "user-template-based-vm", "image": "disk-operator", "network": "vnic-profile-user",
    "vnic_profile": "vnic-profile-user",
}  # fmt: skip


@pytest.fixture
def boss(people) -> Client:
    client = Client()
    client.force_login(people.super_admin)
    return client


@pytest.fixture
def things(people):
    """An object of each kind in physics, all of the same name."""
    provider = Provider.objects.create(kind="double", name="p", address="double:///nowhere")
    storage = StorageDomain.objects.create(name="s", provider=provider, external_id="s")
    cluster = Cluster.objects.create(name="c", provider=provider)
    ours = {"name": "webby", "owner": people.physics}
    network = Network.objects.create(**ours, provider=provider, cidr="10.99.1.0/24")
    vm = Vm(name="webby", data_center=people.physics, cluster=cluster, provider=provider, memory_mib=256, vcpus=1)
    vm.save()
    return {
        "vm": vm,
        "template": Template.objects.create(**ours, storage_domain=storage),
        "image": Image.objects.create(**ours, format="raw", size_bytes=1),
        "network": network,
        "vnic_profile": VnicProfile.objects.create(name="webby", network=network),
    }


def nested(slapd):
    """Somebody in a group that is in another: his name, the other's name, its DN, and the inner one's."""
    name, outer = fresh("ada"), fresh("staff, (x) ")
    inner = slapd.group(fresh("inner"), [slapd.person(name, SECRET)])
    return name, outer.strip(), slapd.group(outer.strip(), [inner]), inner


def mapped(boss, page, group, things):
    """Give a group its role on each thing, for two days: the answers by kind."""
    later = (timezone.localdate() + timedelta(days=2)).isoformat()
    wishes = {
        kind: {"group": group, "role": ROLES[kind], "target": f"{kind}:{row.pk}", "ends_on": later}
        for kind, row in things.items()
    }
    return {kind: boss.post(page, wish).status_code for kind, wish in wishes.items()}


def taken_back(boss, page, mappings):
    """Take each mapping back, the machine's on the page and the others over the API: the answers by kind."""
    where, answers = f"{page}groups/{DirectoryGroup.objects.get().pk}/", {}
    for one in mappings:
        if one["on"]["kind"] == "vm":
            gone = boss.post(f"{where}remove/", {"role": one["role"], "target": one["target"]})
        else:
            gone = boss.delete(f"/api/v1{where}roles/{one['role']}/{one['target']}/")
        answers[one["on"]["kind"]] = gone.status_code
    return answers


def twins(slapd):
    """Two groups of one name: the name, the place of the one, and the DN of the other."""
    name, place = fresh("twice"), f"ou={fresh('unit')},{GROUPS}"
    slapd.add(place, objectClass="organizationalUnit")
    slapd.add(f"cn={name},{place}", objectClass="groupOfNames", member="cn=nobody,dc=lab,dc=example")
    return name, place, slapd.group(name, ["cn=nobody,dc=lab,dc=example"])


def test_a_super_admin_maps_a_group_on_any_object_and_sync_and_simulation_know_of_it(
    people, boss, openldap, slapd, things
):
    assert set(ROLES) == {kind.name for kind in kinds()} - {"system", "data_center"}
    name, group, dn, inner = nested(slapd)
    page = f"/directories/{openldap.pk}/"
    found = unescape(boss.get(f"{page}?on_like=EBB&group_like={group[:7]}").content.decode())
    offered = dict(re.findall(r'<option value="(\w+:[^"]+)">([^<]+)</option>', found))
    assert offered == {f"{kind}:{row.pk}": "webby (physics)" for kind, row in things.items()}
    [chosen] = re.findall(r'href="(\?group=[^"]+)#give"', found)
    assert f'value="{dn}"' in unescape(boss.get(page + chosen).content.decode()).replace("\\2C", "\\,")
    assert mapped(boss, page, group, things) == dict.fromkeys(things, 302)
    unfit = boss.post(page, {"group": group, "role": "end-user", "target": f"vm:{things['vm'].pk}"})
    assert (unfit.status_code, 'id="role-error"' in unfit.content.decode()) == (400, True)

    told = boss.get(f"/api/v1{page}groups/").json()
    assert {(one["on"]["kind"], one["on"]["id"], one["role"]) for one in told["mappings"]} == {
        (kind, str(row.pk), ROLES[kind]) for kind, row in things.items()
    }
    assert (told["next"], {one["name"] for one in told["mappings"]}) == (None, {group})
    shown = boss.get(page).content.decode()
    assert f'href="/machines/{things["vm"].pk}/"' in shown
    would = boss.post(f"/api/v1{page}simulate/", {"username": name}, content_type=JSON).json()
    assert {(role["kind"], role["role"]) for role in would["roles"]} == set(ROLES.items())

    browser = Client()
    assert log_in(name, SECRET, browser).status_code == 302
    assert browser.get(f"/api/v1/vms/{things['vm'].pk}/").status_code == 200
    slapd.change(inner, member=["cn=nobody,dc=lab,dc=example"])
    [loses] = boss.get(f"/api/v1{page}sync/").json()["groups"]
    assert {(role["kind"], role["name"]) for role in loses["roles"]} == {
        (kind, str(row)) for kind, row in things.items()
    }
    follow(openldap)
    assert browser.get(f"/api/v1/vms/{things['vm'].pk}/").status_code == 404

    assert taken_back(boss, page, told["mappings"]) == {kind: 302 if kind == "vm" else 204 for kind in things}
    assert not DirectoryGroup.objects.exists()


def test_mappings_are_told_in_pages_by_group(people, openldap, things, monkeypatch):
    subjects = [
        Directory.objects.get().groups.create(guid=f"g{n}", name=name, group=new_group(name))
        for n, name in enumerate("bCa")
    ]
    for known in subjects:
        policy.grant(system_actor(), "user-role", known.group, things["vm"])
        policy.grant(system_actor(), "end-user", known.group, people.physics)
    monkeypatch.setattr("tenants.services.directory_groups.PER_PAGE", 2)
    boss, told = as_actor(people.super_admin), []
    for start in (0, 2, 4):
        told += [(one.group.name, one.kind.name) for one in mappings(boss, openldap.pk, start=start)[:2]]
    assert told == [(name, kind) for name in "abC" for kind in ("data_center", "vm")]


def test_each_mapping_is_on_one_page_whatever_letters_names_are_of(people, things, monkeypatch):
    monkeypatch.setattr("tenants.services.directory_groups.PER_PAGE", 1)
    row = Directory.objects.create(name="lab", kind="openldap")
    names = ["Ωμέγα", "Zeta", "αλφα", "alpha", "Ωδή", "αετός", "Ώρα", "ωδή", "άνω", "Όρη", "Ήλιος", "βήτα"]
    for n, name in enumerate(names):
        known = row.groups.create(guid=f"g{n}", name=name, group=new_group(name))
        policy.grant(system_actor(), "user-role", known.group, things["vm"])
        if n < 2:
            policy.grant(system_actor(), "end-user", known.group, people.physics)
    boss = as_actor(people.super_admin)
    told = [mappings(boss, row.pk, start=start)[0] for start in range(len(names) + 2)]
    assert len({(one.group.name, one.kind.name) for one in told}) == len(told)
    assert len(list(groupby(told, key=lambda one: one.group.name))) == len(names), "and a group's stand together"
    assert mappings(boss, row.pk, start=len(told)) == []


def new_group(name):
    return User.groups.rel.model.objects.create(name=f"lab\\{name}")


def test_who_rules_a_data_center_names_any_group_in_full_and_looks_through_none(people, openldap, slapd, things):
    admin, vm = as_actor(people.physics_admin), things["vm"]
    _name, group, dn, inner = nested(slapd)

    def give(text, actor=admin, **more):
        return grantees.give(actor, vm, GrantRequest(**{"role": "user-role", "group": text} | more))

    twice, other, place = twins(slapd)
    refusals = {
        text: refusal(give, text) for text in ("lab\\staff*", "lab\\*)(cn=*", "lab\\none-such", f"lab\\{twice}")
    }
    assert all("below its base" in text for text in refusals.values()), refusals
    assert other not in str(refusals), "only super-admins are told where groups are"
    assert other in refusal(give, f"lab\\{twice}", as_actor(people.super_admin))
    with pytest.raises(Invalid):
        give(dn, expires_at=timezone.now() - timedelta(days=1))
    assert not DirectoryGroup.objects.exists(), "what is refused leaves no group behind"

    assert give(f"LAB.example\\{group.upper()}").name == f"lab\\{group}"
    assert give(dn.replace(",dc=", " , DC=")).name == f"lab\\{group}"
    assert give(place).name == f"lab\\{twice}"
    assert DirectoryGroup.objects.count() == 2, "one row for each group, by its GUID"
    owner = as_actor(people.alice)
    policy.grant(system_actor(), "user-vm-manager", people.alice, vm)
    said = {refusal(give, text, owner).replace(text, "X") for text in (inner, "lab\\none-such")}
    assert said == {"There is no group X in physics. Its admins can add groups."}, "nor is a directory asked for him"
    browser = Client()
    browser.force_login(people.physics_admin)
    assert browser.get(f"/api/v1/directories/{openldap.pk}/found-groups/?name=sta").status_code == 403
    assert dn not in unescape(browser.get(f"/grants/vm/{vm.pk}/?group_like=sta").content.decode())

    slapd.stop()
    with pytest.raises(Unavailable, match="lab"):
        give(inner)
    assert give(f"lab\\{twice}", role="user-vm-manager").name == f"lab\\{twice}", "one that is known here goes on"
    known = DirectoryGroup.objects.get(name=twice)
    for role in ("user-role", "user-vm-manager"):
        grantees.take(admin, vm, role=role, group=known.group_id)
    assert not DirectoryGroup.objects.filter(name=twice).exists(), "what holds nothing is not followed any more"


def refusal(give, text, *actor):
    with pytest.raises(Invalid) as refused:
        give(text, *actor)
    assert [reason.field for reason in refused.value.reasons] == ["group"]
    return refused.value.detail


def test_a_super_admin_finds_a_group_by_a_part_of_its_name_wherever_a_role_is_given(
    people, boss, openldap, slapd, things, monkeypatch
):
    _name, group, dn, _inner = nested(slapd)
    page = f"/grants/vm/{things['vm'].pk}/"
    [chosen] = re.findall(
        r'href="(\?group=[^"]+)#give"', boss.get(f"{page}?group_like={group[3:8].upper()}{group[8:]}").content.decode()
    )
    form = unescape(boss.get(page + unescape(chosen)).content.decode())
    name = re.search(r'name="name" value="(lab\\[^"]+)"', form)[1]
    assert boss.post(page, {"who": "group", "name": name, "role": "user-role"}).status_code == 302
    assert DirectoryGroup.objects.get().name == group
    for part in ("*)(cn=*", "no such"):
        assert "No group has such a name." in boss.get(page, {"group_like": part}).content.decode()
    assert 'id="group_like-error"' in boss.get(page, {"group_like": "a"}).content.decode()

    where = f"/api/v1/directories/{openldap.pk}/found-groups/"
    told = boss.get(where, {"name": group}).json()
    assert [(one["name"], one["dn"] in {dn, name[4:]}) for one in told["groups"]] == [(group, True)]
    monkeypatch.setattr(group_search, "MOST_FOUND", 1)
    told = boss.get(where, {"name": "in"}).json()
    assert (len(told["groups"]), told["more"]) == (1, True)

    body, asked = {"role": "user-vm-manager", "group": name}, f"/api/v1/grants/vm/{things['vm'].pk}/"
    assert boss.post(f"{asked}?dry_run=1", body, content_type=JSON).json()["possible"] is True
    assert boss.post(asked, body, content_type=JSON).status_code == 201
    slapd.stop()
    assert boss.get(where, {"name": "in"}).status_code == 503
    silent = boss.get(page, {"group_like": "in"})
    assert (silent.status_code, "lab" in silent.content.decode()) == (503, True)
    refused = boss.post(asked, body | {"group": "lab\\unheard-of"}, content_type=JSON)
    assert (refused.status_code, refused.json()["directory"]) == (503, "lab")
    assert Event.objects.filter(code="GRANT_REFUSED").count() == 1


def test_a_group_that_was_renamed_is_called_so_and_another_of_its_former_name_is_another(
    people, openldap, slapd, things
):
    admin, before, after = as_actor(people.physics_admin), fresh("before"), fresh("after")
    dn = slapd.group(before, ["cn=nobody,dc=lab,dc=example"])

    def give(name):
        return grantees.give(admin, things["vm"], GrantRequest("user-role", group=f"lab\\{name}"))

    given = give(before)
    slapd.rename(dn, f"cn={after}")
    slapd.group(before, ["cn=nobody,dc=lab,dc=example"])
    assert give(before).subject != given.subject
    renamed = give(after)
    assert (renamed.subject, renamed.name) == (given.subject, f"lab\\{after}")


def test_a_group_that_calls_itself_by_anothers_dn_or_directory_is_not_taken_for_it(people, openldap, slapd, things):
    admin, nobody = as_actor(people.physics_admin), ["cn=nobody,dc=lab,dc=example"]
    real = slapd.group(fresh("real"), nobody)
    for taken in (real, gone := f"cn={fresh('gone')},{GROUPS}", "OTHER\\staff"):
        slapd.group(taken, nobody)
    openldap_row(slapd, name="OTHER", domains=[], enabled=False)

    def give(text):
        return grantees.give(admin, things["vm"], GrantRequest("user-role", group=text))

    assert give(real).name == f"lab\\{real[3:].partition(',')[0]}"
    assert "below its base" in refusal(give, gone)
    assert refusal(give, "OTHER\\staff").startswith("There is no group OTHER"), "it is disabled, and nobody else's"


def test_what_a_group_is_given_while_its_last_role_is_taken_is_not_lost(lasting_people, monkeypatch):
    people, failed = lasting_people, []
    boss, row = as_actor(people.super_admin), Directory.objects.create(name="lab", kind="openldap")
    asked = group_search.Asked(row, Group(str(uuid4()), "cn=g", "g"))

    def give(center):
        try:
            directory_groups.map_found(boss, row.pk, asked, role="end-user", target=center)
        except Exception as error:  # noqa: BLE001  (a thread tells what befell it)
            failed.append(error)
        finally:
            connection.close()

    give(people.physics)
    giver = Thread(target=give, args=(people.informatics,))

    def holds_anything(group):
        found = really(group)
        giver.start()
        giver.join(1)
        return found

    really = directory_groups._holds_anything
    monkeypatch.setattr(directory_groups, "_holds_anything", holds_anything)
    directory_groups.unmap_group(boss, row.pk, DirectoryGroup.objects.get().pk, role="end-user", target=people.physics)
    giver.join()
    assert (failed, [one.target for one in mappings(boss, row.pk)]) == ([], [people.informatics])


def test_of_which_directory_a_group_is_meant():
    lab, other = Directory(name="lab", domains=["lab.example"]), Directory(name="other", is_default=True)
    assert group_name("LAB\\a\\b", [lab, other]) == (lab.pk, "a\\b")
    assert group_name(" lab.example \\ a ", [lab, other]) == (lab.pk, "a")
    assert group_name("nowhere\\a", [lab, other]) == (other.pk, "nowhere\\a")
    assert group_name("a@lab", [lab, other]) == (other.pk, "a@lab")
    assert group_name("a", [lab, Directory(name="third")]) == (None, "a")
    lab.enabled = False
    assert group_name("lab\\a", [lab, other]) == (lab.pk, "a")
    assert group_name("a", [lab, Directory(name="third", is_default=False)])[0] != lab.pk
    assert [is_dn(text) for text in ("a=b", "cn=a,dc=lab", "cn=\\C3,dc=lab", " ")] == [False, True, False, False]
    assert not is_below("cn=\\C3,dc=lab", "dc=lab"), "what it escapes is no text"
    assert is_below("cn=a\\, b,OU=x , dc=Lab", "ou=X,DC=lab")
    assert not is_below("cn=a,ou=x\\,dc=lab", "dc=lab")
    assert domain_of("OU=a\\,DC=b,DC=lab,DC=example") == "DC=lab,DC=example"


def test_somebody_of_a_directory_is_appointed_before_he_was_ever_here(people, openldap, slapd, things):
    names = [fresh(name) for name in ("peer", "guest", "owner's", "banned")]
    for name in names[:3]:
        slapd.person(name, SECRET)
    slapd.change(slapd.person(names[3], SECRET), pwdReset="TRUE")
    admin, vm, browser = as_actor(people.physics_admin), things["vm"], Client()
    browser.force_login(people.physics_admin)
    page = f"/data-centers/{people.physics.pk}/people/"
    assert browser.post(page, {"username": f"lab\\{names[0]}", "role": "data-center-admin"}).status_code == 302
    peer, sent = Client(), {"username": f"{names[3]}@lab.example", "role": "end-user"}
    assert log_in(names[0], SECRET, peer).status_code == 302
    assert peer.get(page).status_code == 200
    assert browser.post(f"/api/v1{page}?dry_run=1", sent, content_type=JSON).status_code == 200
    assert browser.post(f"/api/v1{page}", sent, content_type=JSON).status_code == 201
    assert log_in(names[3], SECRET).status_code == 401, "who is kept out there is kept out here"
    for _again in range(2):
        given = grantees.give(admin, vm, GrantRequest("user-role", user=names[1].upper()))
    assert (given.subject.username, User.objects.filter(directory=openldap).count()) == (f"lab\\{names[1]}", 3)
    policy.grant(system_actor(), "user-vm-manager", people.alice, vm)
    for who, name in ((people.alice, f"lab\\{names[2]}"), (people.physics_admin, "lab\\nobody-there")):
        with pytest.raises(Invalid, match="There is no user"):
            grantees.give(as_actor(who), vm, GrantRequest("user-role", user=name))
    slapd.stop()
    refused = browser.post(f"/api/v1{page}", sent | {"username": f"lab\\{names[2]}"}, content_type=JSON)
    assert (refused.status_code, refused.json()["directory"]) == (503, "lab")
    again = grantees.give(admin, vm, GrantRequest("user-vm-manager", user=f"lab\\{names[1]}"))
    assert again.subject == given.subject, "who is known here goes on"


def test_who_is_appointed_is_neither_let_in_by_it_nor_taken_for_somebody_of_a_disabled_directory(
    people, openldap, slapd, things
):
    admin, name = as_actor(people.physics_admin), fresh("away")
    slapd.person(name, SECRET)
    assert log_in(name, SECRET).status_code == 302
    User.objects.filter(directory=openldap).update(is_active=False, kept_out=KeptOut.UNASKED)
    given = grantees.give(admin, things["vm"], GrantRequest("user-role", user=f"{name}@lab.example"))
    user = User.objects.get(directory=openldap)
    assert (given.subject, user.is_active, user.kept_out) == (user, False, KeptOut.UNASKED), (
        "his groups were not asked for"
    )

    openldap_row(slapd, name="OTHER", domains=[], enabled=False)
    slapd.person(f"OTHER\\{name}", SECRET)
    with pytest.raises(Invalid, match="There is no user OTHER"):
        grantees.give(admin, things["vm"], GrantRequest("user-role", user=f"OTHER\\{name}"))
