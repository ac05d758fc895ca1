"""The API of this app."""

from django.urls import path

from compute.api import (
    adoption,
    clusters,
    consoles,
    consumption,
    images,
    inventory,
    launch,
    moves,
    offered_networks,
    providers,
    readiness,
    sharing,
    templates,
    vms,
    volume_offers,
)
from tenants.api.holders import Holders

urlpatterns = [
    path("providers/", providers.Providers.as_view(), name="provider-list"),
    path("providers/test/", providers.ProviderTry.as_view(), name="provider-try"),
    path("providers/<uuid:uid>/", providers.ProviderDetail.as_view(), name="provider"),
    path("providers/<uuid:uid>/test/", providers.ProviderTest.as_view(), name="provider-test"),
    path(
        "providers/<uuid:uid>/accept-version/",
        providers.ProviderAcceptVersion.as_view(),
        name="provider-accept-version",
    ),
    path("providers/<uuid:uid>/networks/", inventory.FoundNetworks.as_view(), name="provider-networks"),
    path(
        "providers/<uuid:uid>/networks/<uuid:found>/offer/",
        offered_networks.NetworkOffer.as_view(),
        name="network-offer",
    ),
    path("networks/<uuid:uid>/offer/", offered_networks.OfferedNetwork.as_view(), name="offered-network"),
    path("readiness/", readiness.Readiness.as_view(), name="readiness"),
    path("clusters/", clusters.Clusters.as_view(), name="cluster-list"),
    path("clusters/<uuid:uid>/", clusters.ClusterDetail.as_view(), name="cluster"),
    path("hosts/", inventory.Hosts.as_view(), name="host-list"),
    path("storage-domains/", inventory.StorageDomains.as_view(), name="storage-domain-list"),
    path("storage-domains/<uuid:uid>/volumes/", inventory.Volumes.as_view(), name="storage-domain-volumes"),
    path("volume-offers/", volume_offers.VolumeOffers.as_view(), name="volume-offer-list"),
    path("volume-offers/<uuid:uid>/", volume_offers.VolumeOfferDetail.as_view(), name="volume-offer"),
    path("images/", images.Images.as_view(), name="image-list"),
    path("images/<uuid:uid>/", images.ImageDetail.as_view(), name="image"),
    path("images/<uuid:uid>/content/", images.ImageContent.as_view(), name="image-content"),
    path("templates/", templates.Templates.as_view(), name="template-list"),
    path("templates/<uuid:uid>/", templates.TemplateDetail.as_view(), name="template"),
    path("vms/", vms.Vms.as_view(), name="vm-list"),
    path("vms/<uuid:uid>/", vms.VmDetail.as_view(), name="vm-detail"),
    path("vms/<uuid:uid>/unadopt/", adoption.VmUnadopt.as_view(), name="vm-unadopt"),
    path("vms/<uuid:uid>/move/", moves.VmMove.as_view(), name="vm-move"),
    path("vms/<uuid:uid>/holders/", Holders.as_view(kind="vm"), name="vm-holders"),
    path("templates/<uuid:uid>/holders/", Holders.as_view(kind="template"), name="template-holders"),
    path("images/<uuid:uid>/holders/", Holders.as_view(kind="image"), name="image-holders"),
    path("unassigned-vms/", adoption.UnassignedVms.as_view(), name="unassigned-list"),
    path("unassigned-vms/measure/", adoption.Measures.as_view(), name="unassigned-measure"),
    path("unassigned-vms/adopt/", adoption.Adoptions.as_view(), name="vms-adopt"),
    path("vms/<uuid:uid>/events/", vms.VmEvents.as_view(), name="vm-events"),
    path("vms/<uuid:uid>/consoles/", consoles.VmConsoles.as_view(), name="vm-consoles"),
    *(path(f"vms/<uuid:uid>/{verb}/", vms.VmVerb.as_view(verb=verb), name=f"vm-{verb}") for verb in vms.VERBS),
    path(
        "data-centers/<uuid:uid>/consumers/<slug:dimension>/",
        consumption.DataCenterConsumers.as_view(),
        name="data-center-consumers",
    ),
    path("data-centers/launch/", launch.DataCenterLaunch.as_view(), name="data-center-launch"),
    path("data-centers/<uuid:uid>/resources/", sharing.DataCenterResources.as_view(), name="data-center-resources"),
    *(
        path(
            f"data-centers/<uuid:uid>/{words}/<uuid:resource>/",
            sharing.Assignment.as_view(kind=kind),
            name=f"data-center-{words}",
        )
        for kind, words in sharing.PATHS.items()
    ),
]
