"""The API of this app."""

from django.urls import path, register_converter

from compute.api import consoles, vms


class VerbConverter:
    """The verbs of machines and no other word."""

    regex = "|".join(vms.VERBS)

    def to_python(self, value: str) -> str:
        """As it is."""
        return value

    def to_url(self, value: str) -> str:
        """As it is."""
        return value


register_converter(VerbConverter, "vm_verb")

urlpatterns = [
    path("templates/", vms.Templates.as_view(), name="template-list"),
    path("vms/", vms.Vms.as_view(), name="vm-list"),
    path("vms/<uuid:uid>/", vms.VmDetail.as_view(), name="vm-detail"),
    path("vms/<uuid:uid>/consoles/", consoles.VmConsoles.as_view(), name="vm-consoles"),
    path("vms/<uuid:uid>/<vm_verb:verb>/", vms.VmVerb.as_view(), name="vm-verb"),
]
