"""Two departments with their people, a provider behind a double, a template and networks: made by the same services as the demo."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from compute.models import Template
from compute.services.providers import connect_provider, own_storage, share_out
from compute.services.templates import TemplateRequest, import_template
from network.services import create_network, free_range
from portal.common.actor import Actor, Door, system_actor
from portal.hypervisors.models import Provider
from portal.jobs.engine import run_to_end
from tenants import policy, quota
from tenants.models import DataCenter, User
from tenants.models.quota import Dimension
from tenants.roles import sync_roles
from tenants.services.data_centers import create_data_center
from tenants.services.users import create_user
from tests.snapshots import Once

PASSWORD = "correct-horse-battery-staple"


@dataclass
class Institute:
    """Everybody and everything a test needs."""

    provider: Provider
    template: Template
    centers: dict[str, DataCenter] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)

    def actor(self, name: str, **more: Any) -> Actor:
        """That person, at the API's door."""
        return Actor(
            user=User.objects.get(username=name), door=Door.API, request_id="test", client_address="127.0.0.1", **more
        )


def make_institute(
    folder: Path,
    *,
    kind: str = "double",
    address: str = "",
    options: dict[str, str] | None = None,
    image: Path | None = None,
) -> Institute:
    """Physics with alice and bob, informatics with charlie, an admin each, and a super-admin.

    On a double unless a real hypervisor is named, which wants a real ``image`` for the template.
    """
    actor = system_actor()
    sync_roles()
    address = address or f"double://{folder}/hypervisor"
    provider = connect_provider(actor, name="local", kind=kind, address=address, options=options)
    image = image or _image_of_nothing(folder)
    template, job = import_template(actor, TemplateRequest("Tiny Linux", image, own_storage(provider), 1, 256, 128))
    assert run_to_end(job.pk).status == "finished", job.error
    template.refresh_from_db()
    place = Institute(provider, template)
    root = place.users["root"] = create_user(actor, username="root", password=PASSWORD)
    policy.grant(actor, "super-admin", root, policy.system())
    for name, people in {"physics": ("alice", "bob"), "informatics": ("charlie",)}.items():
        center = place.centers[name] = create_data_center(actor, name=name)
        share_out(actor, center, provider=provider, templates=(template,))
        _network, job = create_network(actor, center, provider=provider, name=name, cidr=free_range(provider))
        assert run_to_end(job.pk).status == "finished"
        quota.set_limits(center, {Dimension.MACHINES: 10, Dimension.VCPUS_RUNNING: 8})
        for person, role in ((f"{name}-admin", "data-center-admin"), *((p, "end-user") for p in people)):
            user = place.users[person] = create_user(actor, username=person, password=PASSWORD)
            policy.grant(actor, role, user, center)
    return place


the_institute: Final = Once(make_institute)


def _image_of_nothing(folder: Path) -> Path:
    """What a double takes for an image."""
    image = folder / "image.qcow2"
    image.write_bytes(b"QFI\xfb" + bytes(1020))
    return image
