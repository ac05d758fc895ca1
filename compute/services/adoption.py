"""The hallway of adoption: machines found on providers come into data centers' care, and go back as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from compute import rules, selectors
from compute.choices import RUNNING, FoundMark
from compute.models import FoundVm, Host, Vm, Zone
from compute.operations.adoption import AdoptVm, UnadoptVm
from compute.services.owners import ask_for_owner, expected_owner, stored_owner
from compute.services.vms import refuse_moved, refuse_protected
from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, NotFound, Reason
from portal.events.codes import Outcome
from portal.events.record import Subject, attempt, record, trying
from portal.hypervisors.at_once import ask_at_once
from portal.hypervisors.connect import BoundedDriver
from portal.hypervisors.errors import HypervisorError
from portal.jobs.models import Job
from portal.jobs.start import Gate, JobRequest, Lock, Target, start_job
from tenants import policy, quota
from tenants.models import DataCenter, User
from tenants.models.quota import Dimension
from tenants.permits import Permit
from tenants.services.makers import give_to_owner, refuse_appointing
from tenants.services.person_search import AskedPerson
from tenants.usage import Forecast

MOST_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Adoption:
    """Which found machines come into which data center, and whose they are to be, whom ``with_owner`` asks for (``asked``)."""

    machines: tuple[UUID, ...]
    data_center_uid: UUID
    owner: str = ""  # a user name
    asked: AskedPerson | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A machine to adopt: the name it gets, what its disks promise (None: not known), and why it cannot be adopted.

    ``unreadable``: its hypervisor answers, and a disk is gone or cannot be read.
    """

    found: FoundVm
    name: str
    reasons: tuple[Reason, ...] = ()
    disk_gib: int | None = None
    unreadable: bool = False

    @property
    def amounts(self) -> dict[Dimension, int]:
        """What it costs from now on; its disks are charged when they were measured, by the job."""
        sizes = {Dimension.VCPUS_DEFINED: self.found.vcpus, Dimension.MEMORY_DEFINED_MIB: self.found.memory_mib}
        running = {Dimension.VCPUS_RUNNING: self.found.vcpus, Dimension.MEMORY_RUNNING_MIB: self.found.memory_mib}
        return {Dimension.MACHINES: 1} | sizes | (running if self.found.status in RUNNING else {})


@dataclass(frozen=True, slots=True)
class AdoptionPlan:
    """What would be adopted, and what the data center's quota would be after it; over the limit is told, not refused."""

    data_center: DataCenter
    owner: User | None
    candidates: tuple[Candidate, ...]
    quota: tuple[Forecast, ...] = field(default=())

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why not, all at once."""
        return tuple(reason for one in self.candidates for reason in one.reasons)

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """The names of those whose disks cannot be measured: they are not counted."""
        return tuple(one.name for one in self.candidates if one.disk_gib is None)

    @property
    def over(self) -> tuple[Forecast, ...]:
        """The limits that would be passed: of the data center, of the owner, and of groups of his."""
        return tuple(one for one in self.quota if one.limit is not None and one.after > one.limit)

    @property
    def hindered(self) -> tuple[str, ...]:
        """Whose people could then make and start nothing that needs more of it: ``data_center``, ``user``, ``group``."""
        return tuple(sorted({one.subject for one in self.over if one.reasons}))


def unassigned(actor: Actor, *, query: str = "", provider: UUID | None = None) -> QuerySet[FoundVm]:
    """The machines that nobody here looks after, by name, of one provider or of all. For super-admins."""
    policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
    known = Vm.objects.filter(provider=OuterRef("provider"), external_id=OuterRef("external_id"))
    rows = FoundVm.objects.filter(~Exists(known)).select_related("provider", "cluster", "host")
    rows = rows.filter(provider=provider) if provider else rows
    return (rows.filter(name__icontains=query) if query else rows).order_by("name", "uid")


def some_left(actor: Actor) -> bool:
    """Whether there are more that could be adopted."""
    return unassigned(actor).filter(mark="").exists()


def had_already(rows: Iterable[FoundVm]) -> dict[UUID, Vm]:
    """Which of these are machines of the portal's own, found once more by another provider of the same hypervisor."""
    by_uid = {uid_of(row): row for row in rows}
    ours = Vm.objects.filter(pk__in=by_uid).select_related("provider")
    return {by_uid[vm.pk].pk: vm for vm in ours}


