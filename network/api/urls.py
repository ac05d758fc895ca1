"""The API of this app."""

from django.urls import path

from network.api import networks
from tenants.api.holders import Holders

urlpatterns = [
    path("networks/", networks.Networks.as_view(), name="network-list"),
    path("networks/<uuid:uid>/holders/", Holders.as_view(kind="network"), name="network-holders"),
]
