"""What can go wrong with a hypervisor, mapped at the driver's edge to a handful of cases.

Each class says whether trying again can help (``can_retry``) and whether the call may have taken effect all the same
(``outcome_unknown``: look before you try again). ``public`` is a sentence for users: never a host, path or secret.
``figures`` are what stands in it, where it is a pattern, so that it can be said in another language. ``detail`` is for the
operator's log alone.
"""

from collections.abc import Mapping


class HypervisorError(Exception):
    """A call to a hypervisor failed."""

    code = "hypervisor_error"
    can_retry = False
    outcome_unknown = False
    default = "The hypervisor refused the request."

    def __init__(self, public: str = "", *, detail: str = "", figures: Mapping[str, str] | None = None) -> None:
        self.pattern = public or self.default
        self.figures = dict(figures or {})
        self.public = self.pattern % self.figures if self.figures else self.pattern
        self.detail = detail
        super().__init__(self.public)


class NotFound(HypervisorError):
    """The object is not there (for a delete: already done)."""

    code = "hypervisor_not_found"
    default = "The hypervisor does not know this object."


class AlreadyExists(HypervisorError):
    """Something with this id or name is there and is not ours."""

    code = "hypervisor_already_exists"
    default = "The hypervisor already has an object of this name."


class RangeTaken(AlreadyExists):
    """A network has part of the range that another was to have. Its name is told: only super-admins make networks."""

    code = "range_overlaps"
    default = "The range overlaps %(range)s of the network %(network)s on this hypervisor. Choose another range."


class RangeOnHost(AlreadyExists):
    """The host has an address within the range that a network was to have."""

    code = "range_on_host"
    default = "The host has an address of its own in this range. Choose another range."


class Busy(HypervisorError):
    """The object is locked by another operation; later may do."""

    code = "hypervisor_busy"
    can_retry = True
    default = "The hypervisor is busy with this object."


class Unavailable(HypervisorError):
    """The hypervisor did not answer: down, unreachable, or the connection broke before the call was sent."""

    code = "hypervisor_unavailable"
    can_retry = True
    default = "The hypervisor does not answer."


class OutcomeUnknown(Unavailable):
    """The call was sent and its answer never came: it may have taken effect."""

    code = "hypervisor_outcome_unknown"
    outcome_unknown = True
    default = "The hypervisor did not answer in time."


class Denied(HypervisorError):
    """The credentials were refused, or lack a right."""

    code = "hypervisor_denied"
    default = "The hypervisor refused our credentials."


class Unsupported(HypervisorError):
    """This kind of hypervisor cannot do it (``Capabilities`` says so beforehand)."""

    code = "hypervisor_unsupported"
    default = "This hypervisor cannot do that."


class TooOld(Unsupported):
    """Its API is older than what we can speak to. ``figures`` are the two versions."""

    code = "hypervisor_too_old"
    default = "The engine's version %(version)s is too old: %(oldest)s is the oldest."


class NoCapacity(HypervisorError):
    """No room: storage full, no memory, no free address."""

    code = "hypervisor_no_capacity"
    default = "The hypervisor has no room left for this."


class DiskGone(HypervisorError):
    """A machine cannot be started, as the file of a disk of it, or one that the disk lies over, is not there."""

    code = "hypervisor_disk_gone"
    default = (
        "A disk of the machine is not on the hypervisor any more, so it cannot run. "
        "Whoever looks after the hypervisor has to bring the disk's file back."
    )


class NetworkGone(HypervisorError):
    """A machine cannot be started, as a network or bridge that it has a card on is stopped, or not there."""

    code = "hypervisor_network_gone"
    default = (
        "A network that the machine has a card on is stopped on the hypervisor, or not there any more, so it cannot run. "
        "Whoever looks after the hypervisor has to bring it back."
    )


class MakingFailed(HypervisorError):
    """A machine whose making was accepted could not be made after all; ``figures["why"]``: the manager's own words."""

    code = "hypervisor_making_failed"
    default = "The machine could not be made. What the hypervisor says of it: %(why)s"


class RemovalFailed(HypervisorError):
    """A disk whose removal was accepted is there still; ``figures["disk"]``: our uid of it, which its name there tells too."""

    code = "hypervisor_removal_failed"
    default = (
        "The disk with %(disk)s in its name could not be removed: its hypervisor gave up on it half-way. Delete the machine "
        "again; if that ends so too, ask an administrator to look at the disk."
    )


class DisplayRefused(HypervisorError):
    """Where a display is said to listen, the portal does not go (``displays``). ``detail`` has the address."""


class DisplayPort(DisplayRefused):
    """A display is said to listen on a port that none has."""

    code = "display_port"
    default = (
        "The hypervisor names a port for this machine's screen that screens do not have, so it is not opened. "
        "Ask an administrator to look at the machine's definition there."
    )


class DisplayElsewhere(DisplayRefused):
    """A display is said to listen where no host of its provider is."""

    code = "display_elsewhere"
    default = (
        "The hypervisor names an address for this machine's screen that none of its hosts is known by, so it is not "
        "opened. Ask an administrator to compare it with the hosts of the provider."
    )


class DisplayNotThere(DisplayRefused):
    """The name that is said to be a display's host's leads to no address from here."""

    code = "display_unnamed"
    default = (
        "The hypervisor tells the host of this machine's screen by a name that leads nowhere from here. "
        "Ask an administrator to let the portal look it up."
    )


class DisplayOutside(DisplayRefused):
    """A display listens on an address of its own, which the portal's way to the host does not lead to."""

    code = "display_outside"
    default = (
        "This machine's screen does not listen on its host's loopback, the only place where it is opened from here. "
        "Ask an administrator to set its display to listen on 127.0.0.1."
    )


class Invalid(HypervisorError):
    """The hypervisor rejected what we asked for as malformed (our bug, or a version too old)."""

    code = "hypervisor_invalid"
    default = "The hypervisor rejected the request as invalid."