def with_owner(actor: Actor, wish: Adoption) -> Adoption:
    """The wish with its owner asked for in his directory. Call it outside of any transaction."""
    with trying(actor, "VMS_ADOPT", Subject("data_center", wish.data_center_uid)):
        policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
        return replace(wish, asked=ask_for_owner(wish.owner))


def plan_adoption(actor: Actor, wish: Adoption) -> AdoptionPlan:
    """The dry run: everything checked, disks measured, the quota before and after told, and of all that the sizes kept.

    The hypervisors are asked, so it belongs into no transaction.
    """
    policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
    plan = _planned(actor, wish, expected_owner(wish.owner, wish.asked))
    candidates = tuple(_measured(plan.candidates))
    total: dict[Dimension, int] = {}
    for one in candidates:
        for dimension, amount in (one.amounts | {Dimension.STORAGE_GIB: one.disk_gib or 0}).items():
            total[dimension] = total.get(dimension, 0) + amount
    forecast = quota.what_if(plan.data_center, plan.owner.pk if plan.owner else None, total)
    return replace(plan, candidates=candidates, quota=tuple(forecast))


def _planned(actor: Actor, wish: Adoption, owner: User | None) -> AdoptionPlan:
    data_center = data_center_of(wish.data_center_uid)
    if owner is not None:
        refuse_appointing(actor, Vm, data_center)
    return AdoptionPlan(data_center, owner, tuple(_candidates(actor, data_center, wish.machines)))


def measure(actor: Actor, uids: Sequence[UUID]) -> list[FoundVm]:
    """Ask the hypervisors what the disks of some unassigned machines promise, and keep it. For super-admins.

    Rows of lists tell it then; the hypervisors are asked, so it belongs into no transaction.
    """
    subject = Subject("vm", None)
    with trying(actor, "VMS_MEASURE", subject):
        if len(uids) > MOST_AT_ONCE:
            raise _invalid("machines", _("Choose between 1 and %(most)d machines.") % {"most": MOST_AT_ONCE})
        rows = list(unassigned(actor).filter(pk__in=uids))
        _measure(rows)
        record(
            actor, "VMS_MEASURE", outcome=Outcome.DONE, subject=subject, data={"machines": [str(row) for row in rows]}
        )
    return rows


def _measured(candidates: Sequence[Candidate]) -> Iterable[Candidate]:
    """With what their disks promise."""
    sizes = _measure([one.found for one in candidates])
    for one in candidates:
        known = sizes.get(one.found.pk)
        unreadable = known is None and one.found.pk in sizes
        yield replace(one, disk_gib=None if known is None else rules.gib_of(known), unreadable=unreadable)


def _measure(rows: Sequence[FoundVm]) -> dict[UUID, int | None]:
    """What their disks promise, in one call for each provider, kept in the rows; one that does not answer, or whose credentials
    cannot be opened, leaves them as they were.
    """
    by_provider: dict[UUID, list[FoundVm]] = {}
    for row in rows:
        by_provider.setdefault(row.provider_id, []).append(row)
    asked = [
        (several[0].provider, _sizes_of(tuple(row.external_id for row in several))) for several in by_provider.values()
    ]
    sizes: dict[UUID, int | None] = {}
    # Several providers may know a machine by the same id: each is asked for its own.
    for several, found in zip(by_provider.values(), ask_at_once(asked), strict=True):
        if not isinstance(found, HypervisorError):
            sizes |= {row.pk: found[row.external_id] for row in several if row.external_id in found}
    told = [row for row in rows if row.pk in sizes]
    for row in told:
        row.disk_bytes, row.measured_at = sizes[row.pk], timezone.now()
    FoundVm.objects.bulk_update(told, ["disk_bytes", "measured_at"])
    return sizes


