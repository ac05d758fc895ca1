"""A ledger that was there before a migration is true after it; what tests copy is what migrating makes."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tenants import quota
from tenants.models import DataCenter
from tenants.quota import Consumer, Dimension
from tests.lab.migrated import REPOSITORY


def migrate_to(*targets):
    executor = MigrationExecutor(connection)
    executor.migrate(list(targets) or executor.loader.graph.leaf_nodes())
    return executor.loader.project_state(list(targets)).apps


@pytest.mark.long
@pytest.mark.turns
def test_charges_of_before_are_released_from_the_accounts_they_were_booked_on(transactional_db):
    vm, user = uuid4(), uuid4()
    old = migrate_to(("tenants", "0002_login_tries"))
    try:
        center = old.get_model("tenants", "DataCenter").objects.create(name="physics")
        accounts = old.get_model("tenants", "QuotaAccount").objects
        for kind, uid in (("data_center", center.pk), ("user", user)):
            accounts.create(data_center=center, subject_kind=kind, subject_uid=uid, dimension="machines", used=1)
        old.get_model("tenants", "QuotaCharge").objects.create(
            data_center=center, consumer_kind="vm", consumer_uid=vm, dimension="machines", amount=1, user_uid=user
        )
    finally:
        migrate_to()
    physics = DataCenter.objects.get()
    assert quota.recount_drift(physics) == []
    assert [row.used for row in quota.usage(physics, user)] == [1, 1]
    quota.release(Consumer("vm", vm), [Dimension.MACHINES])
    assert quota.usage(physics, user) == []
    assert quota.recount_drift(physics) == []


@pytest.mark.long
@pytest.mark.once
def test_the_copy_that_tests_are_given_is_what_migrating_makes(django_db_setup: None, tmp_path: Path):
    def dump(name: str, **how: str) -> str:
        """All that is in a new database, but for the times of its migrations."""
        folder, command = tmp_path / name, [sys.executable, "manage.py", "migrate", "--verbosity=0"]
        (folder / "static").mkdir(parents=True)
        environment = os.environ | {"DJANGO_SETTINGS_MODULE": "portal.settings.test", "DATA_DIR": str(folder)} | how
        subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, timeout=150)
        text = "\n".join(sqlite3.connect(folder / "test.sqlite3").iterdump())
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.\d]*", "", text)

    assert dump("copied") == dump("made", STEGI_MIGRATE="anew")
