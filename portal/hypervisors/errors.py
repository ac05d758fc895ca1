"""What can go wrong with a hypervisor, mapped at the driver's edge to a handful of cases.

Each class says whether trying again can help (``can_retry``) and whether the call may have taken effect all the same
(``outcome_unknown``: look before you try again). ``public`` is a sentence for users: never a host, path or secret.
``detail`` is for the operator's log alone.
"""


class HypervisorError(Exception):
    """A call to a hypervisor failed."""

    code = "hypervisor_error"
    can_retry = False
    outcome_unknown = False
    default = "The hypervisor refused the request."

    def __init__(self, public: str = "", *, detail: str = "") -> None:
        self.public = public or self.default
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


class NoCapacity(HypervisorError):
    """No room: storage full, no memory, no free address."""

    code = "hypervisor_no_capacity"
    default = "The hypervisor has no room left for this."


class Invalid(HypervisorError):
    """The hypervisor rejected what we asked for as malformed (our bug, or a version too old)."""

    code = "hypervisor_invalid"
    default = "The hypervisor rejected the request as invalid."
