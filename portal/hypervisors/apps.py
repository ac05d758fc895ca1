"""The app of providers: hypervisor managers we are connected to."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class HypervisorsConfig(AppConfig):
    """Providers and the portal's mark."""

    name = "portal.hypervisors"
    label = "hypervisors"
    verbose_name = _("Hypervisors")
