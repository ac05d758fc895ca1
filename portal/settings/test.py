"""For the tests: an in-memory channel layer unless the lab's Redis is named, fast hashes, a double among the drivers."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

if "DATA_DIR" not in os.environ:
    # In memory where there is a file system for it: the tests' databases are thrown away, and syncing them took half the time.
    _folder = tempfile.mkdtemp(prefix="stegi-test-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)  # noqa: S108
    os.environ["DATA_DIR"] = _folder
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
if os.environ.get("PYTEST_XDIST_WORKER", "") not in os.environ["DATA_DIR"]:
    # Side by side, each has files of its own, and so have the processes that it starts.
    os.environ["DATA_DIR"] += "/" + os.environ["PYTEST_XDIST_WORKER"]
    Path(os.environ["DATA_DIR"]).mkdir(exist_ok=True)

from portal.settings.base import *  # noqa: F403
from portal.settings.base import DATA_DIR, INSTALLED_APPS, database

# Its `migrate` copies a database that was migrated before.
INSTALLED_APPS = ["tests.lab.copying", *INSTALLED_APPS]
SECRET_KEY = "a-secret-for-tests-alone-0123456789-abcdefghijklmnopqrstuvwxyz"
SEAL_KEYS = ["5Qw2oLPYr4m7nZ0vJd1cS8bT3xKf6hGe9aUiRyWqMlA="]
if "DATABASE_URL" not in os.environ:
    DATABASES = {"default": database(f"sqlite:///{DATA_DIR / 'test.sqlite3'}")}
# A file, not memory: other threads and processes of the tests must see it.
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test-run.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if "REDIS_URL" not in os.environ:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    CELERY_BROKER_URL = "memory://"
# Where collectstatic would put files: a missing folder would be warned of with every request.
(DATA_DIR / "static").mkdir(parents=True, exist_ok=True)
HYPERVISOR_DRIVERS = {"double": "tests.doubles.hypervisor.DoubleDriver", "engine": "tests.doubles.engine.EngineDriver"}
FAULT_POINTS_DIR = os.environ.get("FAULT_POINTS_DIR", "")
IMAGE_SPARE_BYTES = 0
SYSPREP_FOLDER = ""  # tests that seal name their own
