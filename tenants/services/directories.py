"""The hallway of directories: tried, connected, changed, disabled and removed, by super-admins alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.common.access import access_changed
from portal.common.actor import Actor
from portal.common.errors import Conflict, Invalid, PreconditionFailed, Reason, Unavailable
from portal.common.sealed import SealBroken, seal, unseal
from portal.common.versions import version_of
from portal.events.codes import Outcome
from portal.events.record import Attempt, Subject, attempt, record, trying
from tenants import policy
from tenants.directory.address import Address
from tenants.directory.backend import unavailable
from tenants.directory.checks import refusals
from tenants.directory.diagnosis import Told, diagnose
from tenants.directory.errors import DirectoryDown
from tenants.directory.meaning import meant_in
from tenants.directory.names import led_elsewhere
from tenants.models import Directory, DirectoryKind, KeptOut, System, User
from tenants.services.directory_groups import authorize_directories, get_directory
from tenants.services.standing import refuse_to_lead
from tenants.sync import Plan, carry_out, plan_of, read_directory, signed_in

COLUMNS = (
    "name", "kind", "urls", "starts_tls", "ca_pem", "bind_dn", "base_dn", "group_base_dn", "domains", "login_attribute",
    "is_default", "brake_percent",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DirectoryValues:
    """All that is known of a directory; ``password`` empty: the one that is stored, for the servers it was given for."""

    name: str
    kind: str
    urls: tuple[str, ...]
    starts_tls: bool = False
    ca_pem: str = ""
    bind_dn: str = ""
    base_dn: str = ""
    group_base_dn: str = ""
    domains: tuple[str, ...] = ()
    login_attribute: str = ""
    is_default: bool = False
    brake_percent: int = 30
    password: str = field(default="", repr=False)


class NotReached(Conflict):
    """A directory cannot be used as it was given; ``steps`` tell how far one gets, and what helps."""

    code = "directory_not_reached"

    def __init__(self, steps: tuple[Told, ...]) -> None:
        self.steps = steps
        last = steps[-1]
        why = Reason(last.code, f"{last.title}: {last.text} {last.remedy}".strip(), data={"step": last.step})
        super().__init__(_("The directory cannot be used yet. Nothing was stored."), reasons=(why,))


def directories(actor: Actor) -> list[Directory]:
    """All of them, by name."""
    authorize_directories(actor)
    return list(Directory.objects.order_by("name"))


def values_of(row: Directory) -> DirectoryValues:
    """What can be edited, as it is."""
    found: dict[str, Any] = {name: getattr(row, name) for name in COLUMNS}
    return DirectoryValues(**found | {"urls": tuple(row.urls), "domains": tuple(row.domains)})


def directory_version(row: Directory) -> str:
    """The version of what can be edited."""
    return version_of(*(str(getattr(row, name)) for name in COLUMNS), row.sealed_password)


def try_directory(
    actor: Actor, values: DirectoryValues, *, uid: UUID | None = None, user: str = ""
) -> tuple[Told, ...]:
    """Try to reach a directory, step by step; nothing is stored. ``Invalid`` names the fields that cannot be.

    The log of events tells where, before it is asked, and then what came of it.
    """
    authorize_directories(actor)
    row = get_directory(actor, uid) if uid else None
    address = _address(values, row)
    about = Subject("directory", uid, row.name if row else values.name)
    where = {"servers": list(address.urls), "bind_dn": address.bind_dn}
    with attempt(actor, "DIRECTORY_TEST", about) as trial:
        trial.data = where
    called = Directory(name=values.name, domains=list(values.domains), **({"pk": uid} if uid else {}))
    steps = diagnose(address, user=meant_in(called, user) if user.strip() else None)
    last = steps[-1]
    came = {"reached": last.status != "failed", "step": str(last.step), "code": last.code}
    record(actor, "DIRECTORY_TESTED", outcome=Outcome.NOTED, subject=about, data=where | came)
    return steps


def connect_directory(actor: Actor, values: DirectoryValues) -> Directory:
    """Try a directory and connect it. A try that fails (``NotReached``) stores nothing."""
    with trying(actor, "DIRECTORY_CONNECT", Subject("directory", None, values.name)):
        return store_tried(actor, values, try_directory(actor, values))


def store_tried(actor: Actor, values: DirectoryValues, steps: tuple[Told, ...]) -> Directory:
    """Connect what was tried. ``NotReached`` when the try failed: nothing is stored then."""
    with attempt(actor, "DIRECTORY_CONNECT", Subject("directory", None, values.name)) as trial:
        authorize_directories(actor)
        _refuse_failed(steps)
        before = _one_at_a_time()
        _refuse_taken(values)
        row = Directory(sealed_password=seal(values.password))
        _write(row, values)
        row.save()
        _refuse_to_take_over(actor, before)
        trial.subject = Subject("directory", row.pk, row.name)
    return row


def edit_directory(actor: Actor, uid: UUID, values: DirectoryValues, *, version: str = "") -> Directory:
    """Change it; the way to it is tried first when it changes. Its people are renamed with it at their next log-in."""
    with trying(actor, "DIRECTORY_EDIT", Subject("directory", uid)):
        return store_edit(actor, uid, values, try_edit(actor, uid, values), version=version)


def try_edit(actor: Actor, uid: UUID, values: DirectoryValues) -> tuple[Told, ...]:
    """The first half of an edit: the steps of a try, none when the way to the directory stays as it is."""
    row = get_directory(actor, uid)
    _address(values, row)
    return try_directory(actor, values, uid=uid) if _is_led_elsewhere(values, row) else ()


def _is_led_elsewhere(values: DirectoryValues, row: Directory) -> bool:
    """Whether another server or part of it would be asked, or asked otherwise."""
    before = values_of(row)
    return bool(values.password) or before != replace(
        values, name=before.name, domains=before.domains, is_default=before.is_default,
        brake_percent=before.brake_percent,
    )  # fmt: skip


def store_edit(
    actor: Actor, uid: UUID, values: DirectoryValues, steps: tuple[Told, ...], *, version: str = ""
) -> Directory:
    """The other half. ``NotReached`` when the try failed: nothing is stored then."""
    with attempt(actor, "DIRECTORY_EDIT", Subject("directory", uid)) as trial:
        _meant(actor, uid, trial)
        before = _one_at_a_time()
        row = Directory.objects.select_for_update(no_key=True).get(pk=uid)
        if version and version != directory_version(row):
            raise PreconditionFailed(_("Somebody else changed this directory meanwhile. Look at it again."))
        _address(values, row)  # the servers may be others by now
        if _is_led_elsewhere(values, row):
            refuse_to_lead(actor, row)
        if steps:
            _refuse_failed(steps)
        _refuse_taken(values, but=uid)
        if values.password:
            row.sealed_password = seal(values.password)
        _write(row, values)
        row.save()
        _refuse_to_take_over(actor, before)
    return row


def set_directory_enabled(actor: Actor, uid: UUID, *, enabled: bool) -> Directory:
    """Disable a directory, which logs out all its people at once, or enable it again.

    Whoever has a session or token from before gets nothing by it until the directory was asked about him: by the next
    sync, or when he logs in. ``NotPermitted`` where people of it are above the actor, whom he would put out or let in.
    """
    with attempt(actor, "DIRECTORY_ENABLE" if enabled else "DIRECTORY_DISABLE", Subject("directory", uid)) as trial:
        row = _meant(actor, uid, trial)
        before = _one_at_a_time()
        refuse_to_lead(actor, row)
        Directory.objects.filter(pk=uid).update(enabled=enabled)
        _refuse_to_take_over(actor, before)
        row.enabled = enabled
        access_changed(_let_in(row) if enabled else _put_out(row))
    return row


def _meant(actor: Actor, uid: UUID, trial: Attempt) -> Directory:
    """The directory that is to be changed, which its record names from now on."""
    row = get_directory(actor, uid)
    trial.subject = Subject("directory", uid, row.name)
    return row


def _put_out(row: Directory) -> list[UUID]:
    """All whom the directory let in, or might have; who they are."""
    people = User.objects.filter(Q(is_active=True) | Q(kept_out=KeptOut.UNASKED), directory=row)
    uids = list(people.values_list("pk", flat=True))
    people.update(is_active=False, kept_out=KeptOut.DIRECTORY)
    return uids


def _let_in(row: Directory) -> list[UUID]:
    """All whom ``_put_out`` put out, but for those with a log-in of before: it must not live again unasked."""
    out = User.objects.filter(directory=row, kept_out__in=(KeptOut.DIRECTORY, KeptOut.UNASKED))
    signed = signed_in(row).order_by().values("pk")
    out.filter(pk__in=signed).update(kept_out=KeptOut.UNASKED)
    people = out.exclude(pk__in=signed)
    uids = list(people.values_list("pk", flat=True))
    people.update(is_active=True, kept_out="")
    return uids


def depends_on(row: Directory) -> list[Reason]:
    """What keeps a directory from being removed: people who came from it, for what they made and did is theirs."""
    people = User.objects.filter(directory=row).order_by("username")
    count = people.count()
    if not count:
        return []
    text = ngettext(
        "%(count)d account came from it: %(names)s. Disable it instead: nobody of it logs in then.",
        "%(count)d accounts came from it, such as %(names)s. Disable it instead: nobody of it logs in then.",
        count,
    )
    names = ", ".join(str(user) for user in people[:3])
    return [Reason("people", text % {"count": count, "names": names}, data={"count": count})]


def remove_directory(actor: Actor, uid: UUID) -> None:
    """Forget a directory that nobody came from, with its groups' roles. ``Conflict`` says who did."""
    with attempt(actor, "DIRECTORY_REMOVE", Subject("directory", uid)) as trial:
        _meant(actor, uid, trial)
        before = _one_at_a_time()
        row = Directory.objects.select_for_update().get(pk=uid)
        if reasons := depends_on(row):
            raise Conflict(_("%(name)s is in use.") % {"name": row.name}, reasons=tuple(reasons))
        for group in row.groups.select_related("group"):
            group.group.delete()
        row.delete()
        _refuse_to_take_over(actor, before)


