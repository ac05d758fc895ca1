"""Everything an engine has, in a number of requests that grows with its pages of machines alone.

Pages are counted by ids, which are never two alike nor changed. A machine that comes between two of them moves others into
pages yet to come: they are seen twice, and kept once. One that goes moves others into pages that were read: they would be
lost. So where there was more than one page the engine's events of that while are looked at, and the pages are read again
where they tell of such a machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from portal.hypervisors.base import no_progress
from portal.hypervisors.engine_found import TemplateFound
from portal.hypervisors.ovirt import convert
from portal.hypervisors.ovirt.connection import Session
from portal.hypervisors.ovirt.convert import known
from portal.hypervisors.ovirt.failures import calling
from portal.hypervisors.ovirt.watches import newest_index
from portal.hypervisors.specs import About, Inventory

MACHINES = "nics,disk_attachments.disk"
TEMPLATES = "disk_attachments.disk"
PAGE = 500
MOST_PAGES = 1000
# Of the engine's ``AuditLogType``: a machine was removed; removed, and disks of it stayed.
REMOVALS = {113, 172}
MOST_EVENTS = 1000
READINGS = 3


Told = Callable[[Any], Any]  # gives an answer on, once it was told that it came


class Inventories:
    """Reads one engine."""

    def __init__(self, session: Session, *, page: int = PAGE) -> None:
        self._session = session
        self._page = page

    def about(self) -> About:
        """Product and versions."""
        with calling("read version"):
            return self._about(self._session.system().get())

    def inventory(self, progress: Callable[[], None] = no_progress) -> Inventory:
        """Everything, ours and others'. Each answer is progress."""

        def told(answer: Any) -> Any:
            progress()
            return answer

        with calling("read everything"):
            system = self._session.system()
            about = self._about(told(system.get()))
            centers = list(known(told(system.data_centers_service().list(follow="storage_domains"))))
            attached = convert.attached_statuses(centers)
            domains = known(told(system.storage_domains_service().list()))
            clusters = list(known(told(system.clusters_service().list(follow="networks"))))
            wired = convert.attached_networks(clusters)
            networks = known(told(system.networks_service().list(follow="vnic_profiles")))
            return Inventory(
                about=about,
                zones=tuple(map(convert.zone, centers)),
                clusters=tuple(map(convert.cluster, clusters)),
                hosts=tuple(map(convert.host, known(told(system.hosts_service().list(follow="nics"))))),
                storage_domains=tuple(convert.storage_domain(one, attached) for one in domains),
                networks=tuple(convert.network(one, wired) for one in networks),
                templates=_templates(told(system.templates_service().list(follow=TEMPLATES))),
                instance_types=tuple(map(convert.instance_type, known(told(system.instance_types_service().list())))),
                vms=tuple(convert.vm(one, portal_id=self._session.portal_id) for one in self._machines(system, told)),
            )

    def _about(self, api: Any) -> About:
        return convert.about(api, host=urlsplit(self._session.connection.address).hostname or "")

    # -- machines

    def _machines(self, system: Any, told: Told) -> list[Any]:
        found: dict[str, Any] = {}
        for _ in range(READINGS):
            before = newest_index(system)
            found, pages = self._pages(system, told)
            if pages == 1 or not self._may_be_lost(system, before, found):
                break
        return list(found.values())

    def _pages(self, system: Any, told: Told) -> tuple[dict[str, Any], int]:
        """The machines of all pages by their ids, and how many pages these were."""
        found: dict[str, Any] = {}
        for number in range(1, MOST_PAGES):
            machines = told(self._read(system, number))
            found |= {convert.key(one): one for one in known(machines)}
            if len(machines) < self._page:
                break
        return found, number

    def _read(self, system: Any, number: int) -> Any:
        search = f"sortby id asc page {number}"
        return system.vms_service().list(search=search, max=self._page, follow=MACHINES)

    @staticmethod
    def _may_be_lost(system: Any, since: int, found: dict[str, Any]) -> bool:
        """Whether a machine went since: removed by somebody, or spoken of and not there."""
        events = system.events_service().list(from_=since, max=MOST_EVENTS)
        spoken_of = {convert.key(event.vm) for event in events} - {""}
        went = any(event.code in REMOVALS for event in events) or not spoken_of <= found.keys()
        return len(events) >= MOST_EVENTS or went


def _templates(listed: Any) -> tuple[TemplateFound, ...]:
    """All but the one that stands for none."""
    return tuple(convert.template(one) for one in known(listed) if convert.key(one) != convert.BLANK)
