"""Where django-guardian keeps the grants on networks."""

from __future__ import annotations

from django.db import models
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from network.models.network import Network
from tenants.models.grants import GrantBase


class NetworkUserGrant(GrantBase, UserObjectPermissionBase):
    content_object = models.ForeignKey(Network, on_delete=models.CASCADE)

    class Meta(UserObjectPermissionBase.Meta):
        pass


class NetworkGroupGrant(GrantBase, GroupObjectPermissionBase):
    content_object = models.ForeignKey(Network, on_delete=models.CASCADE)

    class Meta(GroupObjectPermissionBase.Meta):
        pass
