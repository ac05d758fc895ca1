from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Registers the gate by which the engine asks the policy."""

    name = "tenants"
    verbose_name = "Who and how much"

    def ready(self) -> None:
        """The gate of every job."""
        from portal.jobs.engine import register_gate
        from tenants.gate import gate

        register_gate(gate)
