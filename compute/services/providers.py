"""The hallway of providers: tried, connected, changed, disabled and removed, by super-admins alone."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.utils.translation import gettext as _

from compute.diagnosis import Told, reason
from compute.models import Cluster, StorageDomain, Template
from compute.selectors import data_domains, depends_on, get_provider
from compute.services.sharing import assign
from compute.services.trials import diagnosed, where_of
from compute.services.twins import identity_in, refuse_twin
from compute.sync.inventory import sync_provider
from network.choices import NetworkStatus
from network.models import Network
from portal.common import sealed
from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, PreconditionFailed, Reason
from portal.common.kinds import kind_title
from portal.common.versions import version_of
from portal.events.record import Subject, attempt, trying
from portal.hypervisors.allowed import own_options, with_allowed
from portal.hypervisors.connect import connection_of, forget
from portal.hypervisors.errors import Denied, HypervisorError
from portal.hypervisors.identity import portal_id
from portal.hypervisors.known import capabilities_of
from portal.hypervisors.models import Portal, Provider
from portal.hypervisors.registry import driver_class, kinds
from portal.hypervisors.specs import Connection
from tenants import policy
from tenants.models import DataCenter
from tenants.permits import Permit

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
LONGEST_SECRET = 20_000
LONGEST_USERNAME = 255
PASSWORD = "password"  # noqa: S105 - the name of a secret, which is kept as it was typed


@dataclass(frozen=True, slots=True)
class ProviderEdit:
    """What is to be changed; None stays as it is, and so does each secret that is left out.

    ``version`` of the row that was looked at; empty: whatever it is now.
    """

    name: str | None = None
    address: str | None = None
    username: str | None = None
    ca_pem: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    version: str = ""

    @property
    def changes_connection(self) -> bool:
        """Whether the provider must be tried anew."""
        return any(one is not None for one in (self.address, self.username, self.ca_pem)) or bool(self.secrets)


class NotReached(Conflict):
    """A provider cannot be used as it was given; ``steps`` tell how far one gets, and what helps."""

    code = "provider_not_reached"

    def __init__(self, steps: tuple[Told, ...]) -> None:
        self.steps = steps
        last = steps[-1]
        why = Reason(last.code, f"{last.title}: {last.text} {last.remedy}", data={"step": last.step, **last.data})
        super().__init__(_("The hypervisor cannot be used yet. Nothing was stored."), reasons=(why,))


def authorize_management(actor: Actor) -> None:
    """Raise ``NotPermitted`` for whoever may not connect providers."""
    policy.authorize(actor, Permit.PROVIDER_MANAGE, policy.system())


@dataclass(frozen=True, slots=True)
class Trial:
    """A connection that was tried, and how far one gets."""

    connection: Connection
    steps: tuple[Told, ...]


def try_new(
    actor: Actor,
    *,
    kind: str,
    address: str,
    username: str = "",
    ca_pem: str = "",
    secrets: Mapping[str, str] | None = None,
    options: dict[str, str] | None = None,
    name: str | None = None,
) -> Trial:
    """Try to reach a hypervisor, step by step; nothing is stored. ``Invalid`` names the fields that cannot be.

    ``name``: what it is to be called, where that is known. The log of events tells where, before it is asked, and then what came of it.

    Takes up to half a minute where something hangs, so it belongs into no transaction.
    """
    authorize_management(actor)
    if name is not None:
        _refuse_name(name)
    _refuse_strange(kind, secrets or {})
    given = Connection(
        kind=kind,
        address=address,
        portal_id=portal_id(),
        provider_uid=uuid4(),
        username=username,
        ca_pem=ca_pem,
        options=options or {},
        secrets=dict(secrets or {}),
    )
    connection, about = _wanted(given), Subject("provider", None, name or "")
    with attempt(actor, "PROVIDER_TEST", about) as recorded:
        recorded.data = where_of(connection)
    return Trial(connection, diagnosed(actor, about, connection, pool=pool_name()))


def try_connected(actor: Actor, uid: UUID, edit: ProviderEdit | None = None) -> tuple[Told, ...]:
    """Try a provider as it is connected, or as it would be after an edit; the log of events tells where, before it is asked."""
    edit = edit or ProviderEdit()
    with attempt(actor, "PROVIDER_TEST", Subject("provider", uid)) as recorded:
        row = get_provider(actor, uid)
        recorded.subject = Subject("provider", uid, row.name)
        authorize_management(actor)
        if edit.name is not None:
            _refuse_name(edit.name, but=uid)
        connection = _edited(row, edit)
        recorded.data = where_of(connection)
    return diagnosed(actor, Subject("provider", uid, row.name), connection, pool=pool_name())


def store_tried(actor: Actor, *, name: str, trial: Trial) -> Provider:
    """Connect what was tried. ``NotReached`` when the try failed: nothing is stored then."""
    with attempt(actor, "PROVIDER_CONNECT", Subject("provider", None, name)) as recorded:
        authorize_management(actor)
        _one_at_a_time()
        _refuse_name(name)
        refuse_twin(trial.connection, trial.steps)
        _refuse_failed(trial.steps)
        one = trial.connection
        about = {"identity": identity_in(trial.steps)}
        row = Provider.objects.create(uid=one.provider_uid, name=name, kind=one.kind, about=about, **_stored(one))
        recorded.subject = Subject("provider", row.pk, name)
    return row


def read_new(trial: Trial) -> None:
    """What it has, at once; when it fails just now the watcher reads it soon."""
    row = Provider.objects.filter(pk=trial.connection.provider_uid).first()
    if row is None:
        return
    try:
        sync_provider(row)
    except HypervisorError as error:
        log.warning("a provider that was just connected cannot be read: %s", error.detail or error.public)


def connect_provider(
    actor: Actor,
    *,
    name: str,
    kind: str,
    address: str,
    username: str = "",
    ca_pem: str = "",
    secrets: Mapping[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> Provider:
    """Try a provider, connect it, and read its inventory. A try that fails (``NotReached``) stores nothing."""
    given = {"kind": kind, "address": address, "username": username, "ca_pem": ca_pem}
    with trying(actor, "PROVIDER_CONNECT", Subject("provider", None, name)):
        trial = try_new(actor, **given, secrets=secrets, options=options, name=name)
        row = store_tried(actor, name=name, trial=trial)
    read_new(trial)
    return row


def edit_provider(actor: Actor, uid: UUID, edit: ProviderEdit) -> Provider:
    """Change name, address or credentials; these two are tried first. Calls under way end on the old connection."""
    with trying(actor, "PROVIDER_EDIT", Subject("provider", uid)) as tried:
        row = get_provider(actor, uid)
        tried.subject = Subject("provider", uid, row.name)
        authorize_management(actor)
        connection = _edited(row, edit)
    steps: tuple[Told, ...] = ()
    if edit.changes_connection:
        with attempt(actor, "PROVIDER_TEST", tried.subject) as recorded:
            recorded.data = where_of(connection)
        steps = diagnosed(actor, tried.subject, connection, pool=pool_name())
    with attempt(actor, "PROVIDER_EDIT", Subject("provider", uid, row.name)):
        _one_at_a_time()
        row = Provider.objects.select_for_update().get(pk=uid)
        if edit.version and edit.version != provider_version(row):
            raise PreconditionFailed(_("Somebody else changed this provider meanwhile. Look at it again."))
        if steps:
            refuse_twin(connection, steps)
            _refuse_failed(steps)
            for column, value in _stored(connection).items():
                setattr(row, column, value)
        if edit.name is not None:
            _refuse_name(edit.name, but=uid)
            row.name = edit.name
        row.save(update_fields=["name", "address", "username", "ca_pem", "options", "sealed_secrets"])
    return row


def set_provider_enabled(actor: Actor, uid: UUID, *, enabled: bool) -> Provider:
    """Disable a provider (it is not watched, and nothing new is made on it), or enable it again. Its machines run on."""
    verb = "PROVIDER_ENABLE" if enabled else "PROVIDER_DISABLE"
    with attempt(actor, verb, Subject("provider", uid)) as trial:
        row = get_provider(actor, uid)
        trial.subject = Subject("provider", uid, row.name)
        authorize_management(actor)
        row.enabled = enabled
        row.save(update_fields=["enabled"])
        if not enabled:
            transaction.on_commit(lambda: forget(uid), robust=True)
    return row


def remove_provider(actor: Actor, uid: UUID) -> None:
    """Forget a provider on which nothing depends; on its hypervisor nothing changes. ``Conflict`` lists what depends."""
    with attempt(actor, "PROVIDER_REMOVE", Subject("provider", uid)) as trial:
        row = get_provider(actor, uid)
        trial.subject = Subject("provider", uid, row.name)
        authorize_management(actor)
        row = Provider.objects.select_for_update().get(pk=uid)
        if reasons := depends_on(row):
            text = _("%(name)s is in use. Remove what depends on it first.") % {"name": row.name}
            raise Conflict(text, reasons=tuple(reasons))
        Network.objects.filter(provider=row, is_found=True).delete()
        row.templates.all().delete()
        row.hosts.all().delete()
        row.clusters.all().delete()
        row.delete()
        transaction.on_commit(lambda: forget(uid), robust=True)


def provider_version(row: Provider) -> str:
    """The version of what can be edited."""
    return version_of(row.name, row.address, row.username, row.ca_pem, row.sealed_secrets)


# -- trying


def _refuse_failed(steps: tuple[Told, ...]) -> None:
    if steps[-1].status == "failed":
        raise NotReached(steps)


def _wanted(given: Connection) -> Connection:
    """The connection that is asked for, as it is kept. ``Invalid`` names each field that cannot be."""
    if given.kind not in kinds():
        text = _("There is no such kind of provider. Known are: %(kinds)s.") % {"kinds": ", ".join(kinds())}
        raise Invalid(text, reasons=(Reason("kind_unknown", text, "kind"),))
    driver = driver_class(given.kind)
    connection = replace(
        _whole(given),
        options=with_allowed(given.options),
        secrets={name: _kept(name, text) for name, text in given.secrets.items() if text.strip()},
    )
    if refused := tuple(reason(finding, given.kind) for finding in driver.refusals(connection)):
        raise Invalid(" ".join(one.text for one in refused), reasons=refused)
    return connection


def _whole(given: Connection) -> Connection:
    """Address, user name and CA as they are kept."""
    address = driver_class(given.kind).whole_address(given.address.strip())
    return replace(given, address=address, username=given.username.strip(), ca_pem=_lines(given.ca_pem))


def _refuse_strange(kind: str, secrets: Mapping[str, str]) -> None:
    """``Invalid`` for a secret that this kind of provider has no use for: it would be kept for nothing."""
    known = driver_class(kind).secrets if kind in kinds() else tuple(secrets)
    strange = sorted(name for name, text in secrets.items() if text.strip() and name not in known)
    text = _("A provider of the kind %(kind)s has no use for this secret. Leave it out.") % {"kind": kind_title(kind)}
    if strange:
        raise Invalid(text, reasons=tuple(Reason("secret_unused", text, name) for name in strange))


def _kept(name: str, text: str) -> str:
    return text if name == PASSWORD else _lines(text)


def _lines(pasted: str) -> str:
    """As the programs that read keys want it: a browser ends the lines of what is pasted by CR and LF."""
    return pasted.strip().replace("\r\n", "\n")


def _edited(row: Provider, edit: ProviderEdit) -> Connection:
    """The connection as it would be. Credentials that cannot be opened any more are as good as none."""
    try:
        now = connection_of(row)
    except Denied:
        row.sealed_secrets = ""
        now = connection_of(row)
    changed = {name: getattr(edit, name) for name in ("address", "username", "ca_pem")}
    given = {name: text for name, text in changed.items() if text is not None}
    then = replace(now, **given)
    _refuse_strange(row.kind, edit.secrets)
    return _wanted(replace(then, secrets=_carried(now, then) | dict(edit.secrets)))


def _carried(now: Connection, then: Connection) -> dict[str, str]:
    """The stored secrets that go along: to another server, name or CA none that a log-in tells whoever answers there."""
    if replace(_whole(now), secrets={}) == replace(_whole(then), secrets={}):
        return dict(now.secrets)
    driver = driver_class(now.kind)
    return {name: text for name, text in now.secrets.items() if name in set(driver.secrets) - driver.told_secrets}


def _stored(connection: Connection) -> dict[str, Any]:
    return {
        "address": connection.address,
        "username": connection.username,
        "ca_pem": connection.ca_pem,
        "options": own_options(connection.options),
        "sealed_secrets": sealed.seal_json(connection.secrets) if connection.secrets else "",
    }


def _one_at_a_time() -> None:
    """Held until the transaction ends, so that no two of the same name or address are stored side by side."""
    Portal.objects.select_for_update().get(uid=portal_id())


def _refuse_name(name: str, *, but: UUID | None = None) -> None:
    if not NAME.fullmatch(name):
        text = _("A name has 1 to 64 characters: letters A-Z, digits, '-', '_' and '.'.")
        raise Invalid(text, reasons=(Reason("name_invalid", text, "name"),))
    others = Provider.objects.exclude(pk=but) if but else Provider.objects.all()
    if others.filter(name__iexact=name).exists():
        text = _("A provider of this name is already connected. Choose another name.")
        raise Conflict(text, reasons=(Reason("name_taken", text, "name"),))


# -- what is ours there


def pool_name() -> str:
    """The name of this portal's own storage pool, which is its mark."""
    return f"stegi-{portal_id().hex[:8]}"


