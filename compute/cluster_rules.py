"""Whether hosts can be one cluster, and what will not work among them. Pure.

A machine can move between hosts that reach the same disks, and run on with the processor it began with. What hosts are is
read at each compare and kept in rows; nobody is asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.common.errors import Reason

MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What is known of a host. ``shared``: its active storage domains that others may have too, name by what they are."""

    uid: UUID
    name: str
    arch: str = ""
    accelerator: str = ""
    vendor: str = ""
    features: frozenset[str] = frozenset()
    version: str = ""
    shared: Mapping[str, str] = field(default_factory=dict)
    own: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a cluster, with the hosts' names, and what helps. ``is_refusal``: it cannot be one at all."""

    code: str
    text: str
    remedy: str
    data: dict[str, Any] = field(default_factory=dict)
    is_refusal: bool = False

    def reason(self, field_name: str) -> Reason:
        """As a refusal beside a field."""
        return Reason(self.code, f"{self.text} {self.remedy}", field_name, self.data)


def cluster_problems(hosts: Sequence[HostFacts]) -> list[Problem]:
    """Everything that differs among them. One host alone differs from nobody."""
    if len(hosts) < 2:
        return []
    found = [_architectures(hosts), _accelerators(hosts), _vendors(hosts), _features(hosts), _versions(hosts)]
    return [problem for problem in [*found, _storage(hosts), _unread(hosts)] if problem]


def _groups(hosts: Iterable[HostFacts], key: Callable[[HostFacts], str]) -> dict[str, list[str]]:
    """The hosts' names by what they have; those of which it is not known are left out."""
    found: dict[str, list[str]] = {}
    for host in hosts:
        if value := key(host):
            found.setdefault(value, []).append(host.name)
    return found


def _listed(groups: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{value}: {', '.join(names)}" for value, names in sorted(groups.items()))


def _architectures(hosts: Sequence[HostFacts]) -> Problem | None:
    groups = _groups(hosts, lambda host: host.arch)
    if len(groups) < 2:
        return None
    text = _("These hosts are of different architectures (%(groups)s).") % {"groups": _listed(groups)}
    remedy = _("Make a cluster for each architecture.")
    return Problem("architectures_differ", text, remedy, {"hosts": groups}, is_refusal=True)


def _accelerators(hosts: Sequence[HostFacts]) -> Problem | None:
    groups = _groups(hosts, lambda host: host.accelerator)
    if len(groups) < 2:
        return None
    text = _("Machines are accelerated on some hosts and emulated on others (%(groups)s).") % {
        "groups": _listed({name.upper(): hosts for name, hosts in groups.items()})
    }
    remedy = _("Switch virtualization on in the firmware of the hosts that emulate, and give their libvirt /dev/kvm.")
    return Problem("accelerators_differ", text, remedy, {"hosts": groups})


def _vendors(hosts: Sequence[HostFacts]) -> Problem | None:
    groups = _groups(hosts, lambda host: host.vendor)
    if len(groups) < 2:
        return None
    text = _("Their processors are of different makers (%(groups)s): no machine can move between these while it runs.")
    remedy = _("Move machines that are shut down, or make a cluster for each maker.")
    return Problem("cpu_vendors_differ", text % {"groups": _listed(groups)}, remedy, {"hosts": groups})


def _features(hosts: Sequence[HostFacts]) -> Problem | None:
    told = [host for host in hosts if host.features]
    every = frozenset[str]().union(*(host.features for host in told))
    lacks = {host.name: sorted(every - host.features) for host in told if every - host.features}
    if not lacks or len({host.vendor for host in told}) > 1:
        return None
    listed = "; ".join(f"{name}: {_some(features)}" for name, features in sorted(lacks.items()))
    text = _("Some hosts lack features of the processor that others have (%(lacks)s).") % {"lacks": listed}
    remedy = _("A machine that uses them cannot move to these hosts while it runs. Like hosts make the best cluster.")
    return Problem("cpu_features_differ", text, remedy, {"lacks": lacks})


def _some(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" … +{rest}" if rest > 0 else "")


def _versions(hosts: Sequence[HostFacts]) -> Problem | None:
    groups = _groups(hosts, lambda host: host.version)
    if len(groups) < 2:
        return None
    text = _("The hosts run different versions (%(groups)s): a machine may not move back to an older one.")
    remedy = _("Bring them to the same version.")
    return Problem("versions_differ", text % {"groups": _listed(groups)}, remedy, {"hosts": groups})


def _storage(hosts: Sequence[HostFacts]) -> Problem | None:
    """Each must have at least one storage domain that all have."""
    common = set.intersection(*(set(host.shared) for host in hosts))
    if common:
        return None
    has = {host.name: sorted(host.shared.values()) for host in hosts}
    listed = "; ".join(f"{name}: {_some(domains) or '–'}" for name, domains in sorted(has.items()))
    text = _("No storage domain is shared by all hosts (shared ones of each: %(has)s). A folder is its host's alone.")
    remedy = _(
        "Machines stay on the host they were made on. Give all hosts the same NFS export, iSCSI target or volume."
    )
    data = {"shared": has, "own": {host.name: list(host.own) for host in hosts}}
    return Problem("storage_not_shared", text % {"has": listed}, remedy, data)


def _unread(hosts: Sequence[HostFacts]) -> Problem | None:
    names = sorted(host.name for host in hosts if not host.features)
    if not names:
        return None
    text = _("The hypervisor does not tell the processor's features of %(hosts)s.") % {"hosts": ", ".join(names)}
    remedy = _("Whether machines can move there shows when one does.")
    return Problem("cpu_unknown", text, remedy, {"hosts": names})


@dataclass(frozen=True, slots=True)
class Leaving:
    """A host that is to leave a cluster, and the machines on it."""

    host: str
    machines: tuple[str, ...]
    count: int


def leaving_reasons(leaving: Iterable[Leaving]) -> list[Reason]:
    """Why these hosts cannot leave: their machines belong to data centers that use this cluster."""
    found = []
    for one in leaving:
        if not one.count:
            continue
        more = " …" if one.count > len(one.machines) else ""
        figures = {"count": one.count, "host": one.host, "machines": ", ".join(one.machines) + more}
        text = ngettext(
            "%(count)d machine is on %(host)s: %(machines)s. Move or delete it before the host leaves.",
            "%(count)d machines are on %(host)s: %(machines)s. Move or delete them before the host leaves.",
            one.count,
        )
        data = {"host": one.host, "count": one.count, "machines": list(one.machines)}
        found.append(Reason("host_in_use", text % figures, "hosts", data))
    return found
