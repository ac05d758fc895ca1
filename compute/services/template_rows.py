"""What every way to make a template shares: whose it is, where it lies, its name and version, its row and its job."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from compute import rules, selectors
from compute.models import StorageDomain, Template, TemplateAssignment
from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, NotFound, Reason
from portal.events.record import Subject
from portal.jobs.models import Job
from portal.jobs.operation import Operation
from portal.jobs.start import Gate, JobRequest, Lock, Target, start_job
from tenants import policy, quota
from tenants.models import DataCenter
from tenants.models.quota import Dimension
from tenants.permits import Permit
from tenants.selectors import get_data_center
from tenants.services.makers import share_as_before


@dataclass(frozen=True, slots=True)
class TemplateTraits:
    """What can be said of a template and changed later: sizes in MiB, and for what its system is ready."""

    name: str
    description: str = ""
    icon: str = rules.ICONS[0]
    memory_mib: int = 1024
    memory_min_mib: int = 256
    vcpus: int = 1
    has_agent: bool = False
    has_cloud_init: bool = False
    has_serial_console: bool = False


class Named(Protocol):
    """A request that says how the template is to be called, and whether it is a next version."""

    @property
    def traits(self) -> TemplateTraits: ...
    @property
    def next_version(self) -> bool: ...


def owner_of(actor: Actor, uid: UUID | None) -> DataCenter | None:
    """Whose it is to be; None: the institute's. Raises ``NotPermitted``, ``NotFound``."""
    owner = None if uid is None else get_data_center(actor, uid)
    policy.authorize(actor, Permit.TEMPLATE_CREATE, owner or policy.system())
    return owner


def storage_of(owner: DataCenter | None, uid: UUID, *, ability: str) -> StorageDomain:
    """Where its disk can lie. Raises ``NotFound``, and ``Conflict`` where its provider is not capable of that."""
    domain = selectors.storage_for_templates(owner, ability=ability).filter(pk=uid).first()
    if domain is None and (unfit := selectors.storage_without(owner, ability=ability).filter(pk=uid).first()):
        raise Conflict(takes_no_disks(unfit).text, reasons=(takes_no_disks(unfit),))
    if domain is None:
        text = _(
            "There is no such storage domain, or this data center may not use it. Choose another, or have it assigned to the "
            "data center."
        )
        raise NotFound(text, reasons=(Reason("storage_not_found", text, "storage_domain"),))
    return domain


def takes_no_disks(domain: StorageDomain) -> Reason:
    """Why no template's disk can be brought there."""
    text = _(
        "%(name)s takes no disks from here: its templates are made on its engine, and assigned here. Choose another."
    )
    return Reason("takes_no_disks", text % {"name": domain.name}, "storage_domain")


def refuse(reasons: list[Reason]) -> None:
    """Raise ``Invalid`` with all reasons, if there are any."""
    if reasons:
        raise Invalid(" ".join(reason.text for reason in reasons), reasons=tuple(reasons))


def refuse_name(name: str, owner: DataCenter | None) -> None:
    """Raise ``Invalid`` for what is no name, ``Conflict`` for one that is taken."""
    refuse(rules.title_reasons(name))
    if Template.objects.filter(owner=owner, name=name, provider=None).exists():
        raise _taken()


def version_before(actor: Actor, owner: DataCenter | None, request: Named) -> Template | None:
    """The newest version that is there already, for a next one; None for a new template.

    Whoever may use a template gets its next version instead, so it takes the right to change the one before.
    """
    if not request.next_version:
        refuse_name(request.traits.name, owner)
        return None
    made = Template.objects.filter(owner=owner, name=request.traits.name, provider=None)
    before = made.order_by("-version").first()
    if before is None:
        text = _("There is no template of this name to make another version of.")
        raise Invalid(text, reasons=(Reason("no_such_template", text, "name"),))
    policy.authorize(actor, Permit.TEMPLATE_EDIT, before)
    return before


def _taken() -> Conflict:
    text = _("A template of this name is already there. Choose another name, or make it the next version.")
    return Conflict(text, reasons=(Reason("name_taken", text, "name"),))


def write(
    traits: TemplateTraits,
    owner: DataCenter | None,
    domain: StorageDomain,
    *,
    disk_gib: int,
    before: Template | None,
    is_sealed: bool = True,
) -> Template:
    """The row, and what its disk promises charged; whoever may use the version before may use this one."""
    version = before.version + 1 if before else 1
    uid = uuid4()
    if owner is not None:
        quota.charge(quota.Consumer("template", uid), owner, {Dimension.STORAGE_GIB: disk_gib}, user_uid=None)
    facts = {"owner": owner, "storage_domain": domain, "disk_gib": disk_gib, "is_sealed": is_sealed}
    template = Template(uid=uid, version=version, **facts, **asdict(traits))
    save(template)
    centers = before.assignments.values_list("data_center", flat=True) if before else []
    TemplateAssignment.objects.bulk_create(
        TemplateAssignment(template=template, data_center_id=center) for center in centers
    )
    if before is not None:
        share_as_before(before, template)
    return template


def save(template: Template) -> None:
    """Write the row. Raises ``Conflict`` for a name that was taken meanwhile."""
    try:
        with transaction.atomic():
            template.save()
    except IntegrityError as error:  # another request was faster with this name
        raise _taken() from error


def gate_of(permit: Permit, owner: DataCenter | None) -> Gate:
    """What the maker must still hold when the job runs."""
    return Gate(permit, "data_center", owner.pk) if owner else Gate(permit, "system", policy.system().pk)


def start(
    actor: Actor,
    operation: type[Operation],
    template: Template,
    gate: Gate,
    *,
    locks: tuple[Lock, ...] = (),
    params: dict[str, Any] | None = None,
) -> Job:
    """Start a job on a template, which it has for itself; ``locks`` are what it needs besides."""
    target = Target("template", template.pk, template.name, template.owner_id)
    held = (Lock("template", template.pk), *locks)
    return start_job(actor, JobRequest(operation, target, gate, held, params or {}))


def subject_of(template: Template) -> Subject:
    """For the log."""
    return Subject("template", template.pk, template.name, template.owner_id)
