"""A super-admin connects a directory, gives its groups roles, and looks at what a sync would do. On the lab's OpenLDAP."""

from __future__ import annotations

import re
import time
from html import unescape
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from portal.common.actor import system_actor
from portal.events.models import Event
from portal.hypervisors.models import Provider
from tenants import policy
from tenants.models import Directory, DirectoryGroup, Role, User
from tests.compute.console.certificates import Authority
from tests.lab import samba_server
from tests.lab.slapd_server import GROUPS, PEOPLE, PORTAL, PORTAL_PASSWORD, SlapdServer
from tests.tenants.directory.conftest import follow, fresh, log_in, openldap_row, token

SECRET = "Prima-vera-1642"


def form_of(server: SlapdServer, **more: str) -> dict[str, str]:
    return {
        "name": "lab",
        "kind": "openldap",
        "urls": server.ldaps_url,
        "starts_tls": "no",
        "ca_pem": server.ca_pem.replace("\n", "\r\n"),
        "bind_dn": PORTAL,
        "password": PORTAL_PASSWORD,
        "base_dn": PEOPLE,
        "group_base_dn": GROUPS,
        "domains": "lab.example, uni.example",
        "brake_percent": "30",
        "action": "save",
    } | more


def steps_of(answer) -> dict[str, str]:
    return dict(re.findall(r'data-step="(\w+)" data-status="(\w+)"', answer.content.decode()))


def test_a_directory_is_tried_and_then_connected_with_the_password_given_once(boss, slapd):
    name = fresh("ada")
    slapd.person(name, SECRET)
    slapd.group(fresh("group"), ["cn=nobody,dc=lab,dc=example"])
    tried = boss.post("/directories/new/", form_of(slapd, action="test", user=name))
    assert set(steps_of(tried).values()) == {"ok"}
    assert list(steps_of(tried)) == ["name", "port", "tls", "certificate", "bind", "base", "groups", "user"]
    assert not Directory.objects.exists()
    assert PORTAL_PASSWORD not in tried.content.decode()
    kept = re.search(r'name="kept" value="([^"]+)"', tried.content.decode())[1]
    made = boss.post("/directories/new/", form_of(slapd, password="", kept=kept))
    row = Directory.objects.get()
    assert (made.status_code, made.url) == (302, f"/directories/{row.pk}/")
    assert (row.domains, row.urls) == (["lab.example", "uni.example"], [slapd.ldaps_url])
    assert PORTAL_PASSWORD not in row.sealed_password
    assert log_in(f"{name}@uni.example", SECRET).status_code == 302


def test_SE01_a_forms_sealed_password_goes_to_no_other_server_and_person_and_has_an_end(  # noqa: N802
    boss, slapd, monkeypatch
):
    def tried(by: Client = boss, **more: str) -> list[tuple[str, str]]:
        answer = by.post("/directories/new/", form_of(slapd, password="", action="test", kept=kept, **more))
        return list(steps_of(answer).items()) or [("refused", str('id="password-error"' in answer.content.decode()))]

    page = boss.post("/directories/new/", form_of(slapd, action="test")).content.decode()
    kept = re.search(r'name="kept" value="([^"]+)"', page)[1]
    assert tried(name="other")[-1][1] == "ok"
    elsewhere = (
        {"urls": "ldaps://127.0.0.1:1"},
        {"ca_pem": ""},
        {"bind_dn": "cn=me,dc=lab"},
        {"kind": "active_directory"},
    )
    assert [tried(**change) for change in elsewhere] == [[("refused", "True")]] * 4
    bare = boss.post("/directories/new/", form_of(slapd, action="test", ca_pem="")).content.decode()
    kept = re.search(r'name="kept" value="([^"]+)"', bare)[1]
    assert tried()[-1][1] == "ok", "with the authority that the first try missed"
    begun = time.time()
    monkeypatch.setattr("tenants.views.directories.time", SimpleNamespace(time=lambda: begun + 31 * 60))
    assert tried() == [("refused", "True")]


def test_an_active_directory_is_connected_by_the_form_and_its_nested_group_runs_one_data_center_alone(
    people, boss, samba
):
    name, inner, outer = fresh("ada"), fresh("inner"), fresh("outer")
    samba.group(outer, [samba.group(inner, [samba.person(name, SECRET)])])
    values = {
        "name": "LAB",
        "kind": "active_directory",
        "urls": samba.ldaps_url,
        "starts_tls": "no",
        "ca_pem": samba.ca_pem,
        "bind_dn": samba_server.PORTAL,
        "password": samba_server.PORTAL_PASSWORD,
        "base_dn": samba_server.SUFFIX,
        "group_base_dn": "",
        "domains": "lab.example",
        "brake_percent": "30",
        "action": "save",
    }
    assert boss.post("/directories/new/", values).status_code == 302
    page = f"/directories/{Directory.objects.get().pk}/"
    given = {"group": outer, "role": "data-center-admin", "target": str(people.physics.pk)}
    assert boss.post(page, given).status_code == 302

    admin = Client()
    assert log_in(f"{name}@lab.example", SECRET, admin).status_code == 302

    seen = admin.get("/api/v1/data-centers/").json()["results"]
    assert [each["name"] for each in seen] == [people.physics.name]
    assert admin.get(f"/data-centers/{people.physics.pk}/people/").status_code == 200
    assert admin.get("/directories/").status_code == 403


