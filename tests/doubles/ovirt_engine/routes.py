"""The addresses of the API that the double knows, with the parameters of each, and who answers them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.doubles.ovirt_engine import cards, disks, looking, making, power
from tests.doubles.ovirt_engine.asked import Answer, Asked
from tests.doubles.ovirt_engine.world import World

Handler = Callable[[World, Asked], Answer]
LIST = ("max", "search", "case_sensitive", "follow", "filter")


@dataclass(frozen=True, slots=True)
class Route:
    """One verb on one address. ``query``: the parameters it takes."""

    method: str
    path: str
    query: tuple[str, ...]
    handler: Handler

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """What stands for the names in its path, or None where it is another address."""
        if method != self.method:
            return None
        found = _pattern(self.path).fullmatch(path)
        return found.groupdict() if found else None


_patterns: dict[str, re.Pattern[str]] = {}


def _pattern(path: str) -> re.Pattern[str]:
    if path not in _patterns:
        _patterns[path] = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))
    return _patterns[path]


def _collections() -> list[Route]:
    """The collections of the root: a list, and each of its things."""
    lists: dict[str, tuple[str, ...]] = {
        "datacenters": LIST, "clusters": LIST, "hosts": (*LIST, "all_content"), "storagedomains": LIST,
        "networks": ("max", "search", "case_sensitive", "follow"), "vnicprofiles": ("max", "follow"),
        "templates": LIST, "instancetypes": ("max", "search", "case_sensitive", "follow"), "disks": ("max", "search", "case_sensitive", "follow"),
        "vms": (*LIST, "all_content"), "vmpools": LIST, "events": ("from", "max", "search", "case_sensitive", "follow"),
        "jobs": ("max", "search", "case_sensitive", "follow"), "users": ("max", "search", "case_sensitive", "follow"),
        "roles": ("max", "follow"), "tags": ("max", "follow"),
    }  # fmt: skip
    ones: dict[str, tuple[str, ...]] = {
        "datacenters": ("filter", "follow"), "clusters": ("filter", "follow"), "hosts": ("all_content", "filter", "follow"),
        "storagedomains": ("filter", "follow"), "networks": ("follow",), "vnicprofiles": ("follow",),
        "templates": ("filter", "follow"), "instancetypes": ("follow",), "disks": ("all_content", "follow"),
        "vms": ("all_content", "filter", "follow", "next_run"), "vmpools": ("filter", "follow"), "events": ("follow",),
        "jobs": ("follow",), "users": ("follow",), "roles": ("follow",), "tags": ("follow",),
    }  # fmt: skip
    found = []
    for kind, query in lists.items():
        found.append(Route("GET", f"/{kind}", query, looking.list_of(kind)))
        found.append(Route("GET", f"/{kind}/{{key}}", ones[kind], looking.one_of(kind)))
    return found


def _actions() -> list[Route]:
    """What is done to machines: parameters are in the body."""
    verbs = {
        "start": power.start, "stop": power.stop, "shutdown": power.shutdown, "reboot": power.reboot,
        "reset": power.reset, "suspend": power.suspend, "ticket": power.ticket,
    }  # fmt: skip
    return [Route("POST", f"/vms/{{vm}}/{name}", (), handler) for name, handler in verbs.items()]


VM, DISK = "/vms/{vm}", "/vms/{vm}/diskattachments"
ROUTES: list[Route] = [
    Route("GET", "", ("follow",), looking.api),
    *_collections(),
    *_actions(),
    Route("POST", "/vms", ("clone", "clone_permissions", "filter", "seal", "auto_pinning_policy"), making.add),
    Route("PUT", VM, ("async", "next_run"), making.update),
    Route("DELETE", VM, ("async", "detach_only", "force"), making.remove),
    Route("GET", DISK, ("follow",), looking.attachments("vms")),
    Route("POST", DISK, (), cards.attach),
    Route("GET", f"{DISK}/{{disk}}", ("follow",), looking.attachments("vms")),
    Route("PUT", f"{DISK}/{{disk}}", (), cards.update_attachment),
    Route("DELETE", f"{DISK}/{{disk}}", ("detach_only",), cards.detach),
    Route("GET", f"{VM}/nics", ("follow", "max"), looking.cards_of("vms")),
    Route("POST", f"{VM}/nics", (), cards.add_card),
    Route("GET", f"{VM}/nics/{{nic}}", ("follow",), looking.cards_of("vms")),
    Route("PUT", f"{VM}/nics/{{nic}}", ("async",), cards.update_card),
    Route("DELETE", f"{VM}/nics/{{nic}}", ("async",), cards.remove_card),
    Route("GET", f"{VM}/graphicsconsoles", ("current", "follow", "max"), power.consoles),
    Route("GET", f"{VM}/graphicsconsoles/{{console}}", ("current",), power.consoles),
    Route("POST", f"{VM}/graphicsconsoles/{{console}}/ticket", (), power.ticket),
    Route("GET", f"{VM}/reporteddevices", ("follow", "max"), looking.of_machine("reported_devices")),
    Route("GET", f"{VM}/snapshots", ("all_content", "follow", "max"), looking.of_machine("snapshots")),
    Route("GET", f"{VM}/cdroms", ("follow", "max"), looking.of_machine("cdroms")),
    Route("GET", f"{VM}/permissions", ("follow",), looking.permissions_on("vms")),
    Route("GET", "/templates/{vm}/diskattachments", ("follow",), looking.attachments("templates")),
    Route("GET", "/templates/{vm}/diskattachments/{disk}", ("follow",), looking.attachments("templates")),
    Route("GET", "/templates/{vm}/nics", ("follow", "max"), looking.cards_of("templates")),
    Route("GET", "/clusters/{key}/networks", ("follow", "max"), looking.cluster_networks),
    Route("GET", "/networks/{key}/vnicprofiles", ("follow", "max"), looking.network_profiles),
    Route("GET", "/datacenters/{key}/clusters", LIST, looking.zone_list("clusters")),
    Route("GET", "/datacenters/{key}/networks", ("follow", "max"), looking.zone_list("networks")),
    Route("GET", "/datacenters/{key}/storagedomains", ("follow", "max"), looking.zone_list("storagedomains")),
    Route("GET", "/datacenters/{key}/storagedomains/{thing}", ("follow",), looking.zone_list("storagedomains")),
    Route("GET", "/datacenters/{key}/quotas", ("follow", "max"), looking.zone_list("quotas")),
    Route("GET", "/datacenters/{key}/quotas/{thing}", ("follow",), looking.zone_list("quotas")),
    Route("GET", "/hosts/{key}/statistics", ("follow", "max"), looking.statistics),
    Route("GET", "/permissions", ("follow",), looking.system_permissions),
    Route("GET", "/storagedomains/{key}/files", ("case_sensitive", "follow", "max", "search"), looking.files),
    Route("GET", "/storagedomains/{key}/disks", ("follow", "max"), looking.domain_disks),
    Route("POST", "/disks", (), disks.add),
    Route("PUT", "/disks/{disk}", (), disks.update),
    Route("DELETE", "/disks/{disk}", ("async",), disks.remove),
    Route("GET", "/jobs/{key}/steps", ("follow", "max"), looking.steps),
    Route("GET", "/users/{key}/permissions", ("follow",), looking.user_permissions),
    Route("GET", "/roles/{key}/permits", ("follow", "max"), looking.permits),
]


def find(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The route of a request, with what stood for its names."""
    for route in ROUTES:
        names = route.match(method, path)
        if names is not None:
            return route, names
    return None
