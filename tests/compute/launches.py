"""What the tests launch: a department with all that it needs, of the institute's double."""

from __future__ import annotations

from typing import Any

from compute.models import Cluster
from compute.services.launch import LaunchRequest, NewAdmin, OwnNetwork
from tenants.models.quota import Dimension
from tests.people import PASSWORD, Institute


def launch_of(place: Institute, name: str, **changes: Any) -> LaunchRequest:
    """A whole request: one of everything, and bob for its admin."""
    whole: dict[str, Any] = {
        "description": "of the tests",
        "clusters": tuple(Cluster.objects.filter(hosts__provider=place.provider).values_list("pk", flat=True)),
        "storage_domains": (place.template.storage_domain_id,),
        "templates": (place.template.pk,),
        "network": OwnNetwork("lan", place.provider.pk),
        "limits": {Dimension.MACHINES: 5, Dimension.STORAGE_GIB: 40},
        "admin": "bob",
    }
    return LaunchRequest(name=name, **whole | changes)


def of_somebody_new(username: str) -> dict[str, Any]:
    """Instead of bob: an account that is made for it."""
    return {"admin": username, "new_admin": NewAdmin("Somebody new", PASSWORD)}