def test_a_second_factor_is_asked_of_people_of_a_directory_by_the_rank_of_their_group(people, boss, openldap, slapd):
    name, group = fresh("ada"), fresh("admins")
    slapd.group(group, [slapd.person(name, SECRET)])
    page = f"/directories/{openldap.pk}/"
    boss.post(page, {"group": group, "role": "data-center-admin", "target": str(people.physics.pk)})
    Role.objects.filter(codename="data-center-admin").update(needs_factor=True)

    refused = token(name, SECRET)
    client = Client()
    assert log_in(name, SECRET, client).status_code == 302

    assert (refused.status_code, "set it up first" in refused.json()["detail"]) == (403, True)
    assert client.get("/")["Location"] == "/factor/"
    assert client.get("/api/v1/vms/").json()["code"] == "factor_owed"


def wrong(change: str, server: SlapdServer) -> dict[str, str]:
    return {
        "name": {"urls": "ldaps://no-such-host.invalid"},
        "port": {"urls": "ldaps://127.0.0.1:1"},
        "tls": {"urls": f"ldaps://127.0.0.1:{server.port}"},
        "certificate": {"ca_pem": Authority.make("Somebody else").pem},
        "bind": {"password": "not-this-one"},
        "base": {"base_dn": "ou=typo,dc=lab,dc=example"},
        "groups": {"group_base_dn": "ou=typo,dc=lab,dc=example"},
    }[change]


