"""The API of this app."""

from django.urls import path

from network.api import networks
from tenants.api.holders import Holders

urlpatterns = [
    path("networks/", networks.Networks.as_view(), name="network-list"),
    path("networks/<uuid:uid>/holders/", Holders.as_view(kind="network"), name="network-holders"),
    path("vnic-profiles/", networks.VnicProfiles.as_view(), name="vnic-profile-list"),
    path("vnic-profiles/<uuid:uid>/holders/", Holders.as_view(kind="vnic_profile"), name="vnic-profile-holders"),
]
