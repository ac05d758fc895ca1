"""Finding machines of ours by their marks. A machine without our mark is as good as absent."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

from ovirtsdk4 import types

from portal.hypervisors.errors import AlreadyExists, NotFound
from portal.hypervisors.ovirt import convert
from portal.hypervisors.ovirt.connection import Session
from portal.hypervisors.ovirt.failures import calling
from portal.hypervisors.ovirt.marks import Mark, correlation, is_put_on, marks, pin_of, word
from portal.hypervisors.specs import VmRef

GONE = "The machine is not there."
MOST_COPIES = 100
SEVERAL = "Several of them might be the one that is meant, so none is touched. Ask an administrator to look at them."


class Looking:
    """The machines of one engine that bear our mark; all within ``calling``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def of_id(self, external_id: str) -> Any:
        """The SDK's service of one machine."""
        return self._session.system().vms_service().vm_service(engine_id(external_id))

    def ours(self, ref: VmRef, *, follow: str | None = None) -> Any:
        """The machine. Raises ``NotFound``."""
        found = self.find(ref.uid, ref.external_id, follow=follow)
        if found is None:
            raise NotFound(GONE, detail=f"no machine with our mark of {ref.uid}")
        return found

    def find(self, uid: UUID, external_id: str = "", *, follow: str | None = None) -> Any | None:
        """The machine that our mark of this uid was put on, or None.

        ``external_id``: the one that it is known to be; no other is taken for it. Else the engine's search is asked, which reads
        every machine's comment, and each find is looked at. Raises ``AlreadyExists`` where several might be it.
        """
        if external_id:
            return self._known(uid, external_id, follow=follow)
        return put_on(self._searched(uid, follow=follow), uid, self._session.portal_id)

    def _known(self, uid: UUID, external_id: str, *, follow: str | None) -> Any | None:
        """By its id, with our mark on it: unless that names another machine, which this one is a copy of then."""
        with suppress(NotFound), calling("look up machine"):
            vm = self.of_id(external_id).get(follow=follow)
            mark = self.mark(vm, uid)
            return vm if mark is not None and mark.pin in {"", pin_of(convert.key(vm))} else None
        return None

    def _searched(self, uid: UUID, *, follow: str | None) -> Any:
        search = f"comment=*{word(self._session.marker(uid))}*"
        return self._session.system().vms_service().list(search=search, max=MOST_COPIES, follow=follow)

    def remove(self, vm: Any, headers: dict[str, str]) -> None:
        """Remove a machine and leave its disks, which an engine does for one over a template only one by one."""
        service = self.of_id(convert.key(vm))
        is_over_template = convert.key(vm.template) not in {"", convert.BLANK}
        if is_over_template:
            attachments = service.disk_attachments_service()
            for each in attachments.list():
                attachments.attachment_service(convert.key(each)).remove(detach_only=True, headers=headers)
        service.remove(detach_only=not is_over_template, headers=headers)

    def mark(self, vm: Any, uid: UUID) -> Mark | None:
        """Our mark in a machine's comment."""
        ours = self._session.marker(uid)
        return next((mark for mark in marks(vm.comment) if mark.marker == ours), None)

    def is_pinned(self, vm: Any, uid: UUID) -> bool:
        """Whether our mark says which machine it is on."""
        mark = self.mark(vm, uid)
        return mark is not None and bool(mark.pin)


def put_on(found: Iterable[Any], uid: UUID, portal_id: UUID) -> Any | None:
    """The one of these machines that the mark was put on: one that the mark itself names before one that its name tells.

    Raises ``AlreadyExists`` where the names of several tell so: a copy may have been given such a name by hand.
    """
    named: list[Any] = []
    told: list[Any] = []
    for vm in found:
        for mark in marks(vm.comment):
            is_ours = (mark.marker.portal_id, mark.marker.uid) == (portal_id, uid)
            if is_ours and is_put_on(mark, external_id=convert.key(vm), name=vm.name or ""):
                (named if mark.pin else told).append(vm)
    if named or len(told) < 2:
        return next(iter(named or told), None)
    raise AlreadyExists(SEVERAL, detail=f"machines with our mark of {uid}: {', '.join(map(convert.key, told))}")


def jobs_of(system: Any, verb: str, uid: UUID) -> list[Any]:
    """A verb's jobs, one for each time it was asked for, until the engine forgets them; within ``calling``."""
    search = f"correlation_id={correlation(verb, uid)['Correlation-Id']}"
    return list(system.jobs_service().list(search=search, max=20, follow="steps"))


def running(jobs: list[Any]) -> list[Any]:
    """Those of them that go on. One that is *unknown* ran when the engine restarted, and says nothing."""
    return [job for job in jobs if job.status is types.JobStatus.STARTED]


def engine_id(text: str) -> str:
    """An engine's id, fit to stand in a path. Raises ``NotFound`` for what cannot be one."""
    try:
        return str(UUID(text))
    except ValueError as error:
        raise NotFound(detail=f"{text!r} is no id of an engine's") from error