@pytest.mark.parametrize("step", ["name", "port", "tls", "certificate", "bind", "base", "groups"])
def test_the_test_says_which_step_fails_and_nothing_is_stored(boss, slapd, step):
    slapd.person(fresh("somebody"), SECRET)
    answer = boss.post("/directories/new/", form_of(slapd, **wrong(step, slapd)))
    assert answer.status_code == 409
    found = steps_of(answer)
    assert (list(found)[-1], found.pop(step)) == (step, "failed")
    assert set(found.values()) <= {"ok"}
    assert not Directory.objects.exists()
    assert Event.objects.filter(code="DIRECTORY_CONNECT_REFUSED").count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a b"), ("urls", "ldap://ldap.example"), ("urls", "ldaps://u:p@h"), ("urls", "ldaps://h:99999"),
        ("ca_pem", "no pem"), ("bind_dn", " "), ("password", ""), ("base_dn", "no dn"), ("group_base_dn", "no dn"),
        ("domains", "a b"), ("login_attribute", "uid)(a=*"), ("brake_percent", "0"), ("kind", "x"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_is_named(boss, slapd, field, value):
    answer = boss.post("/directories/new/", form_of(slapd, **{field: value}))
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.content.decode()
    assert not Directory.objects.exists()


@pytest.mark.parametrize("action", ["save", "test"])
@pytest.mark.parametrize(
    "change",
    [
        {"urls": "ldaps://127.0.0.1:1"},
        {"urls": "ldap://127.0.0.1:1", "starts_tls": "yes"},
        {"ca_pem": Authority.make("Somebody else").pem},
        {"kind": "active_directory"},
        {"bind_dn": f"cn=other,{PORTAL}"},
    ],
)
def test_the_stored_password_goes_nowhere_but_where_it_was_given_for(
    boss, openldap, slapd, monkeypatch, action, change
):
    monkeypatch.setattr("tenants.directory.connection.Channel", lambda *_, **__: pytest.fail("somebody was asked"))
    before = Directory.objects.values().get()
    page = f"/directories/{openldap.pk}/edit/"
    answer = boss.post(page, form_of(slapd, action=action, password="", **change))
    assert (answer.status_code, 'id="password-error"' in answer.content.decode()) == (400, True)
    body = {"urls": change["urls"].split()} if "urls" in change else {}
    body = change | body | ({"starts_tls": True} if "starts_tls" in change else {})
    patched = boss.patch(f"/api/v1/directories/{openldap.pk}/", body, content_type="application/json")
    assert patched.status_code == 400
    assert [(one["code"], one["field"]) for one in patched.json()["reasons"]] == [("password_missing", "password")]
    assert Directory.objects.values().get() == before


def test_other_servers_are_connected_with_the_password_given_anew(boss, openldap, slapd):
    slapd.person(fresh("somebody"), SECRET)
    slapd.group(fresh("group"), ["cn=nobody,dc=lab,dc=example"])
    page, servers = f"/directories/{openldap.pk}/edit/", f"{slapd.ldaps_url} {slapd.ldaps_url}/"
    assert boss.post(page, form_of(slapd, urls=servers)).status_code == 302
    assert len(Directory.objects.get().urls) == 2


def test_a_groups_role_is_given_seen_in_a_simulation_and_taken(people, boss, openldap, slapd):
    name, group = fresh("grace"), fresh("navy")
    dn = slapd.group(group, [slapd.person(name, SECRET, displayName="Grace Hopper")])
    page = f"/directories/{openldap.pk}/"
    given = boss.post(page, {"group": group, "role": "data-center-admin", "target": str(people.physics.pk)})
    assert given.status_code == 302
    assert dn in boss.get(page).content.decode()
    body = {"group": group, "role": "data-center-admin", "target": str(people.physics.pk)}
    assert boss.post(f"/api/v1{page}groups/", body, content_type="application/json").json()["dn"] == dn
    simulated = boss.get(f"{page}simulate/?username={name}").content.decode()
    assert "Grace Hopper" in simulated
    assert f"({group})" in simulated
    assert boss.get(f"{page}simulate/?username=nobody-there").status_code == 404
    refused = boss.post(page, {"group": "none-such", "role": "end-user", "target": "system"})
    assert (refused.status_code, 'id="group-error"' in refused.content.decode()) == (400, True)
    row = DirectoryGroup.objects.get()
    role = {"role": "data-center-admin", "target": str(people.physics.pk)}
    assert boss.post(f"{page}groups/{row.pk}/remove/", role).status_code == 302
    assert not DirectoryGroup.objects.exists()


def test_people_and_groups_are_named_on_a_directorys_page_as_at_log_in(people, boss, openldap, slapd):
    name, group = fresh("alan"), fresh("enigma")
    slapd.group(group, [slapd.person(name, SECRET, displayName="Alan Turing")])
    openldap_row(slapd, name="OTHER", domains=["other.example"], is_default=True)
    page = f"/directories/{openldap.pk}/"

    def looked(typed):
        answer = boss.get(f"{page}simulate/", {"username": typed})
        _before, _error, told = unescape(answer.content.decode()).partition('id="username-error">')
        return answer.status_code, "Alan Turing" in answer.content.decode(), told.partition("<")[0]

    for typed in (name, f"LAB\\{name}", f"lab.example\\{name}", f" {name}@LAB.example "):
        assert looked(typed) == (200, True, "")
    elsewhere = "This name means somebody of the directory OTHER. Look for it there."
    assert looked(f"other\\{name}") == looked(f"{name}@other.example") == (400, False, elsewhere)
    assert looked(f".\\{name}") == (400, False, "This name means a local account.")
    assert looked("lab\\nobody-there") == (404, False, "The directory has no such account.")
    [found] = boss.get(page, {"group_like": f"LAB\\{group[:-1]}"}).context["looked"].groups
    assert found.group.name == group
    given = boss.post(page, {"group": f"lab\\{group}", "role": "end-user", "target": str(people.physics.pk)})
    assert (given.status_code, DirectoryGroup.objects.get().name) == (302, group)


def test_a_simulation_tells_the_way_into_each_group_all_roles_and_what_would_be_seen(people, boss, openldap, slapd):
    name, inner, outer = fresh("ada"), fresh("inner"), fresh("outer")
    slapd.group(outer, [slapd.group(inner, [slapd.person(name, SECRET)])])
    page = f"/directories/{openldap.pk}/"
    boss.post(page, {"group": outer, "role": "data-center-admin", "target": str(people.physics.pk)})
    users, groups = User.objects.count(), Group.objects.count()

    told = simulated(boss, page, name)

    assert {each["name"]: each["way"] for each in told["groups"]} == {inner: [inner], outer: [inner, outer]}
    [role] = told["roles"]
    assert (role["role"], role["id"], role["group"]) == ("data-center-admin", str(people.physics.pk), outer)
    assert {"kind": "data_center", "count": 1} in told["sees"]
    assert (told["why"], told["is_disabled"], told["owes_code"]) == ("", False, False)
    assert f"{inner} → {outer}" in boss.get(f"{page}simulate/?username={name}").content.decode()
    assert (User.objects.count(), Group.objects.count()) == (users, groups), "a simulation keeps nothing"
    # What he was given himself, what asks for a code, and that he is shut out here.
    assert log_in(name, SECRET).status_code == 302
    user = User.objects.get(directory=openldap)
    policy.grant(system_actor(), "end-user", user, people.physics)
    Role.objects.filter(codename="data-center-admin").update(needs_factor=True)
    User.objects.filter(pk=user.pk).update(is_active=False)
    told = simulated(boss, page, name)
    assert sorted((each["role"], each["group"]) for each in told["roles"]) == [
        ("data-center-admin", outer),
        ("end-user", ""),
    ]
    assert (told["is_disabled"], told["owes_code"]) == (True, True)
    assert "disabled the account here" in told["why"]
    assert not User.objects.get(pk=user.pk).is_active


def simulated(boss, page, name):
    answer = boss.post(f"/api/v1{page}simulate/", {"username": name}, content_type="application/json")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_the_sync_is_shown_as_a_difference_and_done_when_told(people, boss, openldap, slapd, monkeypatch):
    name, group = fresh("linus"), fresh("kernel")
    dn = slapd.person(name, SECRET)
    group_dn = slapd.group(group, [dn])
    page = f"/directories/{openldap.pk}/"
    boss.post(page, {"group": group, "role": "end-user", "target": str(people.physics.pk)})
    assert log_in(name, SECRET).status_code == 302
    assert "Nothing: all is as the directory says." in boss.get(f"{page}sync/").content.decode()
    slapd.change(group_dn, member=["cn=nobody,dc=lab,dc=example"])
    shown = boss.get(f"{page}sync/").content.decode()
    assert f"− {group}" in shown
    lost = f"{Role.objects.get(codename='end-user').name}: {people.physics.name}"
    assert lost in re.sub(r"\s+", " ", shown), "who loses what, not only which group"
    [told] = boss.get(f"/api/v1{page}sync/").json()["groups"]
    assert (told["group"], [(role["role"], role["name"]) for role in told["roles"]]) == (
        group,
        [("end-user", people.physics.name)],
    )
    with monkeypatch.context() as patched:
        patched.setattr("tenants.views.directories.MOST_SHOWN", 0)
        assert "And 1 more person." in boss.get(f"{page}sync/").content.decode()
    user = User.objects.get(directory=openldap)
    assert user.groups.exists()
    assert boss.post(f"{page}sync/", {"look": look_in(shown)}).status_code == 302
    assert not user.groups.exists()


def look_in(page: str) -> str:
    """What the page has posted back of what it shows."""
    return re.search(r'name="look" value="([^"]*)"', page)[1]


def test_disabling_logs_its_people_out_and_enabling_lets_them_in(boss, openldap, slapd):
    stays, leaves, away = names = [fresh("dennis"), fresh("left"), fresh("away")]
    dns = {name: slapd.person(name, SECRET) for name in names}
    browsers = {name: Client() for name in names}
    for name, browser in browsers.items():
        log_in(name, SECRET, browser)
    browsers[away].logout()

    def told() -> list[int]:
        return [browsers[name].get("/api/v1/me/").status_code for name in (stays, leaves)]

    page = f"/directories/{openldap.pk}/"
    assert boss.post(f"{page}disable/").status_code == 302
    assert told() == [401, 401]
    slapd.remove(dns[leaves])
    for _again in range(2):
        assert boss.post(f"{page}enable/").status_code == 302
        assert told() == [401, 401]  # a log-in of before is worth nothing until the directory was asked
        assert list(User.objects.filter(directory=openldap, is_active=True)) == [
            User.objects.get(username=f"lab\\{away}")
        ]
        boss.post(f"{page}disable/")
        assert not User.objects.filter(directory=openldap, is_active=True).exists()
    boss.post(f"{page}enable/")
    follow(openldap)
    assert told() == [200, 401]
    assert User.objects.get(username=f"lab\\{leaves}").kept_out == "gone"


def test_one_whom_people_came_from_is_not_removed(boss, openldap, slapd):
    page = f"/directories/{openldap.pk}/"
    name = fresh("ken")
    slapd.person(name, SECRET)
    log_in(name, SECRET)
    assert "1 account came from it" in boss.get(f"{page}remove/").content.decode()
    assert boss.post(f"{page}remove/").status_code == 409
    User.objects.filter(directory=openldap).delete()
    assert boss.post(f"{page}remove/").status_code == 302
    assert not Directory.objects.exists()
    assert not Provider.objects.exists()


def test_an_edit_keeps_the_password_and_refuses_what_another_answers_to(boss, openldap, slapd):
    page = f"/directories/{openldap.pk}/edit/"
    version = re.search(r'name="version" value="([^"]+)"', boss.get(page).content.decode())[1]
    slapd.person(fresh("somebody"), SECRET)
    edit = form_of(slapd, name="renamed", password="", version=version)
    assert boss.post(page, edit).status_code == 302
    assert Directory.objects.get().name == "renamed"
    assert boss.post(page, edit).status_code == 412
    again = boss.post("/directories/new/", form_of(slapd, name="other", domains="uni.EXAMPLE"))
    assert (again.status_code, 'id="domains-error"' in again.content.decode()) == (400, True)
