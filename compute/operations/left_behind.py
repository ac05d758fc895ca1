"""Where what a stuck job did not undo is to be looked for: told from rows, for its hypervisor may well be away.

Whoever closes such a job finds it by these names: everything of ours on a hypervisor bears the id that is told here.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from compute import rules, spool
from compute.models import Template, Vm
from portal.hypervisors.models import Provider
from portal.jobs.models import Job


def _provider(uid: Any) -> str:
    row = Provider.objects.filter(pk=uid).first() if uid else None
    return row.name if row else _("a provider that is gone")


def _disk(uid: Any, domain: str, provider: str) -> str:
    told = {"id": uid, "domain": domain, "provider": provider}
    return _("A volume with %(id)s in its name, in the storage domain %(domain)s of %(provider)s.") % told


def machine_left(job: Job, step: str) -> list[str]:
    """Of making a machine."""
    provider = _provider(job.params.get("provider"))
    if step == "define":
        name = rules.provider_name(job.target_name, job.target_uid.hex)
        return [_("The machine %(name)s on %(provider)s.") % {"name": name, "provider": provider}]
    disks = job.params.get("disks", [])
    if step == "first_boot":
        return [_disk(job.target_uid, _domain(disk), provider) for disk in disks[:1]]
    return [_disk(disk["uid"], _domain(disk), provider) for disk in disks]


def _domain(disk: dict[str, str]) -> str:
    """By its name for people; a job of an earlier version knew its external id alone."""
    return disk.get("domain") or disk["storage_domain"]


def template_left(job: Job, step: str) -> list[str]:
    """Of making a template."""
    if step == "convert":
        return [_file(spool.converted(job.target_uid).name)]
    if step == "seal":
        return [_file(path(job.target_uid).name) for path in (spool.fetched, spool.converted)]
    row = Template.objects.select_related("storage_domain__provider").filter(pk=job.target_uid).first()
    if row is None:
        return []
    return [_disk(row.pk, row.storage_domain.external_id, row.storage_domain.provider.name)]


def image_left(job: Job, _step: str) -> list[str]:
    """Of inspecting an image."""
    return [_file(spool.uploaded(job.target_uid).name)]


def _file(name: str) -> str:
    return _("The file %(name)s in the portal's folder of images.") % {"name": name}


def mark_left(job: Job, _step: str) -> list[str]:
    """Of adopting a machine."""
    row = Vm.objects.select_related("provider").filter(pk=job.target_uid).first()
    if row is None:
        return []
    told = {"id": row.external_id, "provider": row.provider.name}
    return [_("This portal's mark in the description of the machine %(id)s on %(provider)s.") % told]
