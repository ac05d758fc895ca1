"""The verbs of pages of data centers, templates, images and clusters, as each reader is shown them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.urls import reverse
from django.utils.translation import gettext as _

from compute.models import Cluster, Image, Template, Vm
from compute.selectors import permits_on_center
from compute.services.offered_networks import Offer
from compute.services.offered_networks import offers as all_offers
from network.models import Network
from portal.common.actor import Actor
from portal.hypervisors.models import Provider
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit
from tenants.verbs import Verb, asked_somewhere, explained, lacking, rights_page


def create_machine(actor: Actor, *, possible: bool, title: str = "") -> Verb:
    """Making a machine, in whatever data center."""
    verb = Verb("create", title or _("Create machine"), "plus", reverse("compute:vm-create"))
    return asked_somewhere(verb, actor, Permit.VM_CREATE, held=possible)


def nothing_to_make_from(actor: Actor, *, possible: bool) -> Verb:
    """Making a machine where nothing can be chosen: no data center (not ``possible``), or no template."""
    verb = create_machine(actor, possible=possible)
    if not possible and policy.holds_everywhere(actor, Permit.SYSTEM_MANAGE):
        return replace(
            verb,
            reason=_("There is no data center to make machines in. Launch one, or enable one that is disabled."),
            way_out="",
        )
    if not verb.reason:
        held = policy.holds_anywhere(actor, Permit.TEMPLATE_USE)
        verb = asked_somewhere(verb, actor, Permit.TEMPLATE_USE, held=held)
    reason = _("Your data center has no template yet. A super-admin can assign it one, its administrator can make one.")
    return verb.unless(reason)


def first_needed(actor: Actor, *, possible: bool) -> Verb | None:
    """What whoever has nothing to make a machine from can do about it himself; None where he has to ask others."""
    if not possible:
        return launch_center(actor) if policy.holds_everywhere(actor, Permit.SYSTEM_MANAGE) else None
    shelf = upload_image(actor)
    return None if shelf.reason else shelf


def launch_center(actor: Actor) -> Verb | None:
    """Launching a data center, as this actor is shown it."""
    launch = Verb("launch", _("Launch data center"), "rocket", reverse("compute:data-center-launch"))
    return launch.asking_above(actor, Permit.SYSTEM_MANAGE)


def upload(actor: Actor) -> Verb:
    """Uploading images, for whoever may not in any data center."""
    verb = Verb("upload", _("Upload"), "upload", "")
    return asked_somewhere(verb, actor, Permit.IMAGE_UPLOAD, held=False)


def upload_image(actor: Actor) -> Verb:
    """The way to a template for whoever may make templates in some data center."""
    verb = Verb("upload", _("Upload an image"), "upload", reverse("compute:images"))
    return asked_somewhere(
        verb, actor, Permit.TEMPLATE_CREATE, held=policy.holds_anywhere(actor, Permit.TEMPLATE_CREATE)
    )


def make_template(actor: Actor) -> Verb:
    """Making a template in whatever data center; of what, its address says elsewhere."""
    held = policy.holds_anywhere(actor, Permit.TEMPLATE_CREATE)
    verb = Verb("make-template", _("Make template"), "template", reverse("compute:template-create"))
    return asked_somewhere(verb, actor, Permit.TEMPLATE_CREATE, held=held)


def template_of(actor: Actor, vm: Vm, permits: Container[Permit], why_not: str) -> Verb:
    """Making a template of a machine; ``why_not``: what keeps everybody from it now."""
    address = f"{reverse('compute:template-create')}?machine={vm.pk}"
    verb, permit = Verb("make-template", _("Make template"), "template", address), Permit.TEMPLATE_CREATE
    if vm.adopted:
        give_back = reverse("compute:vm-confirm-unadopt", args=[vm.pk])
        leads = give_back if Permit.SYSTEM_MANAGE in permits else explained(Permit.PROVIDER_MANAGE)
        return verb.unless(why_not).leading(leads)
    if permit in permits:
        return verb.asking(Permit.VM_EDIT, vm, permits).unless(why_not)
    if Permit.DATA_CENTER_VIEW in permits_on_center(actor, vm.data_center):
        return verb.asking(permit, vm.data_center, permits)
    return verb.unless(lacking(permit))  # to him whom the machine was shared with, its department is not there


def move(vm: Vm, permits: Container[Permit]) -> Verb:
    """Moving a machine to another data center, which its owner may have to ask for: everybody is shown it."""
    verb = Verb("move", _("Move to a data center"), "building-community", reverse("compute:vm-move", args=[vm.pk]))
    if Permit.SYSTEM_MANAGE in permits:
        return verb
    told = verb.unless(_("Super-admins move machines to other data centers."))
    return told.leading(explained(Permit.SYSTEM_MANAGE))


def protect(actor: Actor, vm: Vm) -> Verb | None:
    """Protecting a machine, or protecting it no longer."""
    turn = ("unprotect", _("Protect no longer"), "shield-off") if vm.protected else ("protect", _("Protect"), "shield")
    verb = Verb(*turn, reverse(f"compute:vm-{turn[0]}", args=[vm.pk]))
    return verb.asking_above(actor, Permit.SYSTEM_MANAGE)


@dataclass(frozen=True, slots=True)
class TemplateVerbs:
    """What can be done with a template. ``delete`` is None for one that only its engine deletes."""

    create: Verb
    edit: Verb
    roles: Verb
    delete: Verb | None


def of_template(actor: Actor, row: Template, permits: Container[Permit], made_from: Template | None) -> TemplateVerbs:
    """The verbs of a template's page; ``made_from``: the version of it that this actor makes machines from."""
    edit = Verb("edit", _("Edit"), "pencil", reverse("compute:template-edit", args=[row.pk]))
    roles = Verb("roles", _("Roles"), "user-key", reverse("tenants:grants", args=["template", row.pk]))
    delete = Verb("delete", _("Delete the template"), "trash", reverse("compute:template-delete", args=[row.pk]))
    return TemplateVerbs(
        _machine_from(actor, row, permits, made_from),
        edit.asking(Permit.TEMPLATE_EDIT, row, permits),
        roles.asking(Permit.GRANT, row, permits),
        None if row.is_engines else delete.asking(Permit.TEMPLATE_DELETE, row, permits),
    )


