"""Where django-guardian keeps the grants on machines, templates and images."""

from __future__ import annotations

from django.db import models
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from compute.models.image import Image
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


class ImageUserGrant(GrantBase, UserObjectPermissionBase):
    content_object = models.ForeignKey(Image, on_delete=models.CASCADE)

    class Meta(UserObjectPermissionBase.Meta):
        pass


class ImageGroupGrant(GrantBase, GroupObjectPermissionBase):
    content_object = models.ForeignKey(Image, on_delete=models.CASCADE)

    class Meta(GroupObjectPermissionBase.Meta):
        pass
