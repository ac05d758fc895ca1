"""Clusters of the portal's own at each compare: what the hosts are now, and whether they still make one."""

from __future__ import annotations

from collections.abc import Iterable

from compute.cluster_rules import HostFacts, cluster_problems
from compute.models import Cluster, Host, StorageDomain
from portal.common.actor import system_actor
from portal.events.codes import Outcome, Severity
from portal.events.record import Subject, record
from portal.hypervisors.models import Provider


def own_cluster(provider: Provider) -> Cluster:
    """The cluster of a provider's hosts that are in none of the portal's."""
    cluster, _made = Cluster.objects.get_or_create(provider=provider, external_id="", defaults={"name": provider.name})
    return cluster


def facts_of(hosts: Iterable[Host]) -> list[HostFacts]:
    """What the rows say of these hosts, in two queries."""
    rows = list(hosts)
    domains: dict[object, list[StorageDomain]] = {}
    providers = {host.provider_id for host in rows}
    for domain in StorageDomain.objects.filter(provider__in=providers, status="active").order_by("name"):
        domains.setdefault(domain.provider_id, []).append(domain)
    return [_facts(host, domains.get(host.provider_id, [])) for host in rows]


def _facts(host: Host, domains: list[StorageDomain]) -> HostFacts:
    return HostFacts(
        uid=host.pk,
        name=host.name,
        arch=host.arch,
        accelerator=host.accelerator,
        vendor=host.cpu_vendor,
        features=frozenset(host.cpu_features),
        version=host.version,
        shared={domain.shared_source: domain.name for domain in domains if domain.shared_source},
        own=tuple(domain.name for domain in domains if not domain.shared_source),
    )


def check_clusters(provider: Provider) -> None:
    """Look again at the portal's clusters that have hosts of this provider; what is new is recorded, once."""
    for cluster in Cluster.objects.filter(provider=None, hosts__provider=provider).distinct():
        found = cluster_problems(facts_of(cluster.hosts.all()))
        codes = sorted(problem.code for problem in found)
        if codes == cluster.problems:
            continue
        news = [problem for problem in found if problem.code not in cluster.problems]
        # By condition: another provider's compare may be at the same cluster.
        if Cluster.objects.filter(pk=cluster.pk, problems=cluster.problems).update(problems=codes) and news:
            record(
                system_actor(),
                "CLUSTER_PROBLEM_FOUND",
                outcome=Outcome.NOTED,
                severity=Severity.WARNING,
                subject=Subject("cluster", cluster.pk, cluster.name),
                data={"problems": [{"code": problem.code, **problem.data} for problem in news]},
            )
