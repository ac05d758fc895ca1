"""Ranges of networks: which overlap, whatever their version."""

from __future__ import annotations

import pytest

from network.rules import Held, network_reasons, overlaps


@pytest.mark.parametrize(
    ("one", "other", "do"),
    [
        ("10.99.0.0/24", "10.99.0.128/25", True),
        ("10.99.0.0/24", "10.99.1.0/24", False),
        ("10.99.0.0/24", "10.0.0.0/8", True),
        ("10.99.0.0/24", "fd00::/8", False),
        ("10.99.0.0/24", "10.99.0.7/32", True),
    ],
)
def test_ranges_that_have_an_address_in_common_overlap(one: str, other: str, do: bool) -> None:
    assert overlaps(one, other) is overlaps(other, one) is do


def test_every_network_in_the_way_is_named() -> None:
    held = [Held("a", "10.99.0.0/25"), Held("b", "10.99.0.128/25"), Held("c", "10.99.1.0/24"), Held("d", "fd00::/8")]
    assert [reason.data["network"] for reason in network_reasons("lab", "10.99.0.0/24", held)] == ["a", "b"]
