"""The hallway of providers: connecting one, reading it, and sharing out what it has."""

from __future__ import annotations

from django.utils.translation import gettext as _

from compute.models import Cluster, StorageDomain, Template
from compute.services.sharing import assign
from compute.sync.inventory import sync_provider
from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, Unavailable
from portal.events.record import Subject, attempt
from portal.hypervisors.connect import driver_for
from portal.hypervisors.errors import HypervisorError
from portal.hypervisors.identity import portal_id
from portal.hypervisors.models import Provider
from portal.hypervisors.registry import kinds
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit

IMAGE_FOLDER = "/var/lib/libvirt/images"


def connect_provider(
    actor: Actor, *, name: str, kind: str, address: str, options: dict[str, str] | None = None
) -> Provider:
    """Connect a provider and read its inventory; a failed connection stores nothing."""
    policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())
    if kind not in kinds():
        raise Invalid(_("There is no such kind of provider. Known are: %(kinds)s.") % {"kinds": ", ".join(kinds())})
    if Provider.objects.filter(name=name).exists():
        raise Conflict(_("A provider of this name is already connected."))
    provider = Provider.objects.create(name=name, kind=kind, address=address, options=options or {})
    try:
        driver = driver_for(provider)
        driver.ensure_storage_domain(pool_name(), path=f"{IMAGE_FOLDER}/{pool_name()}")
        sync_provider(provider)
    except HypervisorError as error:
        provider.delete()
        raise Unavailable(error.public, private=error.detail) from error
    with attempt(actor, "PROVIDER_CONNECT", Subject("provider", provider.pk, name)):
        pass
    return provider


def pool_name() -> str:
    """The name of this portal's own storage pool, which is its mark."""
    return f"stegi-{portal_id().hex[:8]}"


def own_storage(provider: Provider) -> StorageDomain:
    """The storage domain of this portal's own on a provider."""
    return StorageDomain.objects.get(provider=provider, external_id=pool_name())


def share_out(
    actor: Actor, data_center: DataCenter, *, provider: Provider, templates: tuple[Template, ...] = ()
) -> None:
    """Assign a provider's clusters and our storage domain on it, and templates, to a data center; again is nothing new."""
    for cluster in Cluster.objects.filter(provider=provider):
        assign(actor, data_center.pk, "cluster", cluster.pk)
    assign(actor, data_center.pk, "storage_domain", own_storage(provider).pk)
    for template in templates:
        assign(actor, data_center.pk, "template", template.pk)
