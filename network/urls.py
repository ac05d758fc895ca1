"""Pages of networks."""

from django.urls import path

from network import views
from tenants.views.holders import who

app_name = "network"

urlpatterns = [
    path("networks/<uuid:uid>/who/", who, {"kind": "network"}, name="network-who"),
    path("data-centers/<uuid:uid>/networks/new/", views.network_create, name="network-create"),
]
