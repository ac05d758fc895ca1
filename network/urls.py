"""Pages of networks."""

from django.urls import path

from network import views

app_name = "network"

urlpatterns = [
    path("data-centers/<uuid:uid>/networks/new/", views.network_create, name="network-create"),
]
