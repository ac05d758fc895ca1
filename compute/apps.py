from django.apps import AppConfig


class ComputeConfig(AppConfig):
    """Registers what the policy and the engine must know of this app."""

    name = "compute"
    verbose_name = "Machines"

    def ready(self) -> None:
        """Kinds and operations."""
        from compute.models import Image, Template, TemplateGroupGrant, TemplateUserGrant, Vm, VmGroupGrant, VmUserGrant
        from compute.operations import adoption, copies, images, launch, power, readiness, templates, vms
        from tenants.policy import Kind, register_kind

        register_kind(
            Kind("vm", Vm, data_center_path="data_center", user_grants=VmUserGrant, group_grants=VmGroupGrant)
        )
        register_kind(
            Kind(
                "template",
                Template,
                data_center_path="owner",
                assignment_path="assignments__data_center",
                user_grants=TemplateUserGrant,
                group_grants=TemplateGroupGrant,
            )
        )
        register_kind(Kind("image", Image, data_center_path="owner"))
        images.register_all()
        vms.register_all()
        power.register_all()
        templates.register_all()
        copies.register_all()
        adoption.register_all()
        readiness.register_all()
        launch.register_all()
