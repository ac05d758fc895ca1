"""What every installation shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from portal.settings import env

BASE_DIR = Path(__file__).resolve().parent.parent.parent
DATA_DIR = Path(env.text("DATA_DIR", str(BASE_DIR / ".data")))

SECRET_KEY = env.secret("SECRET_KEY", "")
SECRET_KEY_FALLBACKS = [key for key in env.secret("SECRET_KEY_FALLBACKS", "").split() if key]
SEAL_KEYS = env.secret("SEAL_KEYS", "").split()
DEBUG = False
ALLOWED_HOSTS = env.listed("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
# The origins (scheme, host, port) from which browsers may come; the first is the one that links in mails carry.
PUBLIC_ORIGINS = env.listed("PUBLIC_ORIGINS", "http://127.0.0.1:8000")
CSRF_TRUSTED_ORIGINS = PUBLIC_ORIGINS

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "guardian",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "django_htmx",
    "portal.common",
    "portal.events",
    "portal.hypervisors",
    "portal.jobs",
    "tenants",
    "network",
    "compute",
]

MIDDLEWARE = [
    "portal.common.http.RequestContextMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "portal.common.sessions.SeenMiddleware",
    "portal.common.http.LanguageMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "portal.common.http.NulMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "tenants.middleware.OwedFactorMiddleware",
    "tenants.middleware.ViewingMiddleware",
    "tenants.middleware.OneLookMiddleware",
    "portal.common.http.ErrorMiddleware",
]

ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.frame",
            ],
        },
    },
]

SQLITE_OPTIONS = {
    # At the default 5 s, many writers with short transactions lose work; IMMEDIATE takes the write lock up front, so
    # that no transaction fails half-way on an upgrade of its read lock.
    "timeout": 30,
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=30000;",
}


def database(url: str, *, pool: int = 0) -> dict[str, Any]:
    """Settings of a database from its address; PostgreSQL and SQLite alike.

    ``pool``: the most connections to PostgreSQL that a process keeps for all its threads; 0: each thread keeps its own.
    """
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True))
    except ValueError:  # which quotes the address, and with it the password
        raise ImproperlyConfigured(
            "DATABASE_URL cannot be read: write postgres://USER:PASSWORD@HOST/NAME or sqlite:////PATH."
        ) from None
    if config["ENGINE"].endswith("sqlite3"):
        config["ENGINE"] = "portal.common.sqlite3"
        config["OPTIONS"] = dict(SQLITE_OPTIONS)
        config["CONN_MAX_AGE"] = 0
        config.pop("CONN_HEALTH_CHECKS", None)
    else:
        config.setdefault("OPTIONS", {})["connect_timeout"] = 5
    if pool and not config["ENGINE"].endswith("sqlite3"):
        config["CONN_MAX_AGE"] = 0  # at the end of a request its connection goes back to the pool
        config["OPTIONS"]["pool"] = {"min_size": 1, "max_size": pool, "timeout": 5, "max_idle": 60}
    return config


DATABASE_POOL = env.number("DATABASE_POOL", 0)  # the web server's own; see portal/serve.py
DATABASES = {
    "default": database(env.secret("DATABASE_URL", f"sqlite:///{DATA_DIR / 'portal.sqlite3'}"), pool=DATABASE_POOL)
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.secret("REDIS_URL", "redis://127.0.0.1:6379/0")
CHANNEL_LAYERS: dict[str, Any] = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_connect_timeout": 1, "socket_timeout": 5}]},
    },
}

# Celery carries job ids and nothing else; JSON only. Time-outs of 1 s: the broker's default is to hang for ever on a
# Redis that accepts and is silent. A lost message is found by the sweeper.
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://")
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 1,
    "socket_timeout": 1,
    "visibility_timeout": 3600,
    # One more try at once: the default rests 2 s before it, in the midst of somebody's request.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_DEFAULT_QUEUE = "jobs"
CELERY_TIMEZONE = "UTC"
JOBS_SWEEP_SECONDS = 5
CELERY_BEAT_SCHEDULE = {
    "sweep-jobs": {"task": "portal.jobs.tasks.sweep", "schedule": JOBS_SWEEP_SECONDS, "options": {"expires": 30}},
    "forget-keys": {"task": "portal.jobs.tasks.forget_keys", "schedule": 60, "options": {"expires": 30}},
    "forget-logins": {"task": "tenants.tasks.forget_logins", "schedule": 600, "options": {"expires": 300}},
    "end-grants": {"task": "tenants.tasks.end_grants", "schedule": 30, "options": {"expires": 25}},
    "follow-directories": {"task": "tenants.tasks.follow_directories", "schedule": 30, "options": {"expires": 25}},
    "sweep-images": {"task": "compute.tasks.sweep_images", "schedule": 300, "options": {"expires": 120}},
    "reap-consoles": {"task": "compute.tasks.reap_consoles", "schedule": 15, "options": {"expires": 30}},
}

AUTH_USER_MODEL = "tenants.User"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
GUARDIAN_MONKEY_PATCH_USER = False
# The policy alone decides; guardian stores. Its backend would let global permissions speak.
SILENCED_SYSTEM_CHECKS = ["guardian.W001"]
ANONYMOUS_USER_NAME = None
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

SESSION_ENGINE = "portal.common.sessions"
# A log-in ends so long after it began, and so long after it was last used.
SESSION_COOKIE_AGE = env.number("SESSION_HOURS", 12) * 3600
SESSION_IDLE_SECONDS = env.number("SESSION_IDLE_MINUTES", 120) * 60
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_COOKIES = all(origin.startswith("https://") for origin in PUBLIC_ORIGINS)
SESSION_COOKIE_SECURE = SECURE_COOKIES
CSRF_COOKIE_SECURE = SECURE_COOKIES
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
TRUSTED_PROXIES = env.listed("TRUSTED_PROXIES")
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200

# Uploaded images: where their bytes wait (web and workers see the same folder), and how much of them is taken.
IMAGE_SPOOL = Path(env.text("IMAGE_SPOOL", str(DATA_DIR / "images")))
IMAGE_CHUNK_BYTES = 4 * 1024 * 1024
IMAGE_FORM_BYTES = 1024**3  # a plain form, without JavaScript: one file, whole
IMAGE_MOST_BYTES = env.number("IMAGE_MOST_GIB", 64) * 1024**3
IMAGE_MOST_VIRTUAL_BYTES = env.number("IMAGE_MOST_VIRTUAL_GIB", 256) * 1024**3
SLOW_WORK_AT_ONCE = env.number("SLOW_WORK_AT_ONCE", 1)  # conversions and copies, each of which holds a worker
INSPECTIONS_AT_ONCE = env.number("INSPECTIONS_AT_ONCE", 1)  # of uploaded images; each holds a worker too
IMAGE_SPARE_BYTES = env.number("IMAGE_SPARE_MIB", 1024) * 1024**2  # of the spool's file system uploads leave this free
# Sealing copies of machines: the folder that has virt-sysprep and its sisters (empty: never), the kernel of the small machine in
# which they look at a disk with the modules of that kernel (empty: the newest in /boot), and whether it is emulated though there is KVM.
SYSPREP_FOLDER = env.text("SYSPREP_FOLDER", "/usr/bin")
SYSPREP_KERNEL, SYSPREP_MODULES = env.text("SYSPREP_KERNEL", ""), env.text("SYSPREP_MODULES", "")
SYSPREP_EMULATED = env.flag("SYSPREP_EMULATED", default=False)
IMAGE_UPLOAD_HOURS = 24  # an upload that nobody went on with for so long is swept away

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("el", _("Greek"))]
LOCALE_PATHS = [BASE_DIR / "portal" / "locale"]
FORMAT_MODULE_PATH = ["portal.formats"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = env.text("TIME_ZONE", "UTC")

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
# Compressed when collected: Tabler's style sheet is 600 kB plain and 80 kB so.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_SKIP_COMPRESS_EXTENSIONS = ("map", "png", "jpg", "gz", "br", "woff", "woff2")
_LIBRARIES = BASE_DIR / "static" / "node_modules"
# Of the browser libraries only what pages load: the icons alone are thousands of files, and go into the pages inline.
STATICFILES_DIRS = [
    ("css", BASE_DIR / "static" / "css"),
    ("js", BASE_DIR / "static" / "js"),
    ("img", BASE_DIR / "static" / "img"),
    ("lib/tabler/css", _LIBRARIES / "@tabler" / "core" / "dist" / "css"),
    ("lib/htmx", _LIBRARIES / "htmx.org" / "dist"),
    ("lib/htmx-ext-ws", _LIBRARIES / "htmx-ext-ws" / "dist"),
    ("lib/novnc/core", _LIBRARIES / "@novnc" / "novnc" / "core"),
    ("lib/novnc/vendor", _LIBRARIES / "@novnc" / "novnc" / "vendor"),
]

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "tenants.api.authentication.BearerAuthentication",
        "tenants.api.authentication.StrictSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["portal.common.strict.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "portal.common.openapi.Schema",
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS would tell what the documentation tells
    "EXCEPTION_HANDLER": "portal.common.api.problem",
    "URL_FORMAT_OVERRIDE": None,
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Stegi",
    "DESCRIPTION": "Virtual machines for a whole institute.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "VmStatus": "compute.choices.VmStatusChoice",
        "CheckStatus": "compute.choices.CheckStatus",
        "FoundKindEnum": "network.choices.FoundKind",
        "NetworkStatusEnum": "network.choices.NetworkStatus",
        "TemplateStatusEnum": "compute.choices.TemplateStatus",
        "DirectoryKind": "tenants.models.directory.DirectoryKind",
    },
}

HYPERVISOR_DRIVERS: dict[str, str] = {}
# Whether a provider may be reached by qemu+tcp://, which has neither encryption nor proof of who is there.
ALLOW_PLAIN_TCP = env.flag("ALLOW_PLAIN_TCP", default=False)
# Whether the portal reaches screens of an engine's machines on hosts whose displays have no encryption.
ALLOW_PLAIN_VNC = env.flag("ALLOW_PLAIN_VNC", default=False)
FAULT_POINTS_DIR = ""  # tests name a folder whose files kill or fail a worker at named points

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOGGING_CONFIG = "portal.common.logs.configure"
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "portal.common.logs.JsonFormatter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},
    "loggers": {
        "portal.websocket": {"level": "WARNING"},
        "django_auth_ldap": {"level": "CRITICAL"},  # its lines quote names that were typed, and the directory's words
    },
    "root": {"handlers": ["console"], "level": env.one_of("LOG_LEVEL", "INFO", allowed=LEVELS)},
}
