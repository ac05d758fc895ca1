"""How a directory is reached, as plain values: opened from its row once for each connection."""

from __future__ import annotations

from dataclasses import dataclass, field

from portal.common.sealed import unseal
from tenants.models import Directory, DirectoryKind


@dataclass(frozen=True, slots=True)
class Address:
    """Servers in the order to try them, and who asks; ``password`` never shows."""

    name: str
    kind: DirectoryKind
    urls: tuple[str, ...]
    starts_tls: bool
    ca_pem: str
    bind_dn: str
    base_dn: str
    group_base_dn: str
    login_attribute: str
    password: str = field(repr=False)

    @property
    def is_active_directory(self) -> bool:
        """Whether names, states and groups are Active Directory's."""
        return self.kind == DirectoryKind.ACTIVE_DIRECTORY


def address_of(row: Directory) -> Address:
    """The row's address, its password opened. Raises ``SealBroken``."""
    return Address(
        name=row.name,
        kind=DirectoryKind(row.kind),
        urls=tuple(row.urls),
        starts_tls=row.starts_tls,
        ca_pem=row.ca_pem,
        bind_dn=row.bind_dn,
        base_dn=row.base_dn,
        group_base_dn=row.group_base_dn or row.base_dn,
        login_attribute=row.login_attribute,
        password=unseal(row.sealed_password),
    )
