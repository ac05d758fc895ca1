"""The API of this app."""

from django.urls import path

from network.api import networks

urlpatterns = [
    path("networks/", networks.Networks.as_view(), name="network-list"),
]
