"""Bytes of a screen as they come over a stream: bounded, and given up with its stream when they are too many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal.hypervisors.errors import NoCapacity
from portal.hypervisors.libvirt import screens
from portal.hypervisors.specs import LARGEST_SCREENSHOT


class Stream:
    """What libvirt's stream does, with as many bytes as one likes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.given = 0
        self.ended = ""

    def recv(self, _most: int) -> bytes:
        chunk = next(self._chunks, b"")
        self.given += len(chunk)
        return chunk

    def finish(self) -> None:
        self.ended = "finished"

    def abort(self) -> None:
        self.ended = "aborted"


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(1024 * 1024)


def test_all_bytes_are_received_and_the_stream_finished() -> None:
    stream: Any = Stream(iter([b"P6", b"..."]))
    assert screens._received(stream) == b"P6..."
    assert stream.ended == "finished"


def test_more_than_any_screen_has_is_given_up() -> None:
    stream: Any = Stream(endless())
    with pytest.raises(NoCapacity):
        screens._received(stream)
    assert stream.ended == "aborted"
    assert stream.given <= LARGEST_SCREENSHOT + 1024 * 1024