def _machine_from(actor: Actor, row: Template, permits: Container[Permit], made_from: Template | None) -> Verb:
    title = _("Create machine")
    if made_from is not None and made_from != row:
        title = _("Create machine from version %(number)s") % {"number": made_from.version}
    verb = Verb("create", title, "plus", f"{reverse('compute:vm-create')}?template={(made_from or row).pk}")
    if made_from is not None:
        return verb
    if row.status != "ok":
        return verb.unless(_("The template is not ready."))
    verb = verb.asking(Permit.TEMPLATE_USE, row, permits)
    if not verb.reason:
        verb = asked_somewhere(verb, actor, Permit.VM_CREATE, held=policy.holds_anywhere(actor, Permit.VM_CREATE))
    return verb.unless(_("No data center in which you make machines may use it."))


@dataclass(frozen=True, slots=True)
class ImageVerbs:
    """What can be done with an image."""

    make: Verb
    roles: Verb
    remove: Verb


def of_image(image: Image, permits: Container[Permit], make: Verb) -> ImageVerbs:
    """The verbs of an image's row; ``make``: ``make_template`` of this reader."""
    named = {"name": image.name}
    roles = Verb(
        "roles", _("Roles on %(name)s") % named, "user-key", reverse("tenants:grants", args=["image", image.pk])
    )
    remove = Verb("remove", _("Remove %(name)s") % named, "trash", reverse("compute:image-delete", args=[image.pk]))
    unready = "" if image.status == "ready" else _("A template can be made once the image is ready.")
    if image.status == "refused":
        unready = _("No template can be made of it: the image was refused.")
    return ImageVerbs(
        replace(make, address=f"{make.address}?image={image.pk}").unless(unready),
        roles.asking(Permit.GRANT, image, permits),
        remove.asking(Permit.IMAGE_DELETE, image, permits).unless(
            _("The image is being inspected.") if image.status == "inspecting" else ""
        ),
    )


@dataclass(frozen=True, slots=True)
class CenterVerbs:
    """What can be done with a data center; what asks the whole system is None for those who hold no rank."""

    people: Verb
    edit: Verb
    switch: Verb | None
    limits: Verb | None
    network: Verb | None
    assign: Verb | None