def preview_sync(actor: Actor, uid: UUID) -> Plan:
    """What a sync would change now. ``Unavailable`` when the directory cannot be read."""
    return _planned(get_directory(actor, uid))


def preview_release(actor: Actor, uid: UUID, *, look: str | None = None) -> Plan:
    """What ``release_read`` would do now, with its refusals."""
    row = get_directory(actor, uid)
    _refuse_disabled(row)
    plan = _planned(row, passes_brake=True)
    _refuse_unseen(plan, look)
    return plan


def _planned(row: Directory, *, passes_brake: bool = False) -> Plan:
    try:
        return plan_of(row, passes_brake=passes_brake)
    except DirectoryDown as error:
        raise unavailable(row.name, str(error)) from error


def _refuse_disabled(row: Directory) -> None:
    if not row.enabled:
        raise Conflict(_("%(name)s is disabled. Enable it first.") % {"name": row.name})


def _refuse_unseen(plan: Plan, look: str | None) -> None:
    """The directory may say something else by now, which nobody looked at."""
    if look is not None and not plan.is_within(look):
        text = _("A sync would take more or other things by now than when you looked at it. Nothing was changed.")
        raise PreconditionFailed(text)


def release_sync(actor: Actor, uid: UUID, *, look: str) -> Plan:
    """Do what a sync would, past the brake, as far as a super-admin has looked at it."""
    with trying(actor, "DIRECTORY_RELEASE", Subject("directory", uid)):
        return release_read(actor, uid, read_release(actor, uid), look=look)


