"""Of a Django without an app of ours: what the tests of the lab's own rules need of it, which start many runs of pytest."""

import os

import dj_database_url

SECRET_KEY = "of-tests-alone"
INSTALLED_APPS: list[str] = []
DATABASES = {"default": dj_database_url.parse(os.environ.get("DATABASE_URL", "sqlite://:memory:"))}
USE_TZ = True
