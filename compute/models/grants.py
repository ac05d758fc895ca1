"""Where django-guardian keeps the grants on machines and templates."""

from __future__ import annotations

from django.db import models
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from compute.models.template import Template
from compute.models.vm import Vm
from tenants.models.grants import GrantBase


class VmUserGrant(GrantBase, UserObjectPermissionBase):
    content_object = models.ForeignKey(Vm, on_delete=models.CASCADE)

    class Meta(UserObjectPermissionBase.Meta):
        pass


class VmGroupGrant(GrantBase, GroupObjectPermissionBase):
    content_object = models.ForeignKey(Vm, on_delete=models.CASCADE)

    class Meta(GroupObjectPermissionBase.Meta):
        pass


class TemplateUserGrant(GrantBase, UserObjectPermissionBase):
    content_object = models.ForeignKey(Template, on_delete=models.CASCADE)

    class Meta(UserObjectPermissionBase.Meta):
        pass


class TemplateGroupGrant(GrantBase, GroupObjectPermissionBase):
    content_object = models.ForeignKey(Template, on_delete=models.CASCADE)

    class Meta(GroupObjectPermissionBase.Meta):
        pass
