"""Consoles: a one-time right to a machine's screen, its use by one socket, and the record of sitting there."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from compute import selectors
from compute.actions import screen_reasons, status_reasons
from compute.choices import CONSOLE_ENDINGS
from compute.console_reach import reach_of
from compute.models import Console, Vm
from compute.rules import protocol_reasons
from portal.common.actor import Actor, Bounds, Door, system_actor
from portal.common.errors import Conflict, NotFound, NotPermitted, PortalError, Reason, TooMany
from portal.common.phrases import kept
from portal.common.sealed import keyed_hash, seal, unseal
from portal.common.sessions import note_use
from portal.events.codes import Outcome, Severity
from portal.events.record import Subject, attempt, record
from portal.hypervisors.connect import driver_for
from portal.hypervisors.displays import checked
from portal.hypervisors.errors import DisplayRefused
from portal.hypervisors.specs import ConsoleTarget, VmRef
from tenants import policy
from tenants.models import User
from tenants.permits import Permit
from tenants.services.logins import bounds_of_token, user_of_session, user_of_token
from tenants.services.throttle import is_news
from tenants.services.tokens import note_bad_token, token_behind
from tenants.services.viewing import is_viewing

log = logging.getLogger(__name__)

TICKET_SECONDS = 30
TICKET_BYTES = 32
LOST_SECONDS = 30  # without a heartbeat; sockets give one every 10
MOST_OF_USER = 20  # open at once, tickets that wait for their socket included
MOST_OF_MACHINE = 40  # more than one person may have, who could shut the others out
MOST_TOLD = 300  # characters of a place that a hypervisor names: it may name one of any length
RELAYED = ("vnc",)  # what our own end can carry, whatever a provider offers
VERB = "VM_CONNECT"
VIEWING = "viewing"  # the log-in that asked for it sees the portal as somebody else meanwhile


@dataclass(frozen=True, slots=True)
class ConsoleRequest:
    """What kind of console is wanted: ``vnc``, ``spice`` or ``serial``."""

    protocol: str = "vnc"


@dataclass(frozen=True, slots=True)
class OpenedConsole:
    """A console that waits for its socket, and the ticket, which is shown this once."""

    console: Console
    ticket: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Knock:
    """What a socket brings along. Empty: it has none of it."""

    ticket: str = field(default="", repr=False)
    session_key: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)
    client_address: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why an open console must end, with the websocket's close code: 4401 log-in over, 4403 not permitted any more."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes relayed so far: from the client to the machine, and back."""

    bytes_up: int = 0
    bytes_down: int = 0


def authorize_console(actor: Actor, vm_uid: UUID) -> Vm:
    """The machine, for whoever may sit at its console at all, on or off. Raises ``NotFound`` or ``NotPermitted``."""
    vm = selectors.get_vm(actor, vm_uid)
    policy.authorize(actor, Permit.VM_CONNECT, vm)
    return vm


def plan_console(actor: Actor, vm_uid: UUID, request: ConsoleRequest) -> tuple[Reason, ...]:
    """The dry run of ``open_console``: why it could not be done now, empty when it could. Raises as the policy does."""
    return _reasons(authorize_console(actor, vm_uid), request)


def open_console(actor: Actor, vm_uid: UUID, request: ConsoleRequest) -> OpenedConsole:
    """A ticket for one socket, good for 30 s, for this actor by this log-in on this machine.

    Raises ``NotFound``, ``NotPermitted``, ``Conflict`` with every reason (the machine does not run, the protocol is not
    to be had), or ``TooMany`` where person or machine have as many open as they may.
    """
    ticket = secrets.token_urlsafe(TICKET_BYTES)
    with attempt(actor, VERB, Subject("vm", vm_uid)) as trial:
        vm = selectors.get_vm(actor, vm_uid)
        trial.subject = _subject(vm)
        policy.authorize(actor, Permit.VM_CONNECT, vm)
        if reasons := _reasons(vm, request):
            raise Conflict(" ".join(reason.text for reason in reasons), reasons=reasons)
        _refuse_crowd(actor, vm)
        console = Console.objects.create(
            vm=vm,
            user=actor.user,
            protocol=request.protocol,
            ticket_hash=_ticket_hash(ticket),
            session_hash=_session_hash(actor.session_key),
            sealed_session=seal(actor.session_key),
            token_uid=actor.token_uid,
            expires_at=Now() + timedelta(seconds=TICKET_SECONDS),
        )
        console.refresh_from_db(fields=["expires_at"])
        trial.outcome = Outcome.REQUESTED
        trial.correlation_id = console.uid
        trial.data = {"console": str(console.uid), "protocol": request.protocol}
    return OpenedConsole(console, ticket)


