"""The hallway of templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from compute import rules, selectors
from compute.choices import ImageStatus
from compute.models import Image, StorageDomain, Template, Vm
from compute.operations.templates import DeleteTemplate, ImportTemplate, MakeTemplate, taken_for
from compute.services.images import get_image
from compute.services.template_rows import (
    TemplateTraits,
    gate_of,
    owner_of,
    refuse,
    refuse_name,
    save,
    start,
    storage_of,
    subject_of,
    version_before,
    write,
)
from portal.common.actor import Actor
from portal.common.errors import Conflict, NotPermitted, PreconditionFailed, Reason
from portal.common.units import bytes_text
from portal.common.versions import version_of
from portal.events.codes import Outcome
from portal.events.record import Subject, attempt
from portal.jobs.models import Job
from portal.jobs.start import Gate, Lock
from tenants import policy
from tenants.permits import Permit
from tenants.selectors import where_to_ask
from tenants.services.makers import give_to_maker

MOST_NAMED = 10
EDITABLE = (
    "name",
    "description",
    "icon",
    "memory_mib",
    "memory_min_mib",
    "vcpus",
    "has_agent",
    "has_cloud_init",
    "has_serial_console",
)
FOLLOWED = ("name", "description", "memory_mib", "vcpus")


@dataclass(frozen=True, slots=True)
class TemplateRequest:
    """A template to make from a qcow2 image on this machine."""

    name: str
    path: Path
    storage_domain: StorageDomain
    disk_gib: int
    memory_mib: int
    memory_min_mib: int
    description: str = ""


@dataclass(frozen=True, slots=True)
class NewTemplate:
    """A template to make from an uploaded image. ``data_center_uid`` None: the institute's.

    ``next_version``: of the template of this name, which must be there; else there must be none.
    """

    traits: TemplateTraits
    image_uid: UUID
    storage_domain_uid: UUID
    data_center_uid: UUID | None = None
    next_version: bool = False


@dataclass(frozen=True, slots=True)
class TemplateEdit:
    """Traits to change; what is left out stays. ``version`` of the row that was looked at, empty: whatever it is now."""

    changes: dict[str, Any] = field(default_factory=dict)
    version: str = ""


def import_template(actor: Actor, request: TemplateRequest) -> tuple[Template, Job]:
    """Make an institute-wide template. For super-admins, by command."""
    with attempt(actor, "TEMPLATE_CREATE", Subject("template", None, request.name)) as trial:
        policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
        refuse_name(request.name, None)
        template = Template.objects.create(
            name=request.name,
            description=request.description,
            storage_domain=request.storage_domain,
            disk_gib=request.disk_gib,
            memory_mib=request.memory_mib,
            memory_min_mib=request.memory_min_mib,
            has_agent=True,
            has_cloud_init=True,
            has_serial_console=True,
        )
        trial.subject = subject_of(template)
        gate = Gate(Permit.PROVIDER_MANAGE, "system", policy.system().pk)
        job = start(actor, ImportTemplate, template, gate, params={"path": str(request.path)})
        trial.correlation_id, trial.outcome = job.pk, Outcome.REQUESTED
    return template, job


def make_template(actor: Actor, request: NewTemplate) -> tuple[Template, Job]:
    """Make a template from an uploaded image: the row now, its disk by the job.

    Raises ``Invalid`` naming the fields, ``NotFound`` for an image or a storage domain that may not be used, ``NotPermitted``
    for another department's image that one may merely see, ``Conflict`` for a taken name, an image that is not ready, or no room (with figures).
    """
    with attempt(actor, "TEMPLATE_CREATE", Subject("template", None, request.traits.name)) as trial:
        owner = owner_of(actor, request.data_center_uid)
        image = Image.objects.select_for_update(of=("self",)).get(pk=get_image(actor, request.image_uid).pk)
        policy.authorize(actor, taken_for(image, owner), image)
        domain = storage_of(owner, request.storage_domain_uid, ability="disk_upload")
        refuse(rules.template_reasons(**asdict(request.traits)))
        before = version_before(actor, owner, request)
        _refuse_image(image, domain)
        template = write(request.traits, owner, domain, disk_gib=rules.gib_of(image.virtual_bytes), before=before)
        give_to_maker(actor, template)
        trial.subject = subject_of(template)
        gate = gate_of(Permit.TEMPLATE_CREATE, owner)
        locks = (Lock("image", image.pk, exclusive=False),)
        job = start(actor, MakeTemplate, template, gate, locks=locks, params={"image": str(image.pk)})
        trial.correlation_id, trial.outcome = job.pk, Outcome.REQUESTED
    return template, job


def edit_template(actor: Actor, uid: UUID, edit: TemplateEdit) -> Template:
    """Change traits. ``PreconditionFailed`` when it is another version now."""
    with attempt(actor, "TEMPLATE_EDIT", Subject("template", uid)) as trial:
        template = selectors.get_template(actor, uid)
        trial.subject = subject_of(template)
        policy.authorize(actor, Permit.TEMPLATE_EDIT, template)
        template = Template.objects.select_for_update(of=("self",)).get(pk=uid)
        if edit.version and edit.version != template_version(template):
            raise PreconditionFailed(_("Somebody else changed this template meanwhile. Look at it again."))
        wanted = {name: getattr(template, name) for name in EDITABLE} | edit.changes
        if template.is_engines:
            refuse(_followed_reasons(template, wanted))
        refuse(_broken_rules(template, wanted))
        if wanted["name"] != template.name:
            refuse_name(wanted["name"], template.owner)
            _rename_versions(actor, template, wanted["name"])
        for name, value in wanted.items():
            setattr(template, name, value)
        save(template)
    return template


def _followed_reasons(template: Template, wanted: Mapping[str, Any]) -> list[Reason]:
    """What an engine says of its own template stays as the engine says it."""
    text = _("The template is an engine's, which says this of it. Change it there; what is changed is seen here soon.")
    changed = [name for name in FOLLOWED if wanted[name] != getattr(template, name)]
    return [Reason("template_of_engine", text, name) for name in changed]


def _broken_rules(template: Template, wanted: Mapping[str, Any]) -> list[Reason]:
    """What an engine says of its own template follows the engine's rules; the rest is judged by ours."""
    reasons = rules.template_reasons(**wanted)
    if not template.is_engines:
        return reasons
    least = rules.least_memory_reasons(wanted["memory_min_mib"], memory_mib=template.memory_mib)
    return [reason for reason in reasons if reason.field not in FOLLOWED] + least