def _sizes_of(external_ids: tuple[str, ...]) -> Callable[[BoundedDriver], dict[str, int | None]]:
    return lambda driver: driver.disk_sizes(external_ids)


def adopt(actor: Actor, wish: Adoption) -> list[tuple[Vm, Job]]:
    """Take them all, or none: a row, a charge and a job for each. Raises ``Conflict`` with every reason."""
    with attempt(actor, "VMS_ADOPT", Subject("data_center", wish.data_center_uid)) as trial:
        policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
        plan = _planned(actor, wish, stored_owner(wish.owner, wish.asked))
        # Why not may tell of another department's machines: that is not in this one's log.
        trial.subject = Subject("data_center", plan.data_center.pk, plan.data_center.name)
        trial.data = {"machines": [one.found.external_id for one in plan.candidates]}
        if plan.reasons:
            raise Conflict(" ".join(reason.text for reason in plan.reasons), reasons=plan.reasons)
        trial.subject = replace(trial.subject, data_center_uid=plan.data_center.pk)
        return [_take(actor, plan, one) for one in plan.candidates]


def unadopt_vm(actor: Actor, vm_uid: UUID, *, confirm: str = "") -> Job:
    """Let go of an adopted machine; it stays on its hypervisor as it is. For super-admins."""
    with attempt(actor, "VM_UNADOPT", Subject("vm", vm_uid)) as trial:
        vm = selectors.get_vm(actor, vm_uid)
        trial.subject = Subject("vm", vm.pk, vm.name, vm.data_center_id)
        policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
        if not vm.adopted:
            raise Conflict(_("This machine was made here. It can be deleted, not given back."))
        refuse_protected(actor, vm, "unadopt", confirm)
        job = start_job(actor, _request(UnadoptVm, vm))
        refuse_moved(vm)
        trial.correlation_id, trial.outcome = job.pk, Outcome.REQUESTED
    return job


def set_protected(actor: Actor, vm_uid: UUID, *, protected: bool) -> Vm:
    """Whether what would end this machine needs a super-admin who types its name. For super-admins."""
    with attempt(actor, "VM_PROTECT" if protected else "VM_UNPROTECT", Subject("vm", vm_uid)) as trial:
        vm = selectors.get_vm(actor, vm_uid)
        trial.subject = Subject("vm", vm.pk, vm.name, vm.data_center_id)
        policy.authorize(actor, Permit.SYSTEM_MANAGE, policy.system())
        vm.protected = protected
        vm.save(update_fields=["protected"])
    return vm


def _take(actor: Actor, plan: AdoptionPlan, one: Candidate) -> tuple[Vm, Job]:
    found, owner = one.found, plan.owner
    uid = uid_of(found)
    owner_uid = owner.pk if owner else None
    quota.charge(quota.Consumer("vm", uid), plan.data_center, one.amounts, user_uid=owner_uid, found=True)
    host = found.host
    if found.cluster is None:  # no engine's, so all hosts of its provider are in one cluster
        host = Host.objects.filter(provider=found.provider_id).select_related("cluster").order_by("name")[0]
    vm = Vm.objects.create(
        uid=uid,
        name=one.name,
        data_center=plan.data_center,
        owner=owner,
        cluster=found.cluster or cast("Host", host).cluster,
        host=host,
        provider_id=found.provider_id,
        external_id=found.external_id,
        status=found.status,
        memory_mib=found.memory_mib,
        vcpus=found.vcpus,
        adopted=True,
    )
    if owner is not None:
        give_to_owner(actor, owner, vm)
    job = start_job(actor, _request(AdoptVm, vm))
    subject = Subject("vm", vm.pk, vm.name, plan.data_center.pk)
    record(actor, "VM_ADOPT", outcome=Outcome.REQUESTED, subject=subject, correlation_id=job.pk)
    return vm, job


