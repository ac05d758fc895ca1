from django.apps import AppConfig
from django.utils.translation import gettext_lazy


class NetworkConfig(AppConfig):
    """Registers what the policy and the engine must know of this app."""

    name = "network"
    verbose_name = "Networks"

    def ready(self) -> None:
        """Kinds and operations."""
        from network.models import Network, NetworkGroupGrant, NetworkUserGrant
        from network.operations.networks import register_all
        from tenants.policy import Kind, register_kind

        register_kind(
            Kind(
                "network",
                Network,
                data_center_path="owner",
                assignment_path="assignments__data_center",
                user_grants=NetworkUserGrant,
                group_grants=NetworkGroupGrant,
                title=gettext_lazy("Networks"),
            )
        )
        register_all()