def read_release(actor: Actor, uid: UUID) -> Plan | None:
    """The half of it that asks the directory; None when that cannot be."""
    row = get_directory(actor, uid)
    return read_directory(uid, passes_brake=True) if row.enabled else None


def release_read(actor: Actor, uid: UUID, plan: Plan | None, *, look: str | None = None) -> Plan:
    """The half that writes rows. ``Conflict`` or ``Unavailable`` where there is nothing to go by.

    ``look``: of the plan that was looked at; ``PreconditionFailed`` where this one takes anything else. None: whatever it takes.
    """
    with trying(actor, "DIRECTORY_RELEASE", Subject("directory", uid)) as trial:
        row = get_directory(actor, uid)
        trial.subject = Subject("directory", uid, row.name)
        if plan is not None:
            _refuse_unseen(plan, look)
    if plan is not None:
        carry_out(uid, plan)
    with attempt(actor, "DIRECTORY_RELEASE", Subject("directory", uid, row.name)) as trial:
        _refuse_disabled(row)
        if plan is None:
            raise Unavailable(_("The directory %(name)s could not be read. Nothing was changed.") % {"name": row.name})
        trial.data = {"changes": len(plan.changes), "losing": plan.losing}
    return plan


def _address(values: DirectoryValues, row: Directory | None) -> Address:
    """Where this leads; ``Invalid`` with every field that cannot be."""
    password = values.password or (_stored_password(row) if row and _leads_as_before(values, row) else "")
    known = values.kind in DirectoryKind.values
    address = Address(
        name=values.name,
        kind=DirectoryKind(values.kind) if known else values.kind,  # type: ignore[arg-type]
        urls=values.urls,
        starts_tls=values.starts_tls,
        ca_pem=values.ca_pem,
        bind_dn=values.bind_dn,
        base_dn=values.base_dn,
        group_base_dn=values.group_base_dn or values.base_dn,
        login_attribute=values.login_attribute,
        password=password,
    )
    if refused := refusals(address, values.domains, values.brake_percent):
        raise Invalid(" ".join(reason.text for reason in refused), reasons=refused)
    return address