def uid_of(found: FoundVm) -> UUID:
    """What it is called here: by our own mark as before, else by its id there."""
    return found.marked_uid or UUID(found.external_id)


def _request(operation: type[AdoptVm] | type[UnadoptVm], vm: Vm) -> JobRequest:
    target = Target("vm", vm.pk, vm.name, vm.data_center_id)
    gate = Gate(Permit.PROVIDER_MANAGE, "system", policy.system().pk)
    return JobRequest(operation, target, gate, (Lock("vm", vm.pk),))


def data_center_of(uid: UUID) -> DataCenter:
    """The data center that a machine is to come into. ``Invalid`` names the field."""
    row = DataCenter.objects.filter(pk=uid).first()
    if row is None:
        raise _invalid("data_center", _("There is no such data center."))
    return row


def _candidates(actor: Actor, data_center: DataCenter, uids: Sequence[UUID]) -> Iterable[Candidate]:
    if not 0 < len(uids) <= MOST_AT_ONCE:
        text = _("Choose between 1 and %(most)d machines.") % {"most": MOST_AT_ONCE}
        raise _invalid("machines", text)
    rows = {row.pk: row for row in unassigned(actor).filter(pk__in=uids)}
    if len(rows) != len(set(uids)):
        raise NotFound(
            _("One of these machines is not there any more, or was adopted meanwhile. Look at the list again.")
        )
    reached, clusters = set(_providers_of(data_center)), _clusters_of(data_center)
    names = set(Vm.objects.filter(data_center=data_center).values_list("name", flat=True))
    ours = had_already(rows.values())
    engines = set(Zone.objects.values_list("provider_id", flat=True))
    for row in sorted(rows.values(), key=lambda row: row.name):
        name = rules.adopted_name(row.name, taken=names)
        names.add(name)
        is_nowhere = row.cluster_id is None and row.provider_id in engines
        is_reached = row.cluster_id in clusters if row.cluster_id else row.provider_id in reached
        problems = _problems(row, reached=is_reached or is_nowhere, ours=ours.get(row.pk))
        yield Candidate(row, name, (*problems, *([_cluster_unknown(row)] if is_nowhere else [])))


def _cluster_unknown(row: FoundVm) -> Reason:
    text = _(
        "%(name)s runs in a cluster of its engine that the portal has not seen yet. Wait for the next reading of the provider; "
        "if that does not help, see whether the portal's account may see that cluster in the engine."
    )
    return Reason("cluster_unknown", text % {"name": row.name}, "machines", {"machine": str(row.pk), "name": row.name})


def _providers_of(data_center: DataCenter) -> QuerySet[Host, UUID]:
    hosts = Host.objects.filter(cluster__assignments__data_center=data_center)
    return hosts.values_list("provider_id", flat=True)


def _clusters_of(data_center: DataCenter) -> set[UUID]:
    return set(data_center.cluster_assignments.values_list("cluster_id", flat=True))


def _problems(row: FoundVm, *, reached: bool, ours: Vm | None) -> Iterable[Reason]:
    data = {"machine": str(row.pk), "name": row.name}
    if row.mark:
        text = _("%(name)s cannot be adopted: it bears another portal's mark.")
        if row.mark == FoundMark.COPY:
            text = _("%(name)s cannot be adopted: it is a copy of a machine of this portal, and bears that one's mark.")
        yield Reason("marked", text % {"name": row.name}, "machines", data)
    if not reached:
        text = _("%(name)s runs on a cluster that is not assigned to this data center. Assign it first.")
        yield Reason("cluster_not_assigned", text % {"name": row.name}, "machines", data)
    if ours is not None:
        text = _("The portal has %(name)s already: as %(vm)s on %(provider)s. It cannot be adopted once more.")
        whose = {"name": row.name, "vm": ours.name, "provider": ours.provider.name}
        yield Reason("id_taken", text % whose, "machines", data | {"vm": str(ours.pk)})


def _invalid(field_name: str, text: str) -> Invalid:
    return Invalid(text, reasons=(Reason(f"{field_name}_invalid", text, field_name),))
