"""The API of this app."""

from django.urls import path

from compute.api import consoles, templates, vms

urlpatterns = [
    path("templates/", templates.Templates.as_view(), name="template-list"),
    path("vms/", vms.Vms.as_view(), name="vm-list"),
    path("vms/<uuid:uid>/", vms.VmDetail.as_view(), name="vm-detail"),
    path("vms/<uuid:uid>/consoles/", consoles.VmConsoles.as_view(), name="vm-consoles"),
    *(path(f"vms/<uuid:uid>/{verb}/", vms.VmVerb.as_view(verb=verb), name=f"vm-{verb}") for verb in vms.VERBS),
]
