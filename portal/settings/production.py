"""A real installation. Refuses to start with anything that is not fit for it, and says what, and what to do."""

from collections.abc import Iterator
from ipaddress import ip_network
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.http.request import split_domain_port, validate_host

from portal.common.origins import normal_origin
from portal.settings import env
from portal.settings.base import *  # noqa: F403
from portal.settings.base import (
    ALLOWED_HOSTS,
    DATABASES,
    PUBLIC_ORIGINS,
    REDIS_URL,
    SEAL_KEYS,
    SECRET_KEY,
    SECRET_KEY_FALLBACKS,
    SECURE_COOKIES,
    TRUSTED_PROXIES,
)

SHORTEST_SECRET = 50
FEWEST_CHARACTERS = 10  # different ones, in a random text of that length
KNOWN_KEYS = ("django-insecure-", "not-a-secret", "a-secret-for-tests")
MAKE_KEY = "python3 -c 'import secrets; print(secrets.token_urlsafe(64))'"
MAKE_SEAL = "python3 -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"


def _problems() -> Iterator[str]:
    if env.flag("DEBUG", default=False):
        yield "DEBUG must be off: take it out of the environment."
    if _is_weak(SECRET_KEY):
        yield f"SECRET_KEY must be random and have {SHORTEST_SECRET} characters or more: make one with {MAKE_KEY}."
    if any(_is_weak(key) for key in SECRET_KEY_FALLBACKS):
        yield "SECRET_KEY_FALLBACKS holds a key that is too weak: take it out; whoever is logged in by it logs in again."
    if not SEAL_KEYS or not all(_is_fernet(key) for key in SEAL_KEYS):
        yield f"SEAL_KEYS must hold Fernet keys, the newest first: make one with {MAKE_SEAL}."
    yield from _problems_of_addresses()
    yield from _problems_of_servers()


def _problems_of_addresses() -> Iterator[str]:
    if not SECURE_COOKIES or not all("*" not in origin and normal_origin(origin) for origin in PUBLIC_ORIGINS):
        yield "PUBLIC_ORIGINS must be https origins without a path: write for example https://portal.example."
    if any("*" in host for host in ALLOWED_HOSTS):
        yield "ALLOWED_HOSTS must name the site's hosts: replace '*' by them."
    hosts = sorted({split_domain_port(urlsplit(origin).netloc)[0] for origin in PUBLIC_ORIGINS})
    if missing := [host for host in hosts if host and not validate_host(host, ALLOWED_HOSTS)]:
        yield f"ALLOWED_HOSTS must list the hosts of PUBLIC_ORIGINS: add {', '.join(missing)}."
    if not all(_is_narrow(net) for net in TRUSTED_PROXIES):
        yield "TRUSTED_PROXIES must be addresses of proxies or small networks of them: write for example 127.0.0.1."


def _problems_of_servers() -> Iterator[str]:
    if not REDIS_URL.startswith("unix:") and not urlsplit(REDIS_URL).password:
        yield "REDIS_URL must carry a password or name a socket: write rediss://:PASSWORD@HOST:6379/0 or unix:///PATH."
    database = DATABASES["default"]
    by_socket = not database.get("HOST") or database["HOST"].startswith("/")
    if database["ENGINE"].endswith("postgresql") and not database.get("PASSWORD") and not by_socket:
        yield "DATABASE_URL must carry a password or name a socket: write postgres://USER:PASSWORD@HOST/NAME."


def _is_weak(key: str) -> bool:
    return len(key) < SHORTEST_SECRET or len(set(key)) < FEWEST_CHARACTERS or key.startswith(KNOWN_KEYS)


def _is_fernet(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


def _is_narrow(net: str) -> bool:
    try:
        return ip_network(net).num_addresses <= 1 << 16
    except ValueError:
        return False


if _found := list(_problems()):
    raise ImproperlyConfigured("This configuration is not fit for production. " + " ".join(_found))

SECURE_HSTS_SECONDS = 31536000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SECURE_SSL_REDIRECT = env.flag("SSL_REDIRECT", default=True)
if TRUSTED_PROXIES:
    # From anybody else the header is dropped before it is looked at (portal.common.http).
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
