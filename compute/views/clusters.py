"""Pages of clusters: the list, one with its hosts and what does not work among them, and its making and changing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from compute import health, selectors
from compute.forms.clusters import ClusterForm
from compute.models import Cluster, Host
from compute.services import clusters as services
from compute.services.clusters import ClusterEdit, ClusterPlan
from compute.views import page_verbs
from compute.views.provider_verbs import connect, make_cluster
from portal.common.actor import Actor
from portal.common.http import actor_of
from portal.common.login_first import login_required
from portal.common.paging import page_by_name
from tenants.tried import audited

SECTION = {"section": "clusters"}
PER_PAGE = 50


@require_safe
@login_required
def cluster_list(request: HttpRequest) -> HttpResponse:
    """All clusters, a page of them by name."""
    actor = actor_of(request)
    services.authorize_list(actor)
    rows, more = page_by_name(
        health.clusters_told(selectors.clusters_with_hosts(actor)), request.GET.get("after", ""), size=PER_PAGE
    )
    verbs = {"create": make_cluster(actor), "connect": connect(actor)}
    return render(request, "compute/cluster_list.html", SECTION | verbs | {"clusters": rows, "more": more})


@require_safe
@login_required
def cluster_detail(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One cluster: its hosts, its memory, and what does not work among them."""
    actor = actor_of(request)
    view = services.look_at_cluster(actor, uid)
    context = {
        "view": view,
        "cluster": view.cluster,
        "may_edit": view.problems is not None,
        "verbs": page_verbs.of_cluster(actor, view.cluster),
    }
    return render(request, "compute/cluster_detail.html", SECTION | context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("CLUSTER_CREATE", "cluster")
def cluster_create(request: HttpRequest) -> HttpResponse:
    """A new cluster: its hosts are looked at as often as wanted, then it is made."""
    actor = actor_of(request)
    services.authorize_clusters(actor)
    initial = {"memory_overcommit_percent": Cluster._meta.get_field("memory_overcommit_percent").get_default()}
    hosts = list(services.free_hosts())
    form = ClusterForm(request.POST if request.method == "POST" else None, hosts=hosts, initial=initial)
    return _form_page(request, _Making(actor, form, hosts))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("CLUSTER_EDIT", "cluster")
def cluster_edit(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Another name, other hosts, another overcommit."""
    actor = actor_of(request)
    row = selectors.get_cluster(actor, uid)
    services.authorize_clusters(actor)
    hosts = list(services.free_hosts(row)) if row.provider_id is None else []
    initial = {
        "name": row.name,
        "memory_overcommit_percent": row.memory_overcommit_percent,
        "hosts": [str(host.pk) for host in hosts if host.cluster_id == row.pk],
        "version": services.cluster_version(row),
    }
    form = ClusterForm(request.POST if request.method == "POST" else None, hosts=hosts, initial=initial)
    return _form_page(request, _Making(actor, form, hosts, row))


@dataclass(frozen=True, slots=True)
class _Making:
    """A form on its way: whose, of which hosts, and of which cluster (None: a new one)."""

    actor: Actor
    form: ClusterForm
    hosts: list[Host]
    row: Cluster | None = None

    def edit(self) -> ClusterEdit:
        """What is asked for."""
        given = self.form.cleaned_data
        chosen = {UUID(text) for text in given["hosts"]} if "hosts" in given else None
        return ClusterEdit(given["name"], chosen, given["memory_overcommit_percent"], given["version"])

    def done(self) -> Cluster:
        """Made or changed."""
        if self.row is None:
            return services.create_cluster(self.actor, self.edit())
        return services.edit_cluster(self.actor, self.row.pk, self.edit())


def _form_page(request: HttpRequest, making: _Making) -> HttpResponse:
    form, row = making.form, making.row
    plan: ClusterPlan | None = None
    if request.method == "POST" and request.POST.get("action") == "check":
        if form.is_valid():
            plan = services.plan_cluster(making.actor, making.edit(), row.pk if row else None)
            form.add_reasons(plan.reasons)
    elif request.method == "POST" and (made := form.tried(making.done)):
        said = _("%(name)s was changed.") if row else _("%(name)s was made. Assign it to data centers.")
        messages.success(request, said % {"name": made.name})
        return redirect("compute:cluster", uid=made.pk)
    chosen = set(form["hosts"].value() or []) if "hosts" in form.fields else set()
    context: dict[str, Any] = {"form": form, "cluster": row, "hosts": making.hosts, "chosen": chosen, "plan": plan}
    return render(request, "compute/cluster_form.html", SECTION | context, status=400 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@audited("CLUSTER_REMOVE", "cluster")
def cluster_remove(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Dissolve it, when nothing depends on it; the page lists what does."""
    actor = actor_of(request)
    row = selectors.get_cluster(actor, uid)
    services.authorize_clusters(actor)
    if request.method == "POST":
        services.remove_cluster(actor, uid)
        messages.info(request, _("%(name)s was dissolved. Its hosts stand alone again.") % {"name": row.name})
        return redirect("compute:clusters")
    context = {"cluster": row, "reasons": selectors.cluster_depends(row)}
    return render(request, "compute/cluster_remove.html", SECTION | context)
