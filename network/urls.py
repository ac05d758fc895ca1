"""Pages of networks."""

from django.urls import path

from network import views
from tenants.views.holders import who

app_name = "network"

urlpatterns = [
    path("networks/<uuid:uid>/who/", who, {"kind": "network"}, name="network-who"),
    path("vnic-profiles/<uuid:uid>/who/", who, {"kind": "vnic_profile"}, name="vnic-profile-who"),
    path("data-centers/<uuid:uid>/networks/new/", views.network_create, name="network-create"),
]
