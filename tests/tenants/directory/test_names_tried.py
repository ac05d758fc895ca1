"""Who is meant by a name that is typed into a directory's form or its simulation: whoever a log-in of that name would be."""

from __future__ import annotations

from django.utils.html import escape

from tenants.models import User
from tests.tenants.directory.conftest import fresh, openldap_row
from tests.tenants.directory.test_pages import SECRET, form_of, steps_of


def test_a_try_and_a_simulated_log_in_take_a_name_as_a_log_in_does(boss, slapd):
    name, local = fresh("ada"), fresh("grace")
    for one in (name, local):
        slapd.person(one, SECRET)
    User.objects.create_user(local, password=SECRET)
    row, _other = openldap_row(slapd, is_default=True), openldap_row(slapd, name="other", domains=["other.example"])
    address = f"/api/v1/directories/{row.pk}/simulate/"
    spellings = {
        name: "",
        f"lab\\{name}": "",
        f"{name}@lab.example": "",
        f"lab\\{local}": "",
        f".\\{name}": "local account",
        local: f"logs in as lab\\{local}",
        f"other\\{name}": "directory other",
        f"{name}@other.example": "directory other",
    }
    for typed, why in spellings.items():
        tried = boss.post(f"/directories/{row.pk}/edit/", form_of(slapd, name="lab", action="test", user=typed))
        assert steps_of(tried)["user"] == ("failed" if why else "ok"), typed
        assert escape(why) in tried.content.decode(), typed
        simulated = boss.post(address, {"username": typed}, content_type="application/json")
        assert simulated.status_code == (400 if why else 200), typed
        assert why in simulated.json().get("detail", ""), typed
        new = boss.post("/directories/new/", form_of(slapd, name="third", domains="", action="test", user=typed))
        assert (steps_of(new)["user"] == "failed") == ("\\" in typed or "@" in typed or typed == local), typed
