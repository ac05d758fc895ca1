from django.apps import AppConfig


class NetworkConfig(AppConfig):
    """Registers what the policy and the engine must know of this app."""

    name = "network"
    verbose_name = "Networks"

    def ready(self) -> None:
        """Kinds and operations."""
        from network.models import Network
        from network.operations.networks import register_all
        from tenants.policy import Kind, register_kind

        register_kind(Kind("network", Network, data_center_path="owner", assignment_path="assignments__data_center"))
        register_all()
