"""SE03: a real installation does not start with what is not fit for it, and says what to do; its examples are fit."""

from __future__ import annotations

import base64
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import Client

from portal.common.actor import system_actor
from portal.common.errors import Invalid
from portal.serve import MOST_CONNECTIONS, share_connections
from portal.settings.base import database
from tenants.models import User
from tenants.services.users import create_user

REPOSITORY = Path(settings.BASE_DIR)
SYSTEMD = REPOSITORY / "deploy" / "systemd"
KEY = "kJ3-5fQz8W_vT1nR6yLbC0xPdG7hMsA2uEoIq9ZtFwNjVrXcYkHlBgSmDpUeOaTi"
SEAL = base64.urlsafe_b64encode(bytes(range(32))).decode()  # the same for each process: it is in the names of tests
GOOD = {
    "DJANGO_SETTINGS_MODULE": "portal.settings.production",
    "DATA_DIR": "/nowhere",
    "SECRET_KEY": KEY,
    "SEAL_KEYS": SEAL,
    "DATABASE_URL": "postgres://stegi:database-password@db.example/stegi",
    "REDIS_URL": "rediss://:redis-password@redis.example:6379/0",
    "ALLOWED_HOSTS": "portal.example",
    "PUBLIC_ORIGINS": "https://portal.example",
    "TRUSTED_PROXIES": "127.0.0.1",
}
NO_KEYS = (
    "",
    "secret",
    "x" * 64,
    "ab" * 40,
    KEY[:49],
    "django-insecure-" + KEY,
    settings.SECRET_KEY,
    "not-a-secret-no-server-runs-with-this" + KEY,
)
REFUSED = (
    *(("SECRET_KEY", key, "token_urlsafe") for key in NO_KEYS),
    *(("SECRET_KEY_FALLBACKS", f"{KEY} {key}", "take it out") for key in NO_KEYS if key and " " not in key),
    *(("SEAL_KEYS", keys, "generate_key") for keys in ("", "x", SEAL[:-2], f"{SEAL} x", KEY)),
    *(("DEBUG", value, "take it out") for value in ("1", "true", "yes", "on", "True")),
    *(("ALLOWED_HOSTS", hosts, "replace '*'") for hosts in ("*", "portal.example,*", "*.example")),
    *(("ALLOWED_HOSTS", hosts, "add portal.example") for hosts in ("", "other.example", "127.0.0.1,localhost,[::1]")),
    *(("REDIS_URL", url, "unix:///PATH") for url in ("redis://127.0.0.1:6379/0", "rediss://redis.example", "redis://user@h:6379", "redis://:@h:6379", "")),
    *(("DATABASE_URL", url, "postgres://USER:PASSWORD@") for url in ("postgres://stegi@db.example/stegi", "postgres://stegi:@db.example/stegi")),
    *(("PUBLIC_ORIGINS", origins, "https://portal.example") for origins in ("http://portal.example", "https://portal.example,http://portal.example", "https://portal.example/x", "portal.example", "https://*.example")),
    *(("TRUSTED_PROXIES", nets, "127.0.0.1") for nets in ("0.0.0.0/0", "::/0", "10.0.0.0/8", "proxy", "127.0.0.1,x")),
)  # fmt: skip
ACCEPTED = (
    {"REDIS_URL": "unix:///run/redis/redis-server.sock"},
    {"DATABASE_URL": "postgres://stegi@%2Frun%2Fpostgresql/stegi"},
    {"DATABASE_URL": "sqlite:////var/lib/stegi/portal.sqlite3"},
    {"ALLOWED_HOSTS": ".portal.example,portal.example"},
    {"PUBLIC_ORIGINS": "https://portal.example:8443", "TRUSTED_PROXIES": ""},
    {"PUBLIC_ORIGINS": "https://[2001:db8::1]", "ALLOWED_HOSTS": "[2001:db8::1]"},
    {"SEAL_KEYS": f"{Fernet.generate_key().decode()} {SEAL}", "SECRET_KEY_FALLBACKS": KEY[::-1]},
)


@contextmanager
def production(environment: dict[str, str]) -> Iterator[ModuleType]:
    """The settings as a process with this environment would have them."""
    kept = {name: sys.modules.pop(name, None) for name in ("portal.settings.base", "portal.settings.production")}
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield importlib.import_module("portal.settings.production")
    finally:
        os.environ.clear()
        os.environ.update(before)
        for name, module in kept.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


