"""What stays written when the work around it is undone on purpose: records of refusals in a rehearsal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import transaction

Write = Callable[[dict[str, bool]], object]

_lasting: ContextVar[list[Write] | None] = ContextVar("lasting", default=None)


@contextmanager
def undone() -> Iterator[None]:
    """What happens in the block has not happened after it, but for what is ``outlasting``, which happens then."""
    lasting: list[Write] = []
    token = _lasting.set(lasting)
    try:
        with transaction.atomic():
            yield
            transaction.set_rollback(True)
    finally:
        _lasting.reset(token)
        for write in lasting:
            write({"dry_run": True})


def is_undone() -> bool:
    """Whether what happens now is undone on purpose."""
    return _lasting.get() is not None


def outlasting(write: Write) -> None:
    """Do it at once, or after what is around it was undone. ``write`` gets what a record is to say of that."""
    lasting = _lasting.get()
    if lasting is None:
        write({})
    else:
        lasting.append(write)