def of_center(actor: Actor, row: DataCenter, permits: Container[Permit]) -> CenterVerbs:
    """The verbs of a data center's page."""
    people = Verb("people", _("People"), "users", reverse("tenants:people", args=[row.pk]))
    edit = Verb("edit", _("Edit"), "pencil", reverse("compute:data-center-edit", args=[row.pk]))
    turn = ("disable", _("Disable the data center"), "ban") if row.enabled else ("enable", _("Enable again"), "check")
    switch = Verb(*turn, reverse(f"compute:data-center-{turn[0]}", args=[row.pk]))
    limits = Verb("limits", _("Set limits"), "gauge", reverse("tenants:data-center-quota", args=[row.pk]))
    network = Verb("network", _("Create network"), "plus", reverse("network:network-create", args=[row.pk]))
    assign = Verb("assign", _("Assign"), "plus", "")
    return CenterVerbs(
        people.asking(Permit.GRANT, row, permits),
        edit.asking(Permit.DATA_CENTER_EDIT, row, permits),
        switch.asking_above(actor, Permit.SYSTEM_MANAGE),
        limits.asking_above(actor, Permit.SYSTEM_MANAGE),
        network.asking_above(actor, Permit.PROVIDER_MANAGE),
        assign.asking_above(actor, Permit.PROVIDER_MANAGE),
    )


@dataclass(frozen=True, slots=True)
class NetworkVerbs:
    """What a network's row leads to: its roles, and the page of all that the reader may do with it; of ``who`` whether he may see."""

    roles: Verb
    rights: str
    who: bool


def of_networks(actor: Actor, rows: Sequence[Network]) -> dict[UUID, NetworkVerbs]:
    """The verbs of networks' rows, of those that this actor may see; in a number of queries that does not grow with them."""
    permits = policy.permits_on(actor, rows)
    return {row.pk: _of_network(row, permits[row.pk]) for row in rows if Permit.NETWORK_VIEW in permits[row.pk]}


def _of_network(row: Network, permits: Container[Permit]) -> NetworkVerbs:
    title = _("Roles on %(name)s") % {"name": row.name}
    roles = Verb("roles", title, "user-key", reverse("tenants:grants", args=["network", row.pk]))
    return NetworkVerbs(roles.asking(Permit.GRANT, row, permits), rights_page(row), Permit.GRANT in permits)


def new_centers(actor: Actor) -> tuple[Verb | None, Verb | None]:
    """Launching a data center, and making an empty one."""
    create = Verb("create", _("Create data center"), "plus", reverse("compute:data-center-create"))
    return launch_center(actor), create.asking_above(actor, Permit.SYSTEM_MANAGE)


def of_cluster(actor: Actor, row: Cluster) -> list[Verb]:
    """The verbs of a cluster's page: none of one that is its engine's, and one is dissolved only if it was made here."""
    edit = Verb("edit", _("Edit"), "pencil", reverse("compute:cluster-edit", args=[row.pk]))
    dissolve = Verb("dissolve", _("Dissolve"), "trash", reverse("compute:cluster-remove", args=[row.pk]))
    verbs = [] if row.is_engines else [edit] if row.provider else [edit, dissolve]
    return [shown for verb in verbs if (shown := verb.asking_above(actor, Permit.PROVIDER_MANAGE)) is not None]


@dataclass(frozen=True, slots=True)
class OfferLine:
    """A network or bridge of a host's with its verb: offering it, or taking that back; None: nothing is shown."""

    verb: Verb | None
    offer: Offer | None = None
    network: Network | None = None


def of_found_networks(actor: Actor, provider: Provider) -> dict[str, list[OfferLine]]:
    """Those of a provider's page, and what was offered and is there no longer."""
    found = all_offers(actor, provider.pk)
    return {
        "networks": [OfferLine(_of_offer(actor, provider, one), one, one.network) for one in found.rows],
        "lost_networks": [OfferLine(_take_back(actor, row), network=row) for row in found.lost],
    }


def _of_offer(actor: Actor, provider: Provider, offer: Offer) -> Verb | None:
    if offer.network is not None:
        return _take_back(actor, offer.network)
    address = reverse("compute:network-offer", args=[provider.pk, offer.found.pk])
    verb = Verb("offer", _("Offer"), "building-community", address).asking_above(actor, Permit.PROVIDER_MANAGE)
    return verb and verb.unless(" ".join(reason.text for reason in offer.reasons))


def _take_back(actor: Actor, row: Network) -> Verb | None:
    verb = Verb("take-back", _("Take back"), "x", reverse("compute:network-take-back", args=[row.pk]))
    return verb.asking_above(actor, Permit.PROVIDER_MANAGE)
