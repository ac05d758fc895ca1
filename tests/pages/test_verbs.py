"""Every verb that is recorded has words for people."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from portal.common.templatetags.frame import event_title

ROOT = Path(__file__).resolve().parents[2]
RECORDED = re.compile(r"""(?:\b_?attempt\(\s*[\w.()]+,\s*|audit_verb = )"([A-Z][A-Z_]+)\"""")


def recorded() -> set[str]:
    folders = (ROOT / name for name in ("portal", "tenants", "compute", "network"))
    return {verb for folder in folders for path in folder.rglob("*.py") for verb in RECORDED.findall(path.read_text())}


@pytest.mark.once
def test_no_event_is_told_by_its_code():
    found = recorded()
    assert len(found) > 50
    assert [verb for verb in sorted(found) if event_title(f"{verb}_REFUSED") == f"{verb}_REFUSED"] == []
