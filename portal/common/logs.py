"""Log lines: one JSON object each, so that no value can forge a line; and of an exception its kind and place, no values.

What a library says of its failure quotes what it was given: a command line, a row, a password. So the messages of
exceptions are left out wherever they would come in: traces, arguments, and sentences made from them.
"""

from __future__ import annotations

import json
import logging
import logging.config
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from traceback import walk_tb
from types import TracebackType
from typing import Any

LONGEST_MESSAGE = 4000
SHORTEST_QUOTE = 4  # a shorter text is no secret, and would be found everywhere
CODES = ("code", "errno", "sqlstate", "sqlite_errorname", "returncode")
CODE = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def configure(config: dict[str, Any]) -> None:
    """Set up logging, also for what ends a thread: Python itself would print that with its values."""
    logging.config.dictConfig(config)
    threading.excepthook = _log_end_of_thread


def _log_end_of_thread(end: threading.ExceptHookArgs) -> None:
    if end.exc_value is not None:
        name = end.thread.name if end.thread else "?"
        logging.getLogger(__name__).error("thread %s ended by an exception", name, exc_info=end.exc_value)


class JsonFormatter(logging.Formatter):
    """One line of JSON; control characters and line ends are escaped by the encoding."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record)[:LONGEST_MESSAGE],
        }
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line["trace"] = trace_of(error)
        return json.dumps(line)


def name_of(error: BaseException) -> str:
    """The kind of an exception, and those of its facts that are codes: never a value."""
    found = (str(getattr(error, name, "")) for name in CODES)
    codes = [code for code in found if code not in {"", "None"} and CODE.fullmatch(code)]
    return " ".join([type(error).__qualname__, *codes])


def trace_of(error: BaseException) -> str:
    """Where an exception came from, what caused it first."""
    return "\n".join(line for link in reversed(list(_chain(error))) for line in _lines(link))


def _lines(error: BaseException) -> Iterator[str]:
    yield from _places(error.__traceback__)
    yield name_of(error)


def _places(trace: TracebackType | None) -> Iterator[str]:
    for frame, line in walk_tb(trace):
        yield f"  {frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _message(record: logging.LogRecord) -> str:
    try:
        text = str(_plain(record.msg)) % _arguments(record.args) if record.args else str(_plain(record.msg))
    except (TypeError, ValueError, KeyError):
        return f"a line that cannot be formatted: {record.msg!r}"
    for error in _chain(record.exc_info[1]) if record.exc_info and record.exc_info[1] else ():
        for quote in (repr(error), str(error)):
            if len(quote) >= SHORTEST_QUOTE:
                text = text.replace(quote, name_of(error))
    return text


def _arguments(given: Any) -> Any:
    return tuple(_plain(one) for one in given) if isinstance(given, tuple) else given


def _plain(value: Any) -> Any:
    return " from ".join(name_of(link) for link in _chain(value)) if isinstance(value, BaseException) else value
