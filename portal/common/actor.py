"""Who asks, and by which door. Below the doors nobody sees a request, only an Actor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser


class Door(StrEnum):
    """By which way an act came in."""

    PAGE = "page"
    API = "api"
    JOB = "job"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class NamedUser:
    """Stands for a user of whom only the uid and the name are at hand (a job's row): enough to audit.

    It grants nothing: whoever authorizes must load the user anew, who may be gone or disabled by now.
    """

    pk: UUID
    username: str

    def get_username(self) -> str:
        """The name at the time of the request."""
        return self.username


@dataclass(frozen=True, slots=True)
class Bounds:
    """To what a token keeps whoever acts by it: these permits; these objects and what is in them. None: no such bound."""

    permits: frozenset[str] | None = None
    objects: frozenset[UUID] | None = None

    def __bool__(self) -> bool:
        return self.permits is not None or self.objects is not None


@dataclass(frozen=True, slots=True)
class Actor:
    """A user (or, for ``system_actor``, the portal itself) acting through a door.

    ``session_key`` and ``token_uid`` say by which log-in; a console ticket is bound to it. ``scope`` is "read" for a
    token that may only read; ``bounds`` are the token's too, and what they mean is said in ``tenants.bounds`` alone.
    """

    user: Any  # the user model; typed loosely because the floor knows no app
    door: Door
    request_id: str = ""
    client_address: str = ""
    session_key: str = ""
    token_uid: UUID | None = None
    scope: str = "write"
    bounds: Bounds = Bounds()
    real_user: Any = None  # who really sits there and looks at the portal as ``user`` does; he changes nothing

    @property
    def answerable(self) -> Any:
        """Whom the audit log names: who really sits there."""
        return self.real_user or self.user

    @property
    def uid(self) -> UUID | None:
        """The user's uid; None for the portal itself."""
        return None if self.user is None else self.user.pk

    @property
    def name(self) -> str:
        """The name for the audit log."""
        return "portal" if self.user is None else self.user.get_username()

    @property
    def is_system(self) -> bool:
        """Whether the portal itself acts (sync, sweep, set-up commands): the policy lets it do everything."""
        return self.user is None


def system_actor(door: Door = Door.COMMAND) -> Actor:
    """The portal itself."""
    return Actor(user=None, door=door, request_id=uuid4().hex)


def command_actor(user: AbstractBaseUser | None = None) -> Actor:
    """A management command, on behalf of a user or of the portal itself."""
    return Actor(user=user, door=Door.COMMAND, request_id=uuid4().hex)