def claim_console(uid: UUID, *, knock: Knock) -> Console:
    """Spend a ticket, or the log-in that asked for it, on one socket: of any number at once exactly one succeeds.

    Raises ``NotFound`` where nothing fits (no such console, no or another ticket, spent, expired: all alike), and
    ``NotPermitted`` where the ticket fits but not the visitor, or no longer the right; it is spent all the same.
    """
    console = _with_all(uid)
    if console is None or not _fits(console, knock):
        raise NotFound(_("There is no such console, or it was used already."), private=f"console {uid}: nothing fits")
    visitor = _visitor(knock)
    if not _spend(console, knock):
        raise NotFound(_("There is no such console, or it was used already."), private=f"console {uid}: spent or late")
    ending = Ending(4403, "other_user") if visitor not in (None, console.user) else _ending(console)
    if is_viewing(knock.session_key):
        ending = Ending(4403, VIEWING)
    if ending:
        _close(console, ending.reason, Traffic(), outcome=Outcome.REFUSED)
        raise NotPermitted(_("This console is not yours."), private=f"console {uid}: {ending.reason}")
    return console


def console_refused(uid: UUID, *, why: str, client_address: str) -> None:
    """Put on record that a socket was turned away from a console: with another ticket, one that is spent, or by a foreign page.

    Once within some minutes for each console and reason. Of one that is not there nothing is written.
    """
    console = _with_all(uid)
    if console is not None and is_news(f"{uid} {why}", of="console refused"):
        record(
            Actor(user=None, door=Door.PAGE, client_address=client_address),
            VERB,
            outcome=Outcome.REFUSED,
            severity=Severity.WARNING,
            subject=_subject(console.vm),
            data={"console": str(uid), "why": why},
        )


def console_target(console: Console) -> ConsoleTarget:
    """Have the hypervisor open its end, and see that it is one. Raises ``HypervisorError``.

    ``DisplayRefused`` where it names a place that is none of its hosts'; super-admins are told which, once within some minutes for
    each machine and reason, however often its screen is asked for.
    """
    vm = console.vm
    try:
        target = driver_for(vm.provider).console(VmRef(vm.uid, vm.external_id), protocol=console.protocol)
        return checked(target, reach_of(vm.provider, target))
    except DisplayRefused as error:
        if is_news(f"{vm.uid} {error.code}", of="display refused"):
            _tell_of_display(console, error)
        raise


def _tell_of_display(console: Console, error: DisplayRefused) -> None:
    provider = console.vm.provider
    record(
        system_actor(),
        "PROVIDER_DISPLAY_REFUSED",
        outcome=Outcome.NOTED,
        severity=Severity.ALERT,
        subject=Subject("provider", provider.pk, provider.name),
        correlation_id=console.uid,
        message=kept(CONSOLE_ENDINGS[error.code]),
        data={"vm": str(console.vm_id), "told": error.detail[:MOST_TOLD]},
    )


def console_opened(console: Console) -> None:
    """Note that somebody sits at the screen now."""
    with transaction.atomic():
        Console.objects.filter(uid=console.uid).update(opened_at=Now(), heartbeat_at=Now())
        _record(console, Outcome.DONE)


def check_console(uid: UUID, *, traffic: Traffic) -> Ending | None:
    """Note that the console lives, and say whether it must end: rights, log-in and machine are looked at anew."""
    beat = {"heartbeat_at": Now(), "bytes_up": traffic.bytes_up, "bytes_down": traffic.bytes_down}
    console = _with_all(uid)
    if console is None or not Console.objects.filter(uid=uid, closed_at=None).update(**beat):
        return Ending(4403, "ended")
    if console.sealed_session and traffic.bytes_up > console.bytes_up:
        note_use(unseal(console.sealed_session))  # whoever sits at a screen has not left
    return _ending(console)


def console_failed(console: Console, *, reason: str) -> None:
    """Note that the screen could not be reached; ``reason`` is a code."""
    _close(console, reason, Traffic(), outcome=Outcome.FAILED)


def console_closed(console: Console, *, reason: str, traffic: Traffic) -> None:
    """Note that nobody sits there any more, once, whoever notices first."""
    _close(console, reason, traffic, outcome=Outcome.NOTED)


def reap_consoles() -> int:
    """Close the rows of consoles whose process died without a word; how many there were."""
    silent = Console.objects.filter(closed_at=None, heartbeat_at__lt=Now() - timedelta(seconds=LOST_SECONDS))
    found = list(silent.select_related("vm", "user")[:1000])
    for console in found:
        opened = Outcome.NOTED if console.opened_at else Outcome.FAILED
        _close(console, "lost", Traffic(console.bytes_up, console.bytes_down), outcome=opened)
    return len(found)


def _reasons(vm: Vm, request: ConsoleRequest) -> tuple[Reason, ...]:
    found = vm.provider.capabilities.get("console_protocols", RELAYED)
    offered = tuple(protocol for protocol in RELAYED if protocol in found)
    unseen = screen_reasons(vm.provider)
    return (*unseen, *status_reasons(vm, "connect"), *protocol_reasons(request.protocol, offered=offered))


