"""Where django-guardian keeps the grants on the nouns of this app: an object permission is a role held on an object.

Direct foreign keys (one table per noun and kind of subject), with grantor and expiry as fields of the row.
"""

from __future__ import annotations

from django.db import models
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from tenants.models.data_center import DataCenter, System


class GrantBase(models.Model):
    """What every grant knows besides who, which role and on what."""

    created_at = models.DateTimeField(auto_now_add=True)
    grantor_uid = models.UUIDField(null=True, blank=True)
    grantor_name = models.CharField(max_length=150, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True


class SystemUserGrant(GrantBase, UserObjectPermissionBase):
    content_object = models.ForeignKey(System, on_delete=models.CASCADE)

    class Meta(UserObjectPermissionBase.Meta):
        pass


class SystemGroupGrant(GrantBase, GroupObjectPermissionBase):
    content_object = models.ForeignKey(System, on_delete=models.CASCADE)

    class Meta(GroupObjectPermissionBase.Meta):
        pass


class DataCenterUserGrant(GrantBase, UserObjectPermissionBase):
    content_object = models.ForeignKey(DataCenter, on_delete=models.CASCADE)

    class Meta(UserObjectPermissionBase.Meta):
        pass


class DataCenterGroupGrant(GrantBase, GroupObjectPermissionBase):
    content_object = models.ForeignKey(DataCenter, on_delete=models.CASCADE)

    class Meta(GroupObjectPermissionBase.Meta):
        pass
