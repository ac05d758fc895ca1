"""INV6: what others have on a host is byte for byte the same after everything that is done beside it and with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import pytest

from compute.models import FoundVm, StorageDomain
from compute.services import adoption, providers, sharing, template_copies
from compute.services.adoption import Adoption
from compute.services.readiness import check_readiness
from compute.services.template_copies import CopyRequest
from compute.services.template_rows import TemplateTraits
from compute.services.templates import delete_template
from compute.sync.inventory import sync_provider
from portal.common.actor import Actor
from portal.hypervisors.models import Provider
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from tenants import quota
from tenants.models import DataCenter
from tenants.models.quota import Dimension
from tenants.roles import sync_roles
from tenants.services.data_centers import create_data_center
from tests.hypervisors.far.test_connecting import over_ssh
from tests.lab.far_host import FarHost

pytestmark = [pytest.mark.libvirt, pytest.mark.long]

POOL = "<pool type='dir'><name>theirs</name><target><path>/var/lib/libvirt/theirs</path></target></pool>"
NETWORK = """<network><name>theirs</name><bridge name='br-theirs'/>
<ip address='192.0.2.1' netmask='255.255.255.0'/></network>"""
OSINFO = """<metadata><libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'>
<libosinfo:os id='http://debian.org/debian/12'/></libosinfo:libosinfo></metadata>"""
DISK = """<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
<source file='/var/lib/libvirt/theirs/{}.qcow2'/><target dev='vda' bus='virtio'/></disk>"""
# A machine that boots nothing stays the same, whatever time passes.
MACHINE = """<domain type='qemu'><name>{name}</name>{metadata}<memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>{disk}
<graphics type='vnc' autoport='yes' passwd='theirs'/></devices></domain>"""
NAMES = {"off", "run", "known", "emptied"}
OURS = re.compile(r"^  <metadata/>\n", re.MULTILINE)


class Foreign:
    """A pool with volumes, a network, a machine that is off and two that run; told from within their host."""

    def __init__(self, far: FarHost) -> None:
        self._virsh, self._folder = far.libvirt.virsh, far.folder / "root/var/lib/libvirt"
        self._define("pool-define", POOL)
        for verb in ("pool-build", "pool-start"):
            self._virsh(verb, "theirs")
        for name in ("golden", "of-run"):
            self._virsh("vol-create-as", "theirs", f"{name}.qcow2", "4M", "--format", "qcow2")
        self._define("net-define", NETWORK)
        self._virsh("net-start", "theirs")
        for name, metadata, disk in (
            ("off", "", "golden"),
            ("run", "", "of-run"),
            ("known", OSINFO, ""),
            ("emptied", "<metadata/>", ""),
        ):
            self._define("define", MACHINE.format(name=name, metadata=metadata, disk=DISK.format(disk) if disk else ""))
        for name in ("run", "known"):
            self._virsh("start", name)

    def _define(self, verb: str, text: str) -> None:
        (self._folder / "theirs.xml").write_text(text)
        self._virsh(verb, "/var/lib/libvirt/theirs.xml")

    def told(self, *without: str) -> dict[str, str]:
        """Everything by name; ``without``: machines that are not looked at."""
        found = dict(self._machines(without))
        found["network"] = self._virsh("net-dumpxml", "theirs").stdout + self._virsh("net-info", "theirs").stdout
        # How full the file system is, is nobody's.
        found["pool"] = re.sub(r"<(allocation|available).*", "", self._virsh("pool-dumpxml", "theirs").stdout)
        for path in (self._folder / "theirs").iterdir():
            state = path.stat()
            told = (state.st_mode, state.st_uid, state.st_size, state.st_mtime_ns)
            found[path.name] = f"{hashlib.sha256(path.read_bytes()).hexdigest()} {told}"
        return found

    def _machines(self, without: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        for name in NAMES - set(without):
            for how in ((), ("--inactive", "--security-info")):
                yield f"{name} {how}", self._virsh("dumpxml", name, *how).stdout
            yield f"{name} info", re.sub("CPU time.*", "", self._virsh("dominfo", name).stdout)

    def remove(self) -> None:
        for command in ("destroy run", "destroy known", *(f"undefine {name}" for name in NAMES)):
            self._virsh(*command.split(), check=False)
        for command in ("net-destroy theirs", "net-undefine theirs", "pool-destroy theirs", "pool-undefine theirs"):
            self._virsh(*command.split(), check=False)


@pytest.fixture
def foreign(far: FarHost) -> Iterator[Foreign]:
    there = Foreign(far)
    yield there
    there.remove()


def done(job: Job) -> None:
    ended = run_to_end(job.pk)
    assert ended.status == "finished", ended.error


def shared_out(root: Actor, row: Provider) -> DataCenter:
    center = create_data_center(root, name="physics")
    providers.share_out(root, center, provider=row)
    quota.set_limits(center, {Dimension.MACHINES: 10, Dimension.VCPUS_RUNNING: 8})
    return center


def taken_back(root: Actor, center: DataCenter) -> None:
    for one in center.cluster_assignments.all():
        sharing.unassign(root, center.pk, "cluster", one.cluster_id)
    for one in center.storage_assignments.all():
        sharing.unassign(root, center.pk, "storage_domain", one.storage_domain_id)


def adopted_and_given_back(root: Actor, center: DataCenter, foreign: Foreign, before: dict[str, str]) -> None:
    found = FoundVm.objects.filter(name__in=NAMES)
    made = adoption.adopt(root, Adoption(tuple(found.values_list("pk", flat=True)), center.pk))
    for _vm, job in made:
        done(job)
    assert len(made) == len(NAMES)
    assert foreign.told() != before, "the mark is on them"
    assert foreign.told(*NAMES).items() <= before.items(), "and on nothing else"
    for vm, _job in made:
        done(adoption.unadopt_vm(root, vm.pk, confirm=vm.name))


def copied(root: Actor, row: Provider) -> None:
    """A template of their volume, and away with it."""
    theirs = StorageDomain.objects.get(provider=row, external_id="theirs")
    wish = CopyRequest(TemplateTraits("golden"), providers.own_storage(row).pk, None, accept_unsealed=True)
    offer = template_copies.get_offer(root, theirs.pk, "golden.qcow2")
    template, job = template_copies.template_of_volume(root, *offer, wish)
    done(job)
    done(delete_template(root, template.pk))


def test_inv6_what_was_there_is_byte_for_byte_the_same_whatever_is_done(
    far: FarHost, root: Actor, foreign: Foreign
) -> None:
    sync_roles()
    before = foreign.told()
    assert {"network", "pool", "golden.qcow2", "of-run.qcow2"} < before.keys()
    row = providers.connect_provider(root, name="far", **over_ssh(far))
    assert foreign.told() == before, "tried, connected and read"
    providers.try_connected(root, row.pk)
    sync_provider(row)
    done(check_readiness(root))
    assert foreign.told() == before, "tried again, read again and looked at"
    center = shared_out(root, row)
    copied(root, row)
    assert foreign.told() == before, "a volume copied"
    adopted_and_given_back(root, center, foreign, before)
    now = foreign.told()
    # What runs keeps the empty element that held the mark until it is started anew.
    assert OURS.sub("", now.pop("run ()")) == before.pop("run ()")
    assert now == before, "adopted and given back"
    taken_back(root, center)
    providers.set_provider_enabled(root, row.pk, enabled=False)
    providers.remove_provider(root, row.pk)
    assert foreign.told("run") == {name: text for name, text in before.items() if not name.startswith("run")}
