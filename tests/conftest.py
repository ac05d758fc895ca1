"""Shared by all tests."""

from __future__ import annotations

import pytest

HEAVY = {"postgres", "redis", "libvirt", "browser", "whole"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything that needs no outside part is quick."""
    for item in items:
        if not HEAVY & {mark.name for mark in item.iter_markers()}:
            item.add_marker(pytest.mark.quick)
