"""The hallway of templates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.utils.translation import gettext as _

from compute import rules
from compute.models import StorageDomain, Template
from compute.operations.templates import ImportTemplate
from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid
from portal.events.codes import Outcome
from portal.events.record import Subject, attempt
from portal.jobs.models import Job
from portal.jobs.start import Gate, JobRequest, Lock, Target, start_job
from tenants import policy
from tenants.permits import Permit


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


def import_template(actor: Actor, request: TemplateRequest) -> tuple[Template, Job]:
    """Make an institute-wide template. For super-admins, by command."""
    with attempt(actor, "TEMPLATE_CREATE", Subject("template", None, request.name)) as trial:
        policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
        if reasons := rules.title_reasons(request.name):
            raise Invalid(" ".join(r.text for r in reasons), reasons=tuple(reasons))
        if Template.objects.filter(owner=None, name=request.name).exists():
            raise Conflict(_("A template of this name is already there."))
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
        trial.subject = Subject("template", template.pk, template.name)
        gate = Gate(Permit.PROVIDER_MANAGE, "system", policy.system().pk)
        lock = Lock("template", template.pk)
        params = {"path": str(request.path)}
        job = start_job(
            actor, JobRequest(ImportTemplate, Target("template", template.pk, template.name), gate, (lock,), params)
        )
        trial.correlation_id, trial.outcome = job.pk, Outcome.REQUESTED
    return template, job
