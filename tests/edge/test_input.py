"""What is typed or sent: markup stays text, paths and other people's syntax get nowhere, numbers are numbers."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

import libvirt
import lxml.html
import pytest
import yaml
from django.test import Client

from compute.models import Vm
from portal.common.models import IdempotencyKey
from portal.hypervisors.libvirt.domain_xml import Parts, domain
from portal.hypervisors.libvirt.first_boot import meta_data, user_data
from portal.hypervisors.libvirt.xml import parse
from portal.hypervisors.specs import InitialRun, Marker, VmSpec
from portal.jobs.models import Job
from tenants import quota
from tenants.models.quota import Dimension
from tests.edge.world import World, routes

pytestmark = [pytest.mark.long, pytest.mark.once]

MARKUP = (
    "<script>document.title = 'pwned'</script>",
    "\"'><img src=x onerror=\"document.title='pwned'\">",
    "</dd></dl><svg onload=alert(1)>",
    "]]></description><devices><disk type='block'/></devices><description><![CDATA[",
    "&lt;b&gt; &amp;#60; &nbsp; %3Cscript%3E",
    "{{7*7}} {% debug %} ${7*7} #{7*7}",
    "line one\nline two\r\nline three\ttabbed",
    "\u202etxt.exe \u2066right\u2069 \u200b",
    "εικονική μηχανή \U0001f600 \U0001f468‍\U0001f469‍\U0001f467",
    "  leading and trailing  ",
    "javascript:alert(1)//' onmouseover='alert(1)",
    "x" * 2000,
)
FOREIGN_IDS = (
    "../../etc/passwd", "/etc/passwd", "/images2/x", "%2e%2e%2f", "..\\..\\x", "json:{\"driver\":\"file\"}", "nbd://h/x", "rbd:pool/x", "file:///etc/passwd",
    "{00000000-0000-4000-8000-000000000001}", "urn:uuid:00000000-0000-4000-8000-000000000001", "0" * 32, "00000000-0000-4000-8000-00000000000g",
    "00000000-0000-4000-8000-000000000001\n", " 00000000-0000-4000-8000-000000000001", "\x00", "", "*", "1 OR 1=1", "' OR ''='",
)  # fmt: skip
NO_NUMBERS = (
    -1,
    0,
    -(2**63),
    2**63,
    2**64,
    10**400,
    1.5,
    1e308,
    "256",
    "0x100",
    "NaN",
    [],
    [256],
    {"a": 1},
    True,
    False,
    None,
)
NO_JSON_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e9999999", "-1e9999999", "01", "+1", "1_000", "0x10", "1" * 5000)
NO_PAGE_SIZES = (
    "-1", "0", "NaN", "Infinity", "1e9999999", str(2**63), str(-(2**63)), str(10**400), "1.0", "1,5", "0x10", "1_0", "+1", " 1", "١", "１", "", "all", "[1]", "null",
)  # fmt: skip
GOOD_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPf9b1o7Wv6vD0x6v3GZb3Xq1h4kq0a8m8nq1xkq4W2c ada@lab"
OTHER_SYNTAX = (
    "a\nruncmd: [reboot]", "a: b", "#cloud-config", "--MIME\nContent-Type: text/x-sh", "{% raw %}", "{{ ds }}", "!!python/object:os.system", "*anchor",
    "&anchor x", "a\r\nb", "a\tb", "a\x00b", "a\u2028b", "a\u0085b", "'", '"', "`id`", "$(id)", "a,b", "a;b", "- a", "? a", "|", ">", "%TAG", "@a", "~", "null x", "-a",
)  # fmt: skip


NO_NAMES = (
    "<b>", "a&b", "a'b", 'a"b', "]]>", "a\r\nb", "a\x00b", "{{7*7}}", "\u202eabc", "\U0001f600", "x" * 10_000, "", ".", "..", "a b", "ά", "a/b",
)  # fmt: skip
NO_FIELDS = (
    "xml", "domain_xml", "extra_config", "custom_properties", "devices", "qemu:commandline", "hostdev", "filesystem", "emulator", "loader", "seclabel",
    "interface", "os", "path", "iso",
)  # fmt: skip
NO_PATH_IDS = (
    "..",
    "%2e%2e",
    "%2e%2e%2fetc%2fpasswd",
    "x",
    "%00",
    "{}",
    "0" * 32,
    "%F0%9F%98%80",
    "00000000-0000-4000-8000-000000000001%0a",
)
NO_CURSORS = (
    "x", "eyJ", "W10", "bnVsbA", "WyJhIiwgIngiLCB0cnVlXQ", "W251bGwsIG51bGwsIG51bGxd", "\xff", "A" * 2000, "Ws" * 400, "[[" * 500, "", "a b", "../",
)  # fmt: skip
NO_QUERIES = (
    "page_size=1&page_size=2", "page_size=1&page_size=1", "cursor=a&cursor=a", "page_size[]=1", "pageSize=1", "offset=1", "format=api", "owner=bob",
    "data_center__name=x", "ordering=-hash", "=x",
)  # fmt: skip
ODD_TEXTS = (
    "%00",
    "%ff%fe",
    "-1",
    "1e9999999",
    "%F0%9F%98%80",
    "%3Cscript%3E",
    "x" * 5000,
    "'%20OR%201=1",
    "%25%25",
    "[]",
    "",
)
PAGES = (
    "/?q={}", "/?after_name={}&after=00000000-0000-4000-8000-000000000001", "/?after={}", "/jobs/?before={}", "/login/?next={}", "/machines/new/?x{}={}",
)  # fmt: skip


def wish(world: World, **more: Any) -> dict[str, Any]:
    return {"name": "web-2", "data_center": world.ids["data_center"], "template": world.ids["template"]} | more


def create(world: World, body: Any, *, rank: str = "owner") -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    return world.api(rank).post("/api/v1/vms/", text, content_type="application/json")


def fields(answer: Any) -> set[str]:
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    return {reason.get("field", "").partition(".")[0] for reason in answer.json()["reasons"]}


# -- IN02


def test_IN02_a_description_comes_back_as_it_was_sent_and_is_text_on_every_page(world):  # noqa: N802
    quota.set_limits(world.place.centers["physics"], {Dimension.MACHINES: 100})
    for number, text in enumerate(MARKUP):
        made = create(world, wish(world, name=f"markup-{number}", description=text, run=False))
        assert made.status_code == 202, made.content
        uid = made.json()["vm"]["id"]
        assert made.json()["vm"]["description"] == text
        assert world.api("reader").get(f"/api/v1/vms/{uid}/").json()["description"] == text
        assert Vm.objects.get(pk=uid).description == text
        for rank, path in (
            ("admin", f"/machines/{uid}/"),
            ("root", f"/machines/{uid}/"),
            ("admin", f"/jobs/{made.json()['job']['id']}/"),
        ):
            assert_only_ours(world.browser(rank).get(path).content.decode(), text)


def assert_only_ours(page: str, text: str) -> None:
    """The page has no element, handler or address that came with the text; where it shows it, it shows all of it."""
    tree = lxml.html.document_fromstring(page)
    assert not [script.text for script in tree.iter("script") if (script.text or "").strip()]
    assert all(script.get("src", "").startswith("/static/") for script in tree.iter("script"))
    assert all(image.get("src", "").startswith("/static/") for image in tree.iter("img"))
    handlers = [
        name
        for element in tree.iter()
        if isinstance(element.tag, str)
        for name in element.attrib
        if name.startswith("on")
    ]
    assert handlers == []
    assert not [
        link.get("href") for link in tree.iter("a") if link.get("href", "").strip().lower().startswith("javascript")
    ]
    assert "49" not in text or "{{7*7}}" not in text
    shown = [" ".join(element.text_content().split()) for element in tree.iter("dd")]
    if any("pwned" in one or "7*7" in one for one in shown):
        assert " ".join(text.split()) in shown


def test_IN02_the_wizard_shows_what_was_typed_as_text_too(world):  # noqa: N802
    for text in MARKUP:
        for action in ("review", "preview", "edit"):
            form = wish(world, description=text, name="<b>x</b>" if action == "edit" else "web-2", action=action)
            answer = world.browser("owner").post("/machines/new/", form)
            assert answer.status_code == 200
            assert_only_ours(answer.content.decode(), text)


@pytest.fixture(scope="module")
def test_driver():
    connection = libvirt.open("test:///default")
    yield connection
    connection.close()


@pytest.mark.parametrize("text", MARKUP)
def test_IN02_libvirt_gets_one_description_and_no_new_element(test_driver, text):  # noqa: N802
    def defined(description: str) -> Any:
        spec = VmSpec(
            uid=uuid4(), name=f"vm-{uuid4().hex[:8]}", description=description, memory_mib=64, vcpus=1, disks=()
        )
        xml = domain(spec, Parts(Marker(uuid4(), spec.uid), "tcg", password="x", bare=True))
        found = test_driver.defineXML(xml)
        try:
            return parse(found.XMLDesc())
        finally:
            found.undefine()

    hostile, plain = defined(text), defined("plain")
    # libvirt writes a carriage return as it is, and XML reads it as a line end.
    assert [element.text for element in hostile.findall("description")] == [text.replace("\r\n", "\n")]
    assert [element.tag for element in hostile.iter()] == [element.tag for element in plain.iter()]


# -- IN01, IN03, IN04


def test_IN01_a_name_is_of_the_allowed_letters_by_every_door(world):  # noqa: N802
    for name in NO_NAMES:
        assert fields(create(world, wish(world, name=name))) == {"name"}
    for name in NO_NAMES[::3]:
        form = wish(world, name=name, action="create", key="k" * 32)
        assert world.browser("owner").post("/machines/new/", form).status_code == 400
    assert Vm.objects.count() == 1


def test_IN03_there_is_no_field_for_what_a_hypervisor_reads(world):  # noqa: N802
    for field in NO_FIELDS:
        for value in ("<qemu:commandline/>", {"type": "block"}, ["<hostdev/>"]):
            assert fields(create(world, wish(world) | {field: value})) == {field}
    assert Vm.objects.count() == 1


def test_IN04_only_ids_are_accepted_where_an_id_belongs(world):  # noqa: N802
    for text in FOREIGN_IDS:
        wrong = dict.fromkeys(("data_center", "template"), text) | {"nics": [{"vnic_profile": text}]}
        assert fields(create(world, wish(world) | wrong)) == {"data_center", "template", "nics"}, text
        form = wish(world) | {"template": text, "action": "create", "key": "k" * 32}
        assert world.browser("owner").post("/machines/new/", form).status_code == 400, text
    for value in (1, [world.ids["template"]], {"id": world.ids["template"]}, None, True, 2**200, -5):
        assert fields(create(world, wish(world, template=value))) == {"template"}, value
    assert Vm.objects.count() == 1


def test_IN04_no_address_takes_anything_but_an_id(world):  # noqa: N802
    clients = {True: world.api("root"), False: world.browser("root")}
    for path in {route for route in routes() if "{uid}" in route}:
        for text in NO_PATH_IDS:
            api = path.startswith("/api/")
            ids = dict.fromkeys(re.findall(r"{(\w+)}", path), text)
            answer = clients[api].get(path.format(**ids | {"dimension": "machines"}))
            assert answer.status_code == 404, path
            assert not api or answer["Content-Type"] == "application/problem+json"


# -- IN10


def test_IN10_other_syntax_in_first_boot_data_is_refused_by_every_door(world):  # noqa: N802
    for text in OTHER_SYNTAX:
        three = create(
            world, wish(world, initial_run={"hostname": text, "user_name": text, "ssh_authorized_keys": [text]})
        )
        assert fields(three) == {"initial_run"}
        named = {reason["field"].split(".")[1] for reason in three.json()["reasons"]}
        assert named == {"hostname", "user_name", "ssh_authorized_keys"}, text
    for text in OTHER_SYNTAX[::4]:
        for key in (f"{GOOD_KEY} {text}", f"{GOOD_KEY}\n{text}", f"command={text} {GOOD_KEY}"):
            answer = create(world, wish(world, initial_run={"user_name": "ada", "ssh_authorized_keys": [key]}))
            assert fields(answer) == {"initial_run"}, key
    for text in OTHER_SYNTAX[::4]:
        form = wish(world, user_name=f"ada{text}", ssh_authorized_keys=f"{GOOD_KEY} {text} x", action="create")
        assert world.browser("owner").post("/machines/new/", form | {"key": "k" * 32}).status_code == 400, text
    assert Vm.objects.count() == 1


def test_IN10_nobody_writes_files_or_runs_commands_by_it(world):  # noqa: N802
    for name in ("write_files", "runcmd", "bootcmd", "password", "chpasswd", "users", "user_data", "sudo", "mounts"):
        assert fields(create(world, wish(world, initial_run={name: "x"}))) == {"initial_run"}


@pytest.mark.parametrize("hostname", ["yes", "null", "0x10", "1e3", "on", "no", "123", "a-b"])
def test_IN10_what_is_accepted_parses_to_exactly_the_intended_keys(hostname):  # noqa: N802
    initial = InitialRun(hostname=hostname, user_name="_y-1", ssh_authorized_keys=(GOOD_KEY,))
    user = {"name": "_y-1", "sudo": "ALL=(ALL) NOPASSWD:ALL", "lock_passwd": True, "ssh_authorized_keys": [GOOD_KEY]}
    assert user_data(initial).startswith("#cloud-config\n")
    assert yaml.safe_load(user_data(initial)) == {"hostname": hostname, "ssh_pwauth": False, "users": [user]}
    uid = uuid4()
    assert yaml.safe_load(meta_data(uid, initial)) == {"instance-id": str(uid), "local-hostname": hostname}


# -- IN18


def test_IN18_a_size_is_a_whole_number_within_bounds(world):  # noqa: N802
    for field in ("memory_mib", "vcpus"):
        for value in NO_NUMBERS:
            assert fields(create(world, wish(world) | {field: value})) == {field}, value
        for text in NO_JSON_NUMBERS:
            body = json.dumps(wish(world))[:-1] + f', "{field}": {text}}}'
            assert create(world, body).status_code == 400, text
        for text in ("-1", "0", "NaN", "1e9999999", str(2**63), "9" * 400, "1.5", "[1]", "x"):
            form = wish(world) | {field: text, "action": "create", "key": "k" * 32}
            assert world.browser("owner").post("/machines/new/", form).status_code == 400, text
    assert Vm.objects.count() == 1


def test_IN18_so_is_the_life_of_a_token(world):  # noqa: N802
    good = {"username": "alice", "password": "x", "name": "t"}
    for value in NO_NUMBERS:
        answer = world.api("nobody").post(
            "/api/v1/tokens/", json.dumps(good | {"expires_in": value}), content_type="application/json"
        )
        assert fields(answer) == {"expires_in"}, value


def test_IN18_a_page_size_is_digits_given_once_and_nothing_else_is_asked(world):  # noqa: N802
    api = world.api("owner")
    for noun in ("vms", "jobs", "templates", "tokens", "data-centers"):
        for name, texts in {"page_size": NO_PAGE_SIZES, "cursor": NO_CURSORS}.items():
            for text in texts:
                assert fields(api.get(f"/api/v1/{noun}/", {name: text})) == {name}, (noun, text)
        for query in NO_QUERIES:
            assert fields(api.get(f"/api/v1/{noun}/?{query}")) == {query.split("=")[0]}, query


def test_IN18_a_dry_run_is_0_or_1_where_there_is_one_and_refused_elsewhere(world):  # noqa: N802
    for value in ("2", "yes", "true", "", "01", "-1"):
        answer = world.api("owner").post(
            f"/api/v1/vms/?dry_run={value}", json.dumps(wish(world)), content_type="application/json"
        )
        assert fields(answer) == {"dry_run"}
    assert Vm.objects.count() == 1
    for method, path in (("patch", "/api/v1/users/{user}/"), ("post", "/api/v1/providers/")):
        answer = getattr(world.api("owner"), method)(
            path.format(**world.ids) + "?dry_run=1", content_type="application/json"
        )
        assert fields(answer) == {"dry_run"}
    assert not Job.objects.exclude(status="finished").exists()


def test_IN18_an_idempotency_key_is_short_and_printable(world):  # noqa: N802
    for key in ("x" * 129, "\x80", "a\tb", "\x7f", "é"):
        answer = world.api("owner").post(
            "/api/v1/vms/",
            json.dumps(wish(world)),
            content_type="application/json",
            headers={"Idempotency-Key": key},
        )
        assert fields(answer) == {"Idempotency-Key"}
    assert not IdempotencyKey.objects.exists()


def test_IN18_no_page_breaks_by_its_query(world):  # noqa: N802
    browser = world.browser("owner")
    for text in ODD_TEXTS:
        for page in PAGES:
            answer = browser.get(page.format(text, text))
            assert answer.status_code == (400 if text == "%00" else 200), page
            assert "<script>" not in answer.content.decode()


def test_IN18_no_cookie_breaks_a_door(world):  # noqa: N802
    for cookie in ('"aaaaaaaaa\\000"', "x", "a" * 4000, "\x80", '"\\377\\376"', "a;b=c", "../../etc"):
        headers = {"Cookie": f"sessionid={cookie}; theme={cookie}; django_language={cookie}"}
        for address, expected in (("/", {302, 400}), ("/api/v1/me/", {401, 400}), ("/login/", {200, 400})):
            assert Client().get(address, headers=headers).status_code in expected
