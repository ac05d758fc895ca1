"""A real installation. Refuses to start with anything that is not fit for it, and says what."""

from django.core.exceptions import ImproperlyConfigured

from portal.settings import env
from portal.settings.base import *  # noqa: F403
from portal.settings.base import (
    ALLOWED_HOSTS,
    DATABASES,
    PUBLIC_ORIGINS,
    REDIS_URL,
    SEAL_KEYS,
    SECRET_KEY,
    SECURE_COOKIES,
)

MINIMUM_SECRET = 50


def _problems() -> list[str]:
    found = []
    if env.flag("DEBUG", default=False):
        found.append("DEBUG must be off")
    if (
        len(SECRET_KEY) < MINIMUM_SECRET
        or len(set(SECRET_KEY)) < 10
        or SECRET_KEY.startswith(("django-insecure-", "not-a-secret"))
    ):
        found.append(f"SECRET_KEY must be random and at least {MINIMUM_SECRET} characters")
    if not SEAL_KEYS:
        found.append("SEAL_KEYS must hold at least one Fernet key")
    if not ALLOWED_HOSTS or any("*" in host for host in ALLOWED_HOSTS):
        found.append("ALLOWED_HOSTS must name the site's hosts, without '*'")
    if not SECURE_COOKIES:
        found.append(f"PUBLIC_ORIGINS must be https: {', '.join(PUBLIC_ORIGINS)}")
    if not REDIS_URL.startswith("unix:") and "@" not in REDIS_URL:
        found.append("REDIS_URL must carry a password, or name a socket")
    if DATABASES["default"]["ENGINE"].endswith("postgresql") and not (
        DATABASES["default"].get("PASSWORD")
        or DATABASES["default"].get("HOST", "").startswith("/")
        or not DATABASES["default"].get("HOST")
    ):
        found.append("DATABASE_URL must carry a password, or name a socket")
    return found


if _found := _problems():
    raise ImproperlyConfigured("This configuration is not fit for production: " + "; ".join(_found) + ".")

SECURE_HSTS_SECONDS = 31536000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SECURE_SSL_REDIRECT = env.flag("SSL_REDIRECT", default=True)
if env.listed("TRUSTED_PROXIES"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
