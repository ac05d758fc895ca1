"""The API of this app."""

from django.urls import path

from compute.api import consoles, images, sharing, templates, vms

urlpatterns = [
    path("images/", images.Images.as_view(), name="image-list"),
    path("images/<uuid:uid>/", images.ImageDetail.as_view(), name="image"),
    path("images/<uuid:uid>/content/", images.ImageContent.as_view(), name="image-content"),
    path("templates/", templates.Templates.as_view(), name="template-list"),
    path("templates/<uuid:uid>/", templates.TemplateDetail.as_view(), name="template"),
    path("vms/", vms.Vms.as_view(), name="vm-list"),
    path("vms/<uuid:uid>/", vms.VmDetail.as_view(), name="vm-detail"),
    path("vms/<uuid:uid>/events/", vms.VmEvents.as_view(), name="vm-events"),
    path("vms/<uuid:uid>/consoles/", consoles.VmConsoles.as_view(), name="vm-consoles"),
    *(path(f"vms/<uuid:uid>/{verb}/", vms.VmVerb.as_view(verb=verb), name=f"vm-{verb}") for verb in vms.VERBS),
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
