"""What a template can be made of, as the form of a new one needs it: an image, a machine, or a volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import QueryDict

from compute import sealing
from compute.file_names import title_of
from compute.forms.templates import CopiedTemplateForm, NewTemplateForm
from compute.models import Template, Vm
from compute.services import images, template_copies, templates, volume_offers
from compute.services.sharing import uid_in
from compute.services.template_copies import CopyRequest
from compute.services.template_rows import TemplateTraits
from compute.services.templates import NewTemplate
from portal.common.actor import Actor
from portal.common.errors import Conflict, Reason
from portal.jobs.models import Job

Make = Callable[[NewTemplateForm], tuple[Template, Job]]


@dataclass(frozen=True, slots=True)
class Source:
    """``name`` for people; ``owner_uid`` of the data center that is proposed (None: the institute); ``back`` an address' name.

    ``provider_uid``: storage domains of this provider alone can take it. ``is_bound``: to that data center, or the institute.
    ``for_all``: it can be the institute's. ``make`` does what the form says. ``ability``: what a provider must be capable of to take it. ``seals``: its copy can be
    sealed; ``cannot_seal``: why it cannot, for whoever would like to. ``doubt``: why it may not be what its name says.
    """

    name: str
    traits: TemplateTraits
    make: Make
    back: tuple[str, tuple[Any, ...]]
    form: type[NewTemplateForm] = NewTemplateForm
    owner_uid: UUID | None = None
    provider_uid: UUID | None = None
    is_bound: bool = False
    for_all: bool = True
    ability: str = "disk_upload"
    seals: bool = False
    cannot_seal: str = ""
    doubt: str = ""

    def form_of(self, data: Any, **more: Any) -> NewTemplateForm:
        """Its form, with the choices that there are for it."""
        form = self.form(data, **more)
        if isinstance(form, CopiedTemplateForm):
            form.offer_seal(is_offered=self.seals)
        return form

    @property
    def taken_out(self) -> list[str]:
        """What sealing takes out."""
        return [str(part.text) for part in sealing.PARTS] if self.seals else []


def source_of(actor: Actor, query: QueryDict) -> Source:
    """What the address names. Raises ``NotFound``, and ``Conflict`` for what no template can be made of now."""
    if "machine" in query:
        return _machine(actor, uid_in(query.get("machine", "")))
    if "offer" in query:
        return _offered(actor, uid_in(query.get("offer", "")))
    if "volume" in query:
        return _volume(actor, uid_in(query.get("storage_domain", "")), query.get("volume", ""))
    return _image(actor, uid_in(query.get("image", "")))


def _image(actor: Actor, uid: UUID) -> Source:
    image = images.get_image(actor, uid)

    def make(form: NewTemplateForm) -> tuple[Template, Job]:
        domain, owner, next_version = form.place()
        return templates.make_template(actor, NewTemplate(form.traits(), image.pk, domain, owner, next_version))

    traits = TemplateTraits(name=_bare(image.name))
    doubt = images.doubt_of(image)
    return Source(image.name, traits, make, ("compute:images", ()), owner_uid=image.owner_id, doubt=doubt)


def _machine(actor: Actor, uid: UUID) -> Source:
    vm = template_copies.get_machine(actor, uid)
    _refuse(template_copies.why_not(vm))

    def make(form: NewTemplateForm) -> tuple[Template, Job]:
        return template_copies.template_of_machine(actor, vm.pk, _wish(form))

    back, why = ("compute:vm-detail", (vm.pk,)), template_copies.cannot_seal()
    return Source(
        vm.name, _traits_of(vm), make, back, CopiedTemplateForm,
        owner_uid=vm.data_center_id, provider_uid=vm.provider_id, is_bound=True, ability="disk_copy",
        seals=not why, cannot_seal=why,
    )  # fmt: skip


def _volume(actor: Actor, domain_uid: UUID, name: str) -> Source:
    domain, offer = template_copies.get_offer(actor, domain_uid, name)
    _refuse(offer.reasons)

    def make(form: NewTemplateForm) -> tuple[Template, Job]:
        return template_copies.template_of_volume(actor, domain, offer, _wish(form))

    traits = TemplateTraits(name=_bare(title_of(name)))
    back = ("compute:volumes", (domain.pk,))
    where = domain.provider_id
    return Source(name, traits, make, back, CopiedTemplateForm, provider_uid=where, ability="disk_copy")


def _offered(actor: Actor, uid: UUID) -> Source:
    """One that a super-admin offered. Its row is read alone: the job asks the hypervisor."""
    offer = volume_offers.get_volume_offer(actor, uid)

    def make(form: NewTemplateForm) -> tuple[Template, Job]:
        return volume_offers.template_of_offer(actor, offer.pk, _wish(form))

    traits = TemplateTraits(name=_bare(title_of(offer.name)))
    place = offer.assignment
    return Source(
        offer.name, traits, make, ("compute:images", ()), CopiedTemplateForm,
        owner_uid=place.data_center_id, provider_uid=place.storage_domain.provider_id, is_bound=True, for_all=False,
        ability="disk_copy",
    )  # fmt: skip


def _wish(form: NewTemplateForm) -> CopyRequest:
    domain, owner, next_version = form.place()
    accept, seal = form.cleaned_data["accept_unsealed"], form.cleaned_data.get("seal", False)
    return CopyRequest(form.traits(), domain, owner, next_version, accept, seal)


def _traits_of(vm: Vm) -> TemplateTraits:
    """For what its own template was ready it is ready too."""
    known = vm.template
    if known is None:
        return TemplateTraits(name=vm.name, memory_mib=vm.memory_mib, vcpus=vm.vcpus)
    return TemplateTraits(
        name=vm.name,
        icon=known.icon,
        memory_mib=vm.memory_mib,
        memory_min_mib=min(known.memory_min_mib, vm.memory_mib),
        vcpus=vm.vcpus,
        has_agent=known.has_agent,
        has_cloud_init=known.has_cloud_init,
        has_serial_console=known.has_serial_console,
    )


def _bare(name: str) -> str:
    return name.removesuffix(".qcow2").removesuffix(".raw").removesuffix(".img")


def _refuse(reasons: list[Reason] | tuple[Reason, ...]) -> None:
    if reasons:
        raise Conflict(" ".join(reason.text for reason in reasons), reasons=tuple(reasons))
