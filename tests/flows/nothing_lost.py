"""The invariants that hold after every fault: nothing lost, nothing twice, nothing of others touched."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from compute import spool
from compute.choices import RUNNING
from compute.models import Disk, Image, Nic, Template, Vm
from compute.sync.inventory import sync_provider
from compute.sync.vms import running_amounts
from network.models import Network
from portal.events.codes import Outcome, code_for
from portal.events.models import Event
from portal.hypervisors.known import capabilities_of
from portal.jobs.models import Job, JobLock
from portal.jobs.states import FINAL, JobStatus
from tenants import quota
from tenants.models import DataCenter, QuotaCharge
from tenants.models.quota import Dimension
from tests.flows.place import Site
from tests.flows.seen import Seen

OUTCOMES = (Outcome.DONE, Outcome.FAILED)


def assert_nothing_lost(place: Site, *, waiting: Iterable[Job] = ()) -> None:
    """INV1 to INV6, once the portal has compared itself with the hypervisor; ``waiting`` are the jobs that may be open."""
    sync_provider(place.provider)
    seen, patient = place.look(), {job.uid for job in waiting}
    found = [
        *(f"INV1 {job} is not final" for job in Job.objects.exclude(status__in=FINAL) if job.uid not in patient),
        *_unmatched(seen),
        *_ledger(),
        *_twice(seen),
        *_audit(),
        *_strangers(place, seen),
        *_spool(),
    ]
    assert not found, "\n".join(found)


# --- INV2: rows and marked objects, one to one


def _unmatched(seen: Seen) -> Iterator[str]:
    at_work = set(Job.objects.exclude(status__in=FINAL).values_list("target_uid", flat=True))
    loose = at_work | _half_deleted()
    rows = Vm.objects.select_related("provider").prefetch_related("disks")
    vms = [vm for vm in rows if vm.pk not in loose]
    spared = loose | set(Disk.objects.filter(vm__in=loose).values_list("pk", flat=True))
    templates = list(Template.objects.filter(status="ok", provider=None).values_list("pk", flat=True))
    disks = [disk.pk for vm in vms for disk in vm.disks.all()]
    yield from _compare("machine", [vm.pk for vm in vms], seen.vms, spared)
    yield from _compare("disk", disks + templates, seen.disks, spared)
    with_volume = [vm.pk for vm in vms if vm.sealed_initial_run and capabilities_of(vm.provider).first_boot_volume]
    yield from _compare("first-boot volume", with_volume, seen.first_boots, spared)
    made = Network.objects.filter(is_found=False).values_list("pk", flat=True)
    yield from _compare("network", made, seen.networks, spared)
    yield from (f"INV2 {lock} of a final job" for lock in JobLock.objects.filter(job__status__in=FINAL))
    cards = {mac.lower() for mac in Nic.objects.values_list("mac", flat=True)}
    yield from (f"INV2 address {ip} is kept for {mac}" for mac, ip in seen.addresses if mac.lower() not in cards)


def _half_deleted() -> set[Any]:
    """Machines of which a deletion failed half-way, and says so: they can be deleted again."""
    latest = {job.target_uid: job for job in Job.objects.filter(target_kind="vm").order_by("created_at")}
    return {
        uid
        for uid, job in latest.items()
        if job.operation == "compute.delete_vm" and job.status == JobStatus.FAILED and job.error.get("text")
    }


def _compare(kind: str, rows: Iterable[Any], objects: Iterable[Any], spared: set[Any]) -> Iterator[str]:
    wanted, there = Counter(rows), Counter(objects)
    yield from (f"INV2 {kind} {uid} is lost" for uid in wanted - there if uid not in spared)
    yield from (f"INV2 {kind} {uid} is left over" for uid in there - wanted if uid not in spared)


def _spool() -> Iterator[str]:
    """Bytes of images are there for those that are whole, of refused ones none; of templates none when they are made."""
    at_work = {str(uid) for uid in Job.objects.exclude(status__in=FINAL).values_list("target_uid", flat=True)}
    whole = {f"{uid}.upload" for uid in Image.objects.filter(status="ready").values_list("pk", flat=True)}
    there = {path.name for path in spool.folder().iterdir() if path.name.partition(".")[0] not in at_work}
    wanted = {name for name in whole if name.partition(".")[0] not in at_work}
    yield from (f"INV2 spool: {name} is {'lost' if name in wanted else 'left over'}" for name in wanted ^ there)


# --- INV3: the ledger


def _ledger() -> Iterator[str]:
    for center in DataCenter.objects.all():
        yield from (f"INV3 {center}: {drift}" for drift in quota.recount_drift(center))
    charged = {(row.consumer_kind, row.consumer_uid, row.dimension): row.amount for row in QuotaCharge.objects.all()}
    owed = dict(_owed())
    yield from (
        f"INV3 {key} is charged {charged.get(key)} and costs {owed.get(key)}" for key in _differing(charged, owed)
    )


def _differing(charged: dict[Any, int], owed: dict[Any, int]) -> list[Any]:
    at_work = set(Job.objects.exclude(status__in=FINAL).values_list("target_uid", flat=True))
    silent = set(Vm.objects.filter(status="unknown").values_list("pk", flat=True))
    running = {Dimension.VCPUS_RUNNING, Dimension.MEMORY_RUNNING_MIB}
    return [
        key
        for key in charged.keys() | owed.keys()
        if charged.get(key) != owed.get(key) and not (key[2] in running and key[1] in at_work | silent)
    ]


def _owed() -> Iterator[tuple[Any, int]]:
    for vm in Vm.objects.all():
        yield ("vm", vm.pk, Dimension.MACHINES), 1
        yield ("vm", vm.pk, Dimension.VCPUS_DEFINED), vm.vcpus
        yield ("vm", vm.pk, Dimension.MEMORY_DEFINED_MIB), vm.memory_mib
        if vm.status in RUNNING:
            yield from ((("vm", vm.pk, dimension), amount) for dimension, amount in running_amounts(vm).items())
        if vm.found_disk_gib:
            yield ("vm", vm.pk, Dimension.STORAGE_GIB), vm.found_disk_gib
    for template in Template.objects.exclude(owner=None):
        yield ("template", template.pk, Dimension.STORAGE_GIB), template.disk_gib
    for image in Image.objects.exclude(owner=None).exclude(status="refused"):
        yield ("image", image.pk, Dimension.STORAGE_GIB), math.ceil(image.size_bytes / 1024**3)
    for disk in Disk.objects.all():
        yield ("disk", disk.pk, Dimension.STORAGE_GIB), disk.size_gib


# --- INV4 to INV6


def _twice(seen: Seen) -> Iterator[str]:
    ips = [ip for _mac, ip in seen.addresses]
    for kind, values in {"name": seen.names, "MAC address": seen.macs, "IP address": ips}.items():
        yield from (
            f"INV4 {kind} {value} is there {count} times" for value, count in Counter(values).items() if count > 1
        )


def _audit() -> Iterator[str]:
    # By code: that a job was to be cancelled is another attempt, told under the same job.
    told = Counter(Event.objects.exclude(correlation_id=None).values_list("correlation_id", "code"))
    for job in Job.objects.exclude(audit_verb=""):
        requested = told[job.uid, code_for(job.audit_verb, Outcome.REQUESTED)]
        if requested != 1:
            yield f"INV5 {job} was recorded {requested} times as asked for"
        outcomes = [outcome for outcome in OUTCOMES for _ in range(told[job.uid, code_for(job.audit_verb, outcome)])]
        if outcomes != _outcomes_of(job):
            yield f"INV5 {job} has the recorded outcomes {outcomes}"


def _outcomes_of(job: Job) -> list[Outcome]:
    if job.status not in FINAL:
        return []
    return [Outcome.DONE if job.status == JobStatus.FINISHED else Outcome.FAILED]


def _strangers(place: Site, seen: Seen) -> Iterator[str]:
    in_care = {f"vm {uid}" for uid in Vm.objects.filter(adopted=True).values_list("external_id", flat=True)}
    for name in (place.strangers.keys() | seen.strangers.keys()) - in_care:
        if place.strangers.get(name) != seen.strangers.get(name):
            yield f"INV6 {name} was {place.strangers.get(name)} and is {seen.strangers.get(name)}"
