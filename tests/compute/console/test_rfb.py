"""The RFB handshakes as pure code: what is chosen, what is answered, what is refused."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute import rfb
from compute.console_relay import HANDSHAKE_LIMIT, _ClientHandshake
from portal.hypervisors.specs import ConsoleTarget

PLAIN = ConsoleTarget(protocol="vnc", host="127.0.0.1", port=5900, allow_plain=True)
LOCKED = replace(PLAIN, password="sesame")
SECURED = replace(PLAIN, tls_ca_pem="a CA", password="sesame")


@pytest.mark.parametrize(
    ("offered", "target", "outcome"),
    [
        ({1}, PLAIN, 1),
        ({2}, LOCKED, 2),
        ({1, 2}, LOCKED, 2),
        ({1, 2, 16, 30}, PLAIN, 1),
        ({1}, LOCKED, "security"),  # the port may be another machine's by now
        ({2}, PLAIN, "empty_password"),
        ({16}, LOCKED, "security"),
        ({19}, LOCKED, "security"),  # TLS wanted and no CA to check it by
        ({1, 2, 19}, SECURED, 19),
        ({1, 2}, SECURED, "security"),  # a downgrade
        ({1}, replace(PLAIN, allow_plain=False), "plain_refused"),
        ({19}, replace(PLAIN, allow_plain=False), "plain_refused"),
        ({19}, replace(SECURED, allow_plain=False), 19),
    ],
)
def test_the_way_in_is_the_strongest_the_target_allows_or_none(offered, target, outcome):
    if isinstance(outcome, int):
        assert rfb.choose(frozenset(offered), target) == outcome
        return
    with pytest.raises(rfb.RfbError) as refused:
        rfb.choose(frozenset(offered), target)
    assert refused.value.code == outcome


def test_the_answer_to_a_challenge_is_des_with_reversed_key_bits():
    # Made with: openssl enc -des-ecb -nopad -provider legacy -K <the password's bytes, the bits of each reversed>
    assert rfb.answer(b"\0" * 16, "sesame") == bytes.fromhex("6aee260df25aafcc" * 2)


def test_only_the_first_eight_bytes_of_a_password_count():
    assert rfb.answer(b"c" * 16, "kanarini") == rfb.answer(b"c" * 16, "kanarinia")


@pytest.mark.parametrize("password", ["", "\0", "\0\0\0\0\0\0\0\0sesame"])
def test_an_empty_password_is_never_an_answer(password):
    with pytest.raises(rfb.RfbError, match="empty_password"):
        rfb.answer(b"c" * 16, password)


def test_the_password_is_in_no_error_and_no_repr():
    steps = rfb.enter(LOCKED)
    next(steps)
    steps.send(b"RFB 003.008\n")
    next(steps)
    steps.send(b"\x01")
    with pytest.raises(rfb.RfbError) as refused:
        steps.send(b"\x01")
    assert "sesame" not in str(refused.value) + repr(refused.value) + repr(LOCKED)


def test_a_reason_is_read_up_to_its_limit_and_made_printable():
    steps = rfb.enter(PLAIN)
    next(steps)
    steps.send(b"RFB 003.008\n")
    next(steps)
    steps.send(b"\0")
    wanted = steps.send(struct.pack(">I", 2**32 - 1))
    assert wanted == rfb.Read(rfb.REASON_LIMIT)
    with pytest.raises(rfb.RfbError) as refused:
        steps.send(b"\x1b[31m\r\n<b>\xff" + b"x" * (rfb.REASON_LIMIT - 11))
    assert refused.value.detail.startswith("?[31m??<b>?x")


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=12))
def test_a_client_of_any_bytes_in_any_pieces_is_admitted_or_refused_within_bounds(data, cuts):
    client = _ClientHandshake()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    sent = client.feed(b"")
    with suppress(rfb.RfbError):
        for start, end in pairwise(edges):
            if client.done:
                break
            sent += client.feed(data[start:end])
    assert sent in (
        b"RFB 003.008\n",
        b"RFB 003.008\n\x01\x01",
        b"RFB 003.008\n\x01\x01\0\0\0\0",
        b"RFB 003.008\n\0\0\0\x01",
    )
    assert len(client.rest()) <= HANDSHAKE_LIMIT


@pytest.mark.parametrize(
    ("pieces", "answers", "rest"),
    [
        ([b"RFB 003.008\n", b"\x01"], b"\x01\x01\0\0\0\0", b""),
        ([b"RFB 003.007\n", b"\x01"], b"\x01\x01", b""),
        ([b"RFB 003.007\n", b"\x01\x01"], b"\x01\x01", b"\x01"),
        ([b"RFB 003.003\n"], b"\0\0\0\x01", b""),
        ([b"RFB 003.005\n"], b"\0\0\0\x01", b""),
        ([b"RFB 003.003\n\x01"], b"\0\0\0\x01", b"\x01"),
        ([bytes([byte]) for byte in b"RFB 003.008\n\x01"], b"\x01\x01\0\0\0\0", b""),
    ],
)
def test_each_version_of_client_gets_what_it_expects(pieces, answers, rest):
    client = _ClientHandshake()
    assert client.feed(b"") == b"RFB 003.008\n"
    assert b"".join(client.feed(piece) for piece in pieces) == answers
    assert client.done
    assert client.rest() == rest
