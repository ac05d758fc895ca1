"""Where django-guardian keeps the grants on networks and on their vNIC profiles."""

from __future__ import annotations

from django.db import models
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from network.models.network import Network, VnicProfile
from tenants.models.grants import GrantBase


class NetworkUserGrant(GrantBase, UserObjectPermissionBase):
    content_object = models.ForeignKey(Network, on_delete=models.CASCADE)

    class Meta(UserObjectPermissionBase.Meta):
        pass


class NetworkGroupGrant(GrantBase, GroupObjectPermissionBase):
    content_object = models.ForeignKey(Network, on_delete=models.CASCADE)

    class Meta(GroupObjectPermissionBase.Meta):
        pass


class VnicProfileUserGrant(GrantBase, UserObjectPermissionBase):
    content_object = models.ForeignKey(VnicProfile, on_delete=models.CASCADE)

    class Meta(UserObjectPermissionBase.Meta):
        pass


class VnicProfileGroupGrant(GrantBase, GroupObjectPermissionBase):
    content_object = models.ForeignKey(VnicProfile, on_delete=models.CASCADE)

    class Meta(GroupObjectPermissionBase.Meta):
        pass
