"""A provider looked at step by step, in one bounded run: where does it fail, if it does?

The connection is the run's own. Whatever hangs is left behind after its time, as ``lanes`` does, and ends the run.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future

from portal.hypervisors.base import Driver
from portal.hypervisors.errors import Denied, HypervisorError, OutcomeUnknown, TooOld
from portal.hypervisors.findings import Finding, Probe
from portal.hypervisors.registry import driver_class
from portal.hypervisors.specs import Connection

log = logging.getLogger(__name__)

IN_ALL = 30.0  # whoever asks waits for it
CONNECT = 10.0
RIGHTS = 15.0
PROVE = 25.0  # a tiny machine is started to try the accelerator
UNFORESEEN = "look_failed"  # the code of a look that ended by a fault of our own


def diagnose(connection: Connection, *, storage_domain: str, path: str) -> tuple[Finding, ...]:
    """The steps as far as they were gone, within ``IN_ALL`` seconds: the last one may have failed.

    Rights are proven by making this portal's own storage domain where it is not yet, of that name in that folder.
    """
    driver = driver_class(connection.kind)(connection)
    run = _Run(driver)
    found = []
    try:
        for probe in (*driver.reach(), *_within(driver, storage_domain, path)):
            found.append(run.take(probe))
            if found[-1].has_failed:
                break
        else:
            found += _screens(driver)
    finally:
        run.close()
    return tuple(found)


def look_around(connection: Connection, neighbours: tuple[str, ...] = ()) -> tuple[Finding, ...]:
    """Whether a host that is connected is reached and lets us in, and what else it needs; nothing is made there.

    ``neighbours`` are the names of the other hosts of its cluster, which it must be able to resolve. Where it is not reached the rest is not looked at; what else it needs is looked at to the end.
    """
    driver = driver_class(connection.kind)(connection)
    run = _Run(driver)
    found = []
    try:
        for probe in (*driver.reach(), Probe("authentication", lambda: _authentication(driver), CONNECT)):
            found.append(run.take(probe))
            if found[-1].has_failed:
                break
        else:
            found.append(run.take(Probe("version", lambda: _version(driver), CONNECT)))
            found += [run.take(probe) for probe in driver.surroundings(neighbours)]
    finally:
        run.close()
    return tuple(found)


def _within(driver: Driver, storage_domain: str, path: str) -> Iterator[Probe]:
    yield Probe("authentication", lambda: _authentication(driver), CONNECT)
    yield Probe("version", lambda: _version(driver), CONNECT)
    yield Probe("rights", lambda: _rights(driver, storage_domain, path), RIGHTS)
    if driver.tries_accelerator:
        yield Probe("accelerator", lambda: _accelerator(driver), PROVE)


def _authentication(driver: Driver) -> Finding:
    about = driver.about()
    return Finding("authentication", data={"host": about.host_name})


def _version(driver: Driver) -> Finding:
    about = driver.about()
    data = {"product": f"{about.product} {about.version}", "api": about.api_version}
    data |= {"identity": about.identity} if about.identity else {}
    if driver.oldest and _numbers(about.api_version) < driver.oldest:
        oldest = ".".join(map(str, driver.oldest))
        return Finding("version", "version_old", data | {"oldest": oldest}, is_warning=True)
    return Finding("version", data=data)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _rights(driver: Driver, storage_domain: str, path: str) -> Finding:
    return driver.rights(storage_domain, path=path)


def _accelerator(driver: Driver) -> Finding:
    if driver.accelerates():
        return Finding("accelerator")
    return Finding("accelerator", "emulated", is_warning=True)


def _screens(driver: Driver) -> list[Finding]:
    """Not a look: the address tells it."""
    code = driver.no_screens(driver.connection.address)
    return [Finding("screens", code, is_warning=True)] if code else []


class _Run:
    """Takes one look after the other, each on a thread that can be left behind; the driver goes with the last of them."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._until = time.monotonic() + IN_ALL
        self._last: threading.Thread | None = None

    def take(self, probe: Probe) -> Finding:
        """What the look found, an error of the driver among it, and a fault of our own that nobody foresaw."""
        left = self._until - time.monotonic()
        seconds = max(0.0, min(probe.seconds, left))
        future: Future[Finding] = Future()
        self._last = threading.Thread(
            target=_looked, args=(probe.look, future), name=f"diagnosis-{probe.step}", daemon=True
        )
        self._last.start()
        try:
            return future.result(timeout=seconds)
        except TimeoutError:
            if seconds < probe.seconds:
                return Finding(probe.step, "out_of_time", {"seconds": f"{IN_ALL:.0f}"})
            return Finding(probe.step, "silent")
        except TooOld as error:
            return Finding("version", "version_too_old", dict(error.figures))
        except HypervisorError as error:
            log.info("diagnosis, %s: %s", probe.step, error.detail or error.public)
            return Finding(probe.step, _code(probe.step, error))
        except Exception:
            log.exception("diagnosis, %s: the look itself failed", probe.step)
            return Finding(probe.step, UNFORESEEN)

    def close(self) -> None:
        """Give the connection back once no look is on it, for closing it under a call is not safe."""
        last, driver = self._last, self._driver

        def end() -> None:
            if last is not None:
                last.join()
            driver.close()

        threading.Thread(target=end, name="diagnosis-close", daemon=True).start()


def _looked(look: Callable[[], Finding], future: Future[Finding]) -> None:
    try:
        future.set_result(look())
    except BaseException as error:  # noqa: BLE001 - carried to the caller, whatever it is
        future.set_exception(error)


def _code(step: str, error: HypervisorError) -> str:
    if isinstance(error, Denied):
        return "denied" if step == "authentication" else "rights_missing"
    if isinstance(error, OutcomeUnknown):
        return "silent"
    return "no_answer" if step in {"authentication", "version"} else "step_failed"
