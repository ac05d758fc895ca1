"""Volumes on an engine: its disks that hold machines' data, whoever's they are."""

from __future__ import annotations

from uuid import uuid4

import pytest

from portal.hypervisors.errors import NotFound
from portal.hypervisors.ovirt import disks
from tests.hypervisors.ovirt_driver.world import DOMAIN, Engine

pytestmark = pytest.mark.once


def test_one_is_found_by_its_id_on_however_long_a_list_and_ours_push_nobodys_off_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = engine.disk()
    listed = {row.external_id: row for row in engine.driver.volumes(DOMAIN)}
    others = [key for key, row in listed.items() if row.uid is None]
    assert listed[ours.external_id].uid == ours.ref.uid
    assert others
    monkeypatch.setattr(disks, "MOST_VOLUMES", len(others))
    assert [row.external_id for row in engine.driver.volumes(DOMAIN)] == others
    for key, row in listed.items():
        assert engine.driver.find_volume(DOMAIN, key) == row
        assert engine.driver.volume_users(DOMAIN, key) == row.users
    assert engine.driver.find_volume(DOMAIN, "none") is None
    assert engine.driver.volume_users(DOMAIN, "none") == ()
    with pytest.raises(NotFound):
        engine.driver.find_volume(str(uuid4()), ours.external_id)
