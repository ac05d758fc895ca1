"""Pages of machines."""

from django.urls import path

from compute.views import consoles, vms

app_name = "compute"

urlpatterns = [
    path("machines/new/", vms.vm_create, name="vm-create"),
    path("machines/<uuid:uid>/", vms.vm_detail, name="vm-detail"),
    path("machines/<uuid:uid>/console/", consoles.vm_console, name="vm-console"),
    path("machines/<uuid:uid>/run/", vms.vm_verb, {"verb": "run"}, name="vm-run"),
    path("machines/<uuid:uid>/shut_down/", vms.vm_verb, {"verb": "shut_down"}, name="vm-shut_down"),
    path("machines/<uuid:uid>/stop/", vms.vm_verb, {"verb": "stop"}, name="vm-stop"),
    path("machines/<uuid:uid>/reboot/", vms.vm_verb, {"verb": "reboot"}, name="vm-reboot"),
    path("machines/<uuid:uid>/delete/", vms.vm_delete, name="vm-delete"),
]
