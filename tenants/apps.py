from django.apps import AppConfig
from django.utils.translation import gettext_lazy


class TenantsConfig(AppConfig):
    """Registers the nouns of this app, and the gate by which the engine asks the policy."""

    name = "tenants"
    verbose_name = "Who and how much"

    def ready(self) -> None:
        """Kinds, and the gate of every job."""
        from portal.jobs.engine import register_gate
        from tenants.gate import gate
        from tenants.kinds import Kind, register_kind
        from tenants.models import DataCenter, System, grants

        register_kind(
            Kind(
                "system",
                System,
                user_grants=grants.SystemUserGrant,
                group_grants=grants.SystemGroupGrant,
                title=gettext_lazy("The whole system"),
            )
        )
        register_kind(
            Kind(
                "data_center",
                DataCenter,
                user_grants=grants.DataCenterUserGrant,
                group_grants=grants.DataCenterGroupGrant,
                title=gettext_lazy("Data centers"),
                page="compute:data-center",
            )
        )
        register_gate(gate)
