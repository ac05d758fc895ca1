"""People, their roles and shares, and local accounts, through the pages."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.formats import date_format

from portal.events.models import Event
from tenants import quota
from tenants.models import DataCenter, DataCenterUserGrant, QuotaAccount, User
from tenants.models.quota import Dimension

PASSWORD = "Quiet rivers run deep"


def physics() -> DataCenter:
    return DataCenter.objects.get(name="physics")


def test_admin_adds_somebody_gives_a_share_and_takes_the_role_back(demo):
    client, charlie = demo.browser("physics-admin"), demo.user("charlie")
    here = f"/data-centers/{physics().pk}/people/"
    assert client.post(here, {"username": "CHARLIE", "role": "end-user"}).headers["Location"] == here
    assert "Charlie" in client.get(here).content.decode()
    day = timezone.localdate() + timedelta(days=3)
    client.post(here, {"username": "charlie", "role": "end-user", "ends_on": day.isoformat()})
    end = DataCenterUserGrant.objects.get(user=charlie, content_object=physics()).expires_at
    assert timezone.localtime(end).date() == day
    assert f"until {date_format(day, 'SHORT_DATE_FORMAT')}" in client.get(here).content.decode()
    past = client.post(here, {"username": "charlie", "role": "end-user", "ends_on": "2020-01-01"})
    assert 'id="ends_on-error"' in past.content.decode()
    assert client.post(f"{here}{charlie.pk}/share/", {"machines": "2", "storage_gib": ""}).headers["Location"] == here
    assert quota.limits(physics(), charlie.pk)[Dimension.MACHINES] == 2
    assert quota.limits(physics(), charlie.pk)[Dimension.STORAGE_GIB] is None
    client.post(f"{here}{charlie.pk}/remove/", {"role": "end-user"})
    assert not DataCenterUserGrant.objects.filter(user=charlie, content_object=physics()).exists()
    assert client.get(f"{here}{charlie.pk}/share/").status_code == HTTPStatus.NOT_FOUND


def test_unknown_user_and_role_are_refused_beside_their_fields(demo):
    client, here = demo.browser("physics-admin"), f"/data-centers/{physics().pk}/people/"
    answer = client.post(here, {"username": "nobody", "role": "end-user"})
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert "There is no user nobody" in answer.content.decode()
    for role in ("super-admin", "user-role", "<b>"):
        page = client.post(here, {"username": "charlie", "role": role})
        assert page.status_code == HTTPStatus.BAD_REQUEST
        assert 'id="role-error"' in page.content.decode()


def test_a_share_over_somebody_elses_change_is_refused_and_bad_figures_beside_their_field(demo):
    client, alice = demo.browser("physics-admin"), demo.user("alice")
    share = f"/data-centers/{physics().pk}/people/{alice.pk}/share/"
    seen = client.get(share).context["form"]["version"].value()
    quota.set_limits(physics(), {Dimension.MACHINES: 9}, user_uid=alice.pk)
    assert client.post(share, {"machines": "1", "version": seen}).status_code == HTTPStatus.PRECONDITION_FAILED
    for figure in ("-1", "many", "9" * 30):
        answer = client.post(share, {"machines": figure})
        assert answer.status_code == HTTPStatus.BAD_REQUEST
        assert 'id="machines-error"' in answer.content.decode()
    assert quota.limits(physics(), alice.pk)[Dimension.MACHINES] == 9


def test_super_admin_sets_the_limits_of_a_data_center(demo):
    client = demo.browser("admin")
    center = f"/data-centers/{physics().pk}/"
    assert client.post(f"{center}quota/", {"machines": "7"}).headers["Location"] == center
    assert quota.limits(physics())[Dimension.MACHINES] == 7


def test_people_are_paged_and_asked_for_in_a_number_of_queries_that_does_not_grow(demo):
    client, here = demo.browser("physics-admin"), f"/data-centers/{physics().pk}/people/"
    client.get(here)
    few = _queries(client, here)
    grant = DataCenterUserGrant.objects.filter(user=demo.user("alice")).get()
    people = User.objects.bulk_create(User(username=f"zz-{n:03}", password="!") for n in range(120))
    DataCenterUserGrant.objects.bulk_create(
        DataCenterUserGrant(user=user, permission=grant.permission, content_object=physics()) for user in people
    )
    QuotaAccount.objects.bulk_create(
        QuotaAccount(data_center=physics(), subject_kind="user", subject_uid=u.pk, dimension="machines") for u in people
    )
    assert _queries(client, here) <= few
    seen, after = [], ""
    while True:
        context = client.get(here, {"after": after}).context
        seen += [person.user.username for person in context["people"]]
        after = context["more"]
        if not after:
            break
    assert len(seen) == len(set(seen)) == DataCenterUserGrant.objects.filter(content_object=physics()).count()


def test_super_admin_creates_a_user_who_logs_in_and_changes_his_password(demo, client):
    admin = demo.browser("admin")
    page = admin.post("/users/new/", {"username": "erna", "password": PASSWORD, "display_name": "Erna"}, follow=True)
    assert "Erna was created" in page.content.decode()
    erna = User.objects.get(username="erna")
    assert client.login(username="erna", password=PASSWORD)
    own = f"/users/{erna.pk}/password/"
    new = {"password": "other words are fine", "again": "other words are fine"}
    assert "(optional)" not in client.get(own).content.decode(), "all of them are asked for"
    for slip, field in (
        ({"present": "guessed"}, "present"),
        ({"present": ""}, "present"),
        ({"present": PASSWORD, "again": "other words are fin"}, "again"),
    ):
        wrong = client.post(own, new | slip)
        assert wrong.status_code == HTTPStatus.BAD_REQUEST
        assert f'id="{field}-error"' in wrong.content.decode()
    assert client.post(own, {"present": PASSWORD} | new).status_code == HTTPStatus.FOUND
    assert client.get("/").status_code == HTTPStatus.FOUND, "logged out"
    erna.refresh_from_db()
    assert erna.check_password("other words are fine")
    assert PASSWORD not in str(list(Event.objects.values()))


def test_weak_password_bad_and_taken_name_are_refused_beside_their_fields(demo):
    admin = demo.browser("admin")
    for values, field in (
        ({"username": "erna", "password": "tiny-word"}, "password"),
        ({"username": "a b", "password": PASSWORD}, "username"),
        ({"username": "Alice", "password": PASSWORD}, "username"),
    ):
        answer = admin.post("/users/new/", values)
        assert answer.status_code == HTTPStatus.BAD_REQUEST
        assert f'id="{field}-error"' in answer.content.decode()
        assert values["password"] not in answer.content.decode()


def test_disabled_user_is_out_at_once_and_nobody_disables_himself(demo):
    admin, alice = demo.browser("admin"), demo.browser("alice")
    uid = demo.user("alice").pk
    admin.post(f"/users/{uid}/disable/")
    assert alice.get("/").status_code == HTTPStatus.FOUND
    assert admin.get("/users/", headers={"Accept-Language": "el"}).content.decode().count("ανενεργός") == 1
    admin.post(f"/users/{uid}/enable/")
    assert demo.browser("alice").get("/").status_code == HTTPStatus.OK
    assert admin.post(f"/users/{demo.user('admin').pk}/disable/").status_code == HTTPStatus.CONFLICT


def test_users_are_found_by_name(demo):
    page = demo.browser("admin").get("/users/?q=ALI").context
    assert [user.username for user in page["users"]] == ["alice"]


def _queries(client, path: str) -> int:
    with CaptureQueriesContext(connection) as caught:
        assert client.get(path).status_code == HTTPStatus.OK
    return len(caught)