@pytest.mark.parametrize(("name", "value", "remedy"), REFUSED)
def test_SE03_what_is_not_fit_is_refused_by_name_with_its_remedy_and_without_its_value(name, value, remedy):  # noqa: N802
    with pytest.raises(ImproperlyConfigured) as caught, production(GOOD | {name: value}):
        pass
    said = str(caught.value)
    assert name in said
    assert remedy in said
    assert "redis-password" not in said
    assert "database-password" not in said
    assert name != "SECRET_KEY" or len(value) < 8 or value not in said
    others = {other for other in GOOD if re.search(rf"(?<![\w/]){other}\b", said)} - {name}
    assert others <= {"PUBLIC_ORIGINS", "ALLOWED_HOSTS"}, said


@pytest.mark.parametrize("changes", ACCEPTED)
def test_SE03_what_is_fit_starts(changes):  # noqa: N802
    with production(GOOD | changes) as made:
        assert (made.DEBUG, made.SESSION_COOKIE_SECURE, made.CSRF_COOKIE_SECURE) == (False, True, True)
        assert (made.SECURE_SSL_REDIRECT, made.SESSION_COOKIE_HTTPONLY, made.X_FRAME_OPTIONS) == (True, True, "DENY")
        assert made.SECURE_HSTS_SECONDS >= 31536000
        assert (made.HYPERVISOR_DRIVERS, made.FAULT_POINTS_DIR) == ({}, "")
        assert [hasher for hasher in getattr(made, "PASSWORD_HASHERS", []) if "MD5" in hasher] == []


def test_SE03_everything_is_said_at_once():  # noqa: N802
    bad = {"DEBUG": "1", "SECRET_KEY": "x", "SEAL_KEYS": "", "ALLOWED_HOSTS": "*", "REDIS_URL": "redis://h"}
    with pytest.raises(ImproperlyConfigured) as caught, production(GOOD | bad):
        pass
    assert all(name in str(caught.value) for name in bad)


@pytest.mark.parametrize(
    ("name", "value"),
    [("LOG_LEVEL", "CHATTY"), ("DEBUG", "maybe"), ("SECRET_KEY_FILE", "/nowhere/key"), ("SSL_REDIRECT", "2")],
)
def test_SE03_a_value_that_means_nothing_is_refused_by_name(name, value):  # noqa: N802
    with pytest.raises(ImproperlyConfigured, match=name), production(GOOD | {name: value}):
        pass


def test_the_web_server_alone_shares_its_connections_among_its_threads(monkeypatch):
    address = GOOD["DATABASE_URL"]
    monkeypatch.delenv("DATABASE_POOL", raising=False)
    with production(GOOD) as worker:
        assert "pool" not in worker.DATABASES["default"]["OPTIONS"]
        assert worker.DATABASES["default"]["CONN_MAX_AGE"] > 0
    monkeypatch.setenv("DATABASE_POOL", "")  # so that it is put back
    share_connections()
    web = database(address, pool=int(os.environ["DATABASE_POOL"]))
    assert (web["CONN_MAX_AGE"], web["OPTIONS"]["pool"]["max_size"]) == (0, MOST_CONNECTIONS)
    assert web["CONN_HEALTH_CHECKS"]  # after a restart of the database the pool's old connections are let go
    assert "pool" not in database("sqlite:////tmp/a.sqlite3", pool=5)["OPTIONS"]