def own_storage(provider: Provider) -> StorageDomain:
    """The storage domain of this portal's own on a provider that can be given one (``Capabilities.own_storage``)."""
    return StorageDomain.objects.get(provider=provider, external_id=pool_name())


def share_out(
    actor: Actor, data_center: DataCenter, *, provider: Provider, templates: tuple[Template, ...] = ()
) -> None:
    """Assign a provider's clusters, our storage domain on it, and templates to a data center; again is nothing new.

    Of an engine, which has storage domains and networks of its own, all that work, but the network of its own hosts.
    """
    for cluster in Cluster.objects.filter(hosts__provider=provider).distinct():
        assign(actor, data_center.pk, "cluster", cluster.pk)
    if capabilities_of(Provider.objects.get(pk=provider.pk)).own_storage:
        assign(actor, data_center.pk, "storage_domain", own_storage(provider).pk)
    else:
        for domain in data_domains().filter(provider=provider):
            assign(actor, data_center.pk, "storage_domain", domain.pk)
        found = Network.objects.filter(provider=provider, is_found=True, status=NetworkStatus.OPERATIONAL)
        for network in found.filter(is_management=False):
            assign(actor, data_center.pk, "network", network.pk)
    for template in templates:
        assign(actor, data_center.pk, "template", template.pk)