def _leads_as_before(values: DirectoryValues, row: Directory) -> bool:
    """Whether the stored password would go to whom it was given for, and nobody else may read it on the way."""
    before = values_of(row)
    same = all(getattr(values, name) == getattr(before, name) for name in ("kind", "urls", "starts_tls", "bind_dn"))
    return same and values.ca_pem.split() == before.ca_pem.split()


def _stored_password(row: Directory) -> str:
    """A password that cannot be opened any more is as good as none."""
    try:
        return unseal(row.sealed_password)
    except SealBroken:
        return ""


def _refuse_failed(steps: tuple[Told, ...]) -> None:
    if steps[-1].status == "failed":
        raise NotReached(steps)


def _one_at_a_time() -> list[Directory]:
    """All directories as they are, held until the transaction ends: no two of one name are stored side by side."""
    System.objects.select_for_update(no_key=True).get(pk=policy.system().pk)
    return list(Directory.objects.all())


def _refuse_taken(values: DirectoryValues, *, but: UUID | None = None) -> None:
    """No two directories answer to one name, or log-ins would mean either."""
    wanted = {name.casefold(): name for name in (values.name, *values.domains)}
    for other in Directory.objects.exclude(pk=but) if but else Directory.objects.all():
        taken = [name for name in (other.name, *other.domains) if name.casefold() in wanted]
        if taken:
            text = _("%(taken)s is what the directory %(name)s answers to.") % {"taken": taken[0], "name": other.name}
            own = taken[0].casefold() == values.name.casefold()
            raise Conflict(text, reasons=(Reason("name_taken", text, "name" if own else "domains"),))


def _refuse_to_take_over(actor: Actor, before: list[Directory]) -> None:
    """What a name means at log-in may have changed: whoever is above the actor would type a password to another's servers."""
    led = led_elsewhere(before, list(Directory.objects.all()))
    for row in before:
        if row.pk in led:
            refuse_to_lead(actor, row)


def _write(row: Directory, values: DirectoryValues) -> None:
    if values.is_default:
        Directory.objects.exclude(pk=row.pk).filter(is_default=True).update(is_default=False)
    for name in COLUMNS:
        value = getattr(values, name)
        setattr(row, name, list(value) if isinstance(value, tuple) else value)
