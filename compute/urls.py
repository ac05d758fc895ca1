"""Pages of machines."""

from django.urls import path

from compute.rules import ENDING
from compute.shareables import SHAREABLE
from compute.views import (
    adoption,
    bulk,
    clusters,
    consoles,
    consumption,
    data_centers,
    images,
    launch,
    moves,
    offered_networks,
    providers,
    readiness,
    screens,
    storage,
    tabs,
    templates,
    vms,
    volumes,
)
from tenants.views.holders import who

app_name = "compute"

urlpatterns = [
    path("machines/new/", vms.vm_create, name="vm-create"),
    path("machines/bulk/", bulk.vms_bulk, name="vms-bulk"),
    path("machines/<uuid:uid>/", vms.vm_detail, name="vm-detail"),
    path("machines/<uuid:uid>/disks/", tabs.vm_disks, name="vm-disks"),
    path("machines/<uuid:uid>/nics/", tabs.vm_nics, name="vm-nics"),
    path("machines/<uuid:uid>/events/", tabs.vm_events, name="vm-events"),
    path("machines/<uuid:uid>/who/", tabs.vm_who, name="vm-who"),
    path("machines/<uuid:uid>/jobs/", tabs.vm_jobs, name="vm-jobs"),
    path("machines/<uuid:uid>/console/", consoles.vm_console, name="vm-console"),
    path("machines/<uuid:uid>/screen/", screens.vm_screen, name="vm-screen"),
    path("machines/<uuid:uid>/run/", vms.vm_verb, {"verb": "run"}, name="vm-run"),
    path("machines/<uuid:uid>/shut_down/", vms.vm_verb, {"verb": "shut_down"}, name="vm-shut_down"),
    path("machines/<uuid:uid>/stop/", vms.vm_verb, {"verb": "stop"}, name="vm-stop"),
    path("machines/<uuid:uid>/reboot/", vms.vm_verb, {"verb": "reboot"}, name="vm-reboot"),
    *(
        path(f"machines/<uuid:uid>/confirm/{verb}/", vms.vm_confirm, {"verb": verb}, name=f"vm-confirm-{verb}")
        for verb in sorted(ENDING)
    ),
    path("machines/<uuid:uid>/unadopt/", adoption.vm_unadopt, name="vm-unadopt"),
    path("machines/<uuid:uid>/protect/", adoption.vm_protect, {"protected": True}, name="vm-protect"),
    path("machines/<uuid:uid>/unprotect/", adoption.vm_protect, {"protected": False}, name="vm-unprotect"),
    path("machines/<uuid:uid>/move/", moves.vm_move, name="vm-move"),
    path("unassigned/", adoption.unassigned, name="unassigned"),
    path("unassigned/measure/", adoption.measure, name="unassigned-measure"),
    path("machines/<uuid:uid>/delete/", vms.vm_delete, name="vm-delete"),
    path("providers/", providers.provider_list, name="providers"),
    path("providers/new/", providers.provider_create, name="provider-create"),
    path("providers/<uuid:uid>/", providers.provider_detail, name="provider"),
    path("providers/<uuid:uid>/edit/", providers.provider_edit, name="provider-edit"),
    path("providers/<uuid:uid>/test/", providers.provider_test, name="provider-test"),
    path("providers/<uuid:uid>/enable/", providers.provider_enable, {"enabled": True}, name="provider-enable"),
    path("providers/<uuid:uid>/disable/", providers.provider_enable, {"enabled": False}, name="provider-disable"),
    path("providers/<uuid:uid>/accept-version/", providers.provider_accept_version, name="provider-accept-version"),
    path("providers/<uuid:uid>/remove/", providers.provider_remove, name="provider-remove"),
    path("providers/<uuid:uid>/networks/<uuid:found>/offer/", offered_networks.network_offer, name="network-offer"),
    path("networks/<uuid:uid>/take-back/", offered_networks.network_take_back, name="network-take-back"),
    path("readiness/", readiness.readiness, name="readiness"),
    path("storage/", storage.storage_list, name="storage"),
    path("clusters/", clusters.cluster_list, name="clusters"),
    path("clusters/new/", clusters.cluster_create, name="cluster-create"),
    path("clusters/<uuid:uid>/", clusters.cluster_detail, name="cluster"),
    path("clusters/<uuid:uid>/edit/", clusters.cluster_edit, name="cluster-edit"),
    path("clusters/<uuid:uid>/remove/", clusters.cluster_remove, name="cluster-remove"),
    path("storage-domains/<uuid:uid>/volumes/", volumes.volume_list, name="volumes"),
    path("storage-domains/<uuid:uid>/volumes/offer/", volumes.volume_offer, name="volume-offer"),
    path("volume-offers/<uuid:uid>/withdraw/", volumes.volume_withdraw, name="volume-withdraw"),
    path("images/", images.image_list, name="images"),
    path("images/upload/", images.image_upload, name="image-upload"),
    path("images/<uuid:uid>/who/", who, {"kind": "image"}, name="image-who"),
    path("images/<uuid:uid>/delete/", images.image_delete, name="image-delete"),
    path("templates/", templates.template_list, name="templates"),
    path("templates/new/", templates.template_create, name="template-create"),
    path("templates/<uuid:uid>/", templates.template_detail, name="template"),
    path("templates/<uuid:uid>/who/", who, {"kind": "template"}, name="template-who"),
    path("templates/<uuid:uid>/edit/", templates.template_edit, name="template-edit"),
    path("templates/<uuid:uid>/assign/", templates.template_share, {"given": True}, name="template-assign"),
    path("templates/<uuid:uid>/unassign/", templates.template_share, {"given": False}, name="template-unassign"),
    path("templates/<uuid:uid>/delete/", templates.template_delete, name="template-delete"),
    path("data-centers/", data_centers.data_center_list, name="data-centers"),
    path("data-centers/new/", data_centers.data_center_create, name="data-center-create"),
    path("data-centers/launch/", launch.data_center_launch, name="data-center-launch"),
    path("data-centers/<uuid:uid>/", data_centers.data_center_detail, name="data-center"),
    path("data-centers/<uuid:uid>/use/<slug:dimension>/", consumption.quota_use, name="quota-use"),
    path("data-centers/<uuid:uid>/edit/", data_centers.data_center_edit, name="data-center-edit"),
    path(
        "data-centers/<uuid:uid>/enable/", data_centers.data_center_enable, {"enabled": True}, name="data-center-enable"
    ),
    path(
        "data-centers/<uuid:uid>/disable/",
        data_centers.data_center_enable,
        {"enabled": False},
        name="data-center-disable",
    ),
    *(
        path(f"data-centers/<uuid:uid>/{act}/{kind}/", view, {"kind": kind}, name=f"{act}-{kind}")
        for act, view in (("assign", data_centers.resource_assign), ("unassign", data_centers.resource_unassign))
        for kind in SHAREABLE
    ),
]