@pytest.mark.long
@pytest.mark.parametrize(
    "command", [["-m", "portal.serve", "--port=1"], ["-m", "celery", "-A", "portal", "worker"], ["manage.py", "watch"]]
)
def test_SE03_no_process_starts_with_it(command):  # noqa: N802
    environment = GOOD | {"PATH": os.environ["PATH"], "SECRET_KEY": "short", "DEBUG": "1"}
    done = subprocess.run(
        [sys.executable, *command],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "SECRET_KEY must be random" in done.stderr
    assert "DEBUG must be off" in done.stderr
    assert "password" not in done.stdout + done.stderr


# -- the examples of deploy/


def example(folder: Path) -> dict[str, str]:
    """The environment of the units, as an operator makes it by docs/operators.md."""
    lines = [
        line for line in (SYSTEMD / "stegi.env.example").read_text().splitlines() if line and not line.startswith("#")
    ]
    found = dict(line.split("=", 1) for line in lines)
    secrets = {"secret_key": KEY, "seal_keys": SEAL, "database_url": GOOD["DATABASE_URL"]}
    for name, value in secrets.items():
        (folder / name).write_text(value + "\n")
    return {
        name: value.replace("/etc/stegi", str(folder)).replace("/var/lib/stegi", str(folder))
        for name, value in found.items()
    }


@pytest.mark.long
def test_SE03_the_example_of_the_environment_passes_every_check_for_deployment(tmp_path):  # noqa: N802
    environment = example(tmp_path) | {"PATH": os.environ["PATH"]}
    assert environment["DJANGO_SETTINGS_MODULE"] == "portal.settings.production"
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level=WARNING"]
    done = subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_SE03_the_units_hold_no_secret_and_share_one_environment():  # noqa: N802
    units = list(SYSTEMD.glob("*.service"))
    assert {unit.stem for unit in units} == {
        "stegi-prepare",
        "stegi-web",
        "stegi-worker",
        "stegi-beat",
        "stegi-watcher",
    }
    for unit in units:
        text = unit.read_text()
        assert "EnvironmentFile=/etc/stegi/stegi.env" in text, unit
        assert "NoNewPrivileges=yes" in text
        assert not re.search(r"^Environment=", text, re.MULTILINE)
        assert not re.search(r"(?i)password|secret|redis://|postgres://", text)


def test_SE03_nginx_and_the_units_agree(tmp_path):  # noqa: N802
    nginx = (REPOSITORY / "deploy" / "nginx" / "stegi.conf").read_text()
    web = (SYSTEMD / "stegi-web.service").read_text()
    host, port = re.search(r"--host (\S+) --port (\d+)", web).groups()
    assert f"proxy_pass http://{host}:{port};" in nginx
    environment = example(tmp_path)
    with production(environment) as made:
        assert made.SECURE_PROXY_SSL_HEADER == ("HTTP_X_FORWARDED_PROTO", "https")
        assert host in made.TRUSTED_PROXIES
        names = set(re.findall(r"server_name (\S+);", nginx))
        assert names == set(made.ALLOWED_HOSTS) == {origin.removeprefix("https://") for origin in made.PUBLIC_ORIGINS}
        limit = int(re.search(r"client_max_body_size (\d+)k;", nginx).group(1)) * 1024
        assert limit > max(made.DATA_UPLOAD_MAX_MEMORY_SIZE, made.IMAGE_CHUNK_BYTES)
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in nginx
    assert "proxy_set_header X-Forwarded-Proto $scheme;" in nginx
    assert "$request_uri" not in re.search(r"log_format stegi '([^']*)'", nginx).group(1)


@pytest.mark.long
def test_IN16_only_our_proxy_says_that_tls_was_used(db, settings):  # noqa: N802
    settings.SECURE_PROXY_SSL_HEADER, settings.SECURE_SSL_REDIRECT = ("HTTP_X_FORWARDED_PROTO", "https"), True
    settings.TRUSTED_PROXIES = ["192.0.2.7"]
    told = {"headers": {"X-Forwarded-Proto": "https"}}
    assert Client(REMOTE_ADDR="192.0.2.7").get("/login/", **told).status_code == 200
    assert Client(REMOTE_ADDR="203.0.113.9").get("/login/", **told).status_code == 301


def test_SE03_there_is_no_account_nor_password_by_default(db):  # noqa: N802
    assert not User.objects.exists()
    for name, password in (("admin", "admin"), ("admin", "administrator"), ("root", "correct"), ("admin", "")):
        with pytest.raises(Invalid):
            create_user(system_actor(), username=name, password=password)
    assert not User.objects.exists()


def test_SE03_the_first_password_is_another_one_each_time(db, tmp_path):  # noqa: N802
    for number in (1, 2):
        call_command("make_demo", no_demo=True, passwords_out=str(tmp_path / f"{number}.json"))
        User.objects.all().delete()
    first, second = ((tmp_path / f"{number}.json").read_text() for number in (1, 2))
    assert first != second
    assert (tmp_path / "1.json").stat().st_mode & 0o077 == 0
