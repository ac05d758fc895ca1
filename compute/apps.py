from django.apps import AppConfig
from django.utils.translation import gettext_lazy


class ComputeConfig(AppConfig):
    """Registers what the policy and the engine must know of this app."""

    name = "compute"
    verbose_name = "Machines"

    def ready(self) -> None:
        """Kinds and operations."""
        _register_kinds()
        _register_operations()


def _register_kinds() -> None:
    from compute.forms.vms import called_alike
    from compute.models import Image, Template, Vm, grants
    from tenants.policy import Kind, register_kind

    register_kind(
        Kind(
            "vm",
            Vm,
            data_center_path="data_center",
            user_grants=grants.VmUserGrant,
            group_grants=grants.VmGroupGrant,
            title=gettext_lazy("Machines"),
            page="compute:vm-detail",
            of_maker=("user-vm-manager",),
        )
    )
    register_kind(
        Kind(
            "template",
            Template,
            data_center_path="owner",
            assignment_path="assignments__data_center",
            user_grants=grants.TemplateUserGrant,
            group_grants=grants.TemplateGroupGrant,
            title=gettext_lazy("Templates"),
            page="compute:template",
            of_maker=("template-owner", "user-template-based-vm"),
            apart=called_alike,
        )
    )
    register_kind(
        Kind(
            "image",
            Image,
            data_center_path="owner",
            user_grants=grants.ImageUserGrant,
            group_grants=grants.ImageGroupGrant,
            title=gettext_lazy("Images"),
            of_maker=("disk-operator",),
        )
    )


def _register_operations() -> None:
    from compute.operations import adoption, copies, images, launch, power, readiness, sealed_copies, templates, vms

    for module in (images, vms, power, templates, copies, sealed_copies, adoption, readiness, launch):
        module.register_all()
