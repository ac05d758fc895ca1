"""Networks of others on a real hypervisor: their ranges are known, avoided and refused, and they stay as they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from compute.services import providers
from compute.sync.inventory import sync_provider
from network.models import FoundNetwork, Network
from network.services import create_network, free_range
from portal.common.errors import Invalid
from portal.jobs.engine import run_to_end
from tenants.services.data_centers import create_data_center
from tests.hypervisors.far.test_connecting import over_ssh
from tests.lab.far_host import FarHost

pytestmark = [pytest.mark.libvirt, pytest.mark.long]

# With IPv6 and a second range beside: all of them are taken.
BYSTANDER = """<network><name>bystander</name><forward mode='route'/><bridge name='by0'/>
<ip address='10.99.0.1' netmask='255.255.255.0'/><ip family='ipv4' address='10.99.2.129' prefix='25'/>
<ip family='ipv6' address='fd00:99::1' prefix='64'/></network>"""


@contextmanager
def bystander(far: FarHost) -> Iterator[None]:
    """A network that another made there, and a bridge of the host's own."""
    (far.folder / "root/var/lib/libvirt/bystander.xml").write_text(BYSTANDER)
    far.libvirt.virsh("net-define", "/var/lib/libvirt/bystander.xml")
    far.libvirt.virsh("net-start", "bystander")
    far.libvirt.run("ip", "link", "add", "br-lab", "type", "bridge")
    try:
        yield
    finally:
        far.libvirt.run("ip", "link", "delete", "br-lab")
        far.libvirt.virsh("net-destroy", "bystander")
        far.libvirt.virsh("net-undefine", "bystander")


def test_a_network_of_ours_gets_a_range_that_nobody_has_and_others_stay_as_they_are(far, root):
    with bystander(far):
        before = far.libvirt.virsh("net-dumpxml", "bystander").stdout
        row = providers.connect_provider(root, name="far", **over_ssh(far))
        found = FoundNetwork.objects.get(provider=row, name="bystander")
        assert (found.owner, found.forward, found.bridge, found.active) == ("", "route", "by0", True)
        assert found.ranges == ["10.99.0.0/24", "10.99.2.128/25", "fd00:99::/64"]
        assert FoundNetwork.objects.get(provider=row, name="br-lab").kind == "bridge"
        assert row.hosts.get().tells_bridges
        center = create_data_center(root, name="physics")
        with pytest.raises(Invalid) as refused:
            create_network(root, center, provider=row, name="lab", cidr="10.99.2.0/24")
        [reason] = refused.value.reasons
        assert (reason.field, reason.data) == ("cidr", {"range": "10.99.2.128/25", "network": "bystander"})
        made = []
        for name in ("lab", "more"):
            made.append(create_network(root, center, provider=row, name=name, cidr=free_range(row)))
            assert run_to_end(made[-1][1].pk).status == "finished"
        assert [network.cidr for network, _job in made] == ["10.99.1.0/24", "10.99.3.0/24"]
        assert far.libvirt.virsh("net-dumpxml", "bystander").stdout == before
        sync_provider(row)
        assert {one.name for one in FoundNetwork.objects.filter(owner="ours")} == {
            Network.objects.get(pk=network.pk).external_id for network, _job in made
        }


def test_a_range_that_was_taken_meanwhile_fails_the_job_by_its_networks_name(far, root):
    row = providers.connect_provider(root, name="far", **over_ssh(far))
    center = create_data_center(root, name="physics")
    network, job = create_network(root, center, provider=row, name="lab", cidr="10.99.2.0/24")
    with bystander(far):
        done = run_to_end(job.pk)
    assert (done.status, done.error["code"]) == ("failed", "range_overlaps")
    assert "10.99.2.128/25 of the network bystander" in done.error["text"]
    assert "Choose another range" in done.error["text"]
    assert not Network.objects.filter(pk=network.pk).exists()
    assert str(network.pk) not in far.libvirt.virsh("net-list", "--all", "--uuid").stdout


def test_a_real_host_tells_its_processor_with_every_feature(far, root):
    row = providers.connect_provider(root, name="far", **over_ssh(far))
    host = row.hosts.get()
    assert host.arch == os.uname().machine
    assert host.cpu_model
    assert len(host.cpu_features) > 20
    assert host.cpu_features == sorted(set(host.cpu_features))
    assert not row.storage_domains.exclude(shared_source="").exists(), "folders are the host's alone"