def _refuse_crowd(actor: Actor, vm: Vm) -> None:
    # One request at a time of a person and of a machine, so that what is counted stays true until it commits.
    for rows in (User.objects.filter(pk=actor.user.pk), Vm.objects.filter(pk=vm.pk)):
        list(rows.select_for_update(no_key=True).values_list("pk"))
    waiting = Q(spent_at=None, expires_at__gt=Now())
    consoles = Console.objects.filter(Q(spent_at__isnull=False) | waiting, closed_at=None)
    if consoles.filter(user=actor.user).count() >= MOST_OF_USER:
        text = _("You have %(most)d consoles open. Close one, or wait half a minute for one that did not open.")
        raise TooMany(text % {"most": MOST_OF_USER}, data={"retry_after": TICKET_SECONDS})
    if consoles.filter(vm=vm).count() >= MOST_OF_MACHINE:
        text = _("This machine has %(most)d consoles open. Try again when somebody has closed one.")
        raise TooMany(text % {"most": MOST_OF_MACHINE}, data={"retry_after": TICKET_SECONDS})


def _fits(console: Console, knock: Knock) -> bool:
    if knock.ticket:
        return secrets.compare_digest(console.ticket_hash, _ticket_hash(knock.ticket))
    asked_by = console.session_hash
    return bool(asked_by) and secrets.compare_digest(asked_by, _session_hash(knock.session_key))


def _spend(console: Console, knock: Knock) -> bool:
    fresh = Console.objects.filter(uid=console.uid, spent_at=None, closed_at=None, expires_at__gt=Now())
    spent = {"spent_at": Now(), "heartbeat_at": Now(), "client_address": knock.client_address}
    console.client_address = knock.client_address
    return bool(fresh.update(**spent))


def _visitor(knock: Knock) -> User | None:
    """Whom cookie or token speak for; None when there are none, or only a cookie of no present log-in."""
    if not knock.bearer:
        return user_of_session(knock.session_key)
    token = token_behind(knock.bearer)
    if token is None:
        note_bad_token(knock.bearer, client_address=knock.client_address)
        raise NotFound(_("The token is not valid."), private="a socket with a token that is not valid")
    return token.user


def _ending(console: Console) -> Ending | None:
    # The person last, read anew: whoever is disabled between these looks is told that, and not what goes with it, that the
    # log-in ended or a permit is missing.
    permitted, login_lasts = _permitted(console), _login_lasts(console)
    if not User.objects.filter(pk=console.user_id, is_active=True).exists():
        return Ending(4401, "user_disabled")
    if not login_lasts:
        return Ending(4401, "login_ended")
    if console.sealed_session and is_viewing(unseal(console.sealed_session)):
        return Ending(4403, VIEWING)
    return None if permitted else Ending(4403, "not_permitted")


def _permitted(console: Console) -> bool:
    try:
        policy.authorize(_actor(console), Permit.VM_CONNECT, console.vm)
    except PortalError:
        return False
    return True


def _login_lasts(console: Console) -> bool:
    if console.token_uid:
        return user_of_token(console.token_uid) == console.user
    if console.sealed_session:
        return user_of_session(unseal(console.sealed_session)) == console.user
    return True  # asked for by a command


def _close(console: Console, reason: str, traffic: Traffic, *, outcome: Outcome) -> None:
    ended = {"closed_at": Now(), "closed_reason": reason[:40]}
    counted = {"bytes_up": traffic.bytes_up, "bytes_down": traffic.bytes_down}
    row = Console.objects.filter(uid=console.uid)
    with transaction.atomic():
        # A row that went with its machine cannot tell who noticed first, but then only its socket is left to notice.
        if row.filter(closed_at=None).update(**ended, **counted) or not row.exists():
            _record(console, outcome, reason=reason, **counted)


def _record(console: Console, outcome: Outcome, **data: object) -> None:
    row = Console.objects.filter(uid=console.uid).first()
    reason = str(data.get("reason", ""))
    if row and row.opened_at and row.closed_at:
        data["seconds"] = round((row.closed_at - row.opened_at).total_seconds(), 1)
    record(
        _actor(console),
        "VM_DISCONNECTED" if outcome is Outcome.NOTED else VERB,
        outcome=outcome,
        subject=_subject(console.vm),
        correlation_id=console.uid,
        severity=Severity.WARNING if outcome in (Outcome.FAILED, Outcome.REFUSED) else Severity.NORMAL,
        message=kept(CONSOLE_ENDINGS.get(reason, reason)),
        data={"console": str(console.uid), "protocol": console.protocol, **data},
    )


def _actor(console: Console) -> Actor:
    return Actor(
        user=console.user,
        door=Door.API if console.token_uid else Door.PAGE,
        request_id=console.uid.hex,
        client_address=console.client_address,
        token_uid=console.token_uid,
        bounds=bounds_of_token(console.token_uid) if console.token_uid else Bounds(),
    )


def _with_all(uid: UUID) -> Console | None:
    return Console.objects.select_related("user", "vm__data_center", "vm__provider").filter(uid=uid).first()


def _subject(vm: Vm) -> Subject:
    return Subject("vm", vm.uid, vm.name, vm.data_center_id)


def _ticket_hash(ticket: str) -> str:
    return keyed_hash(ticket, purpose="console-ticket")


def _session_hash(session_key: str) -> str:
    return keyed_hash(session_key, purpose="console-session") if session_key else ""
