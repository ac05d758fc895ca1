from tenants.models.data_center import DataCenter, System
from tenants.models.directory import Directory, DirectoryGroup, DirectoryKind
from tenants.models.factor import RecoveryCode, SecondFactor
from tenants.models.grants import (
    DataCenterGroupGrant,
    DataCenterUserGrant,
    GrantBase,
    SystemGroupGrant,
    SystemUserGrant,
)
from tenants.models.quota import QuotaAccount, QuotaCharge
from tenants.models.role import Role
from tenants.models.user import ApiToken, KeptOut, LoginTries, User

__all__ = [
    "ApiToken",
    "DataCenter",
    "DataCenterGroupGrant",
    "DataCenterUserGrant",
    "Directory",
    "DirectoryGroup",
    "DirectoryKind",
    "GrantBase",
    "KeptOut",
    "LoginTries",
    "QuotaAccount",
    "QuotaCharge",
    "RecoveryCode",
    "Role",
    "SecondFactor",
    "System",
    "SystemGroupGrant",
    "SystemUserGrant",
    "User",
]
