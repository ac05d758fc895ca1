from django.apps import AppConfig
from django.utils.translation import gettext_lazy


class NetworkConfig(AppConfig):
    """Registers what the policy and the engine must know of this app."""

    name = "network"
    verbose_name = "Networks"

    def ready(self) -> None:
        """Kinds and operations."""
        from network import models
        from network.operations.networks import register_all
        from tenants.policy import Kind, register_kind

        register_kind(
            Kind(
                "network",
                models.Network,
                data_center_path="owner",
                assignment_path="assignments__data_center",
                user_grants=models.NetworkUserGrant,
                group_grants=models.NetworkGroupGrant,
                title=gettext_lazy("Networks"),
                zone="zone_name",
            )
        )
        register_kind(
            Kind(
                "vnic_profile",
                models.VnicProfile,
                data_center_path="network__owner",
                assignment_path="network__assignments__data_center",
                whole="network",
                user_grants=models.VnicProfileUserGrant,
                group_grants=models.VnicProfileGroupGrant,
                title=gettext_lazy("vNIC profiles"),
                zone="network__zone_name",
            )
        )
        register_all()