def _rename_versions(actor: Actor, template: Template, name: str) -> None:
    """They are known by their common name, so it takes the right to change all of them. An engine's own is none of them."""
    made = Template.objects.filter(owner=template.owner, name=template.name, provider=None).exclude(pk=template.pk)
    if made.exclude(pk__in=policy.visible(actor, Permit.TEMPLATE_EDIT, made).values("pk")).exists():
        text = _(
            "There are other versions of it that you may not change, and all bear the same name. Leave it as it is."
        )
        raise NotPermitted(text, reasons=(Reason("other_versions", text, "name"),))
    made.update(name=name)


def delete_template(actor: Actor, uid: UUID) -> Job:
    """Remove a template and its disk. ``Conflict`` names the machines that were made from it: their disks lie over its."""
    with attempt(actor, "TEMPLATE_DELETE", Subject("template", uid)) as trial:
        template = selectors.get_template(actor, uid)
        trial.subject = subject_of(template)
        policy.authorize(actor, Permit.TEMPLATE_DELETE, template)
        _refuse_engines(template)
        _refuse_needed(actor, template)
        job = start(actor, DeleteTemplate, template, Gate(Permit.TEMPLATE_DELETE, "template", template.pk))
        trial.correlation_id, trial.outcome = job.pk, Outcome.REQUESTED
    return job


def template_version(template: Template) -> str:
    """The version of what can be edited."""
    return version_of(*(getattr(template, name) for name in EDITABLE))


def authorize_making(actor: Actor) -> None:
    """Raise ``NotPermitted`` for whoever may make templates nowhere."""
    if not policy.holds_anywhere(actor, Permit.TEMPLATE_CREATE):
        policy.authorize(actor, Permit.TEMPLATE_CREATE, where_to_ask(actor) or policy.system())


def dependents(actor: Actor, template: Template) -> tuple[int, tuple[str, ...]]:
    """How many machines were made from it, and the first names of those that this actor may see."""
    there = Vm.objects.filter(template=template)
    seen = selectors.vms(actor).filter(template=template).values_list("name", flat=True)
    return there.count(), tuple(seen[:MOST_NAMED])


def _refuse_image(image: Image, domain: StorageDomain) -> None:
    if image.status != ImageStatus.READY:
        text = _("The image is not ready; it is %(status)s.") % {"status": image.get_status_display()}
        raise Conflict(text, reasons=(Reason("image_not_ready", text, "image", {"status": image.status}),))
    if domain.total_bytes and domain.free_bytes < image.size_bytes:
        text = _("The storage domain has %(free)s left, and the image has %(size)s. Choose another, or free some.") % {
            "free": bytes_text(domain.free_bytes),
            "size": bytes_text(image.size_bytes),
        }
        data = {"free_bytes": domain.free_bytes, "size_bytes": image.size_bytes}
        raise Conflict(text, reasons=(Reason("storage_full", text, "storage_domain", data),))


def _refuse_engines(template: Template) -> None:
    if template.is_engines:
        text = _("The template is an engine's. Delete it there; here it can be taken back from data centers.")
        raise Conflict(text, reasons=(Reason("template_of_engine", text),))


def _refuse_needed(actor: Actor, template: Template) -> None:
    count, names = dependents(actor, template)
    if not count:
        return
    text = ngettext(
        "%(count)d machine was made from %(name)s and needs it: %(machines)s. Delete it first.",
        "%(count)d machines were made from %(name)s and need it: %(machines)s. Delete them first.",
        count,
    ) % {
        "count": count,
        "name": template.name,
        "machines": ", ".join(names) + (" …" if count > len(names) else ""),
    }
    raise Conflict(text, reasons=(Reason("in_use", text, data={"count": count, "machines": list(names)}),))
