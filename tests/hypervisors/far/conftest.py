"""A far libvirt, and a super-admin to connect it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from network.models import Network
from portal.common.actor import Actor, system_actor
from portal.hypervisors.connect import driver_for, forget
from portal.hypervisors.models import Provider
from tests.lab.far_host import FarHost


@pytest.fixture
def far(session_far: FarHost, transactional_db: None) -> Iterator[FarHost]:
    """A test may freeze, stop or certify its servers: the next one finds them answering."""
    session_far.libvirt.start()
    session_far.ssh.start()
    yield session_far
    for server in (session_far.libvirt, session_far.ssh):
        if server.is_running:
            server.thaw()
    # The host outlives the test: what holds a range there would hold it in the next one too.
    for network in Network.objects.select_related("provider"):
        driver_for(network.provider).delete_network(network.pk)
    for uid in Provider.objects.values_list("uid", flat=True):
        forget(uid)


@pytest.fixture
def root() -> Actor:
    return system_actor()
