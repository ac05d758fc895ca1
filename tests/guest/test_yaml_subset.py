"""The guest reads the YAML that a library writes: whatever the values, exactly the intended ones come out."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.guest.conftest import REPOSITORY

pytestmark = pytest.mark.libvirt
READER = REPOSITORY / "deploy/tiny-linux/root/lib/tiny/yaml.awk"
CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")

WORDS = (
    *(
        "",
        "alice",
        "a: b",
        "- a",
        "#cloud-config",
        "a #b",
        "{% x %}",
        "!!python/object:x",
        "*id001",
        "&id001 x",
        "'",
        '"',
    ),
    *("'a'", '"a"', "\\", "a\\", "|", ">", "[a]", "{a: b}", "? a", "null", "~", "true", "0x10", "---", "...", "%YAML"),
    *("users:\n- name: root", "x\nroot:", "ssh-ed25519 " + "A" * 68 + " alice at work", "γεια σου " * 12, "a  b " * 30),
    *('"' * 90, "' " * 60, "\\ " * 60, "$(id)", "`id`", "a\tb", "\N{NO-BREAK SPACE}", "\x85", "\u2028", "\U0001f600"),
)
TEXT = st.sampled_from(WORDS) | st.text(max_size=120) | st.text(st.sampled_from("ab \n'\"\\:#-"), max_size=200)
SCALARS = TEXT | st.none() | st.booleans() | st.integers(-9, 9)
KEYS = st.sampled_from(
    ["users", "name", "ssh_authorized_keys", "hostname", "0", "a: b", "x y", "users/0/name", "-", "'", "#"]
)
DOCUMENTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
    ),
    max_size=5,
)


@pytest.fixture(scope="module")
def busybox(unpacked: Path) -> Path:
    return unpacked / "bin/busybox"


def flattened(busybox: Path, text: str) -> list[str]:
    """What the guest makes of a YAML text."""
    command: list[str | Path] = [busybox, "awk", "-f", READER]
    done = subprocess.run(
        command, input=text.encode(), capture_output=True, timeout=10, check=True, env={"LC_ALL": "C"}
    )
    assert done.stderr == b""
    return done.stdout.decode().split("\n")[:-1]


def intended(content: Any, where: str = "") -> Iterator[str]:
    """The records that a document stands for: none for nothing, and none for a value with a control character."""
    if isinstance(content, dict):
        for key, inner in content.items():
            name = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else "?"
            yield from intended(inner, f"{where}/{name}" if where else name)
    elif isinstance(content, list):
        for number, inner in enumerate(content):
            yield from intended(inner, f"{where}/{number}" if where else str(number))
    elif content is not None:
        text = str(content).lower() if isinstance(content, bool) else str(content)
        if not CONTROL.search(text):
            yield f"{where}\t{text}"


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(content=DOCUMENTS, unicode=st.booleans(), width=st.sampled_from([20, 80, 10_000]))
def test_whatever_the_values_the_intended_ones_come_out(
    busybox: Path, content: dict[str, Any], unicode: bool, width: int
) -> None:
    text = yaml.safe_dump(content, default_flow_style=False, allow_unicode=unicode, width=width)
    assert sorted(flattened(busybox, text)) == sorted(intended(content)), text


def test_shared_lists_are_aliases_and_come_out_twice(busybox: Path) -> None:
    keys = ["one", "two"]
    content = {"a": keys, "b": {"c": keys, "d": [{"e": keys}]}}
    text = yaml.safe_dump(content, default_flow_style=False)
    assert "*id001" in text
    assert sorted(flattened(busybox, text)) == sorted(intended(content))


def test_aliases_of_aliases_do_not_grow_without_bound(busybox: Path) -> None:
    text = "a: &a\n- x\n- x\n" + "".join(
        f"{new}: &{new}\n" + f"- *{old}\n" * 10 for old, new in zip("abcdefg", "bcdefgh", strict=True)
    )
    assert len(flattened(busybox, text)) <= 5000


@pytest.mark.parametrize(
    "text",
    [
        "bootcmd: |\n  users:\n  - name: eve\nhostname: good\n",
        "bootcmd: >-\n\n  hostname: evil\n\nhostname: good\n",
        "write_files: [{path: /x,\n   hostname: evil}]\nhostname: good\n",
        "x: {hostname: evil}\nhostname: good\n",
        "x: !!binary |\n  aG9zdG5hbWU6IGV2aWw=\nhostname: good\n",
        "# a comment\n---\nhostname: good # another\n...\nhostname: evil\n",
        "x:\n  hostname: evil\nhostname: 'good'\n",
        "hostname: good\r\n",
    ],
)
def test_forms_outside_the_subset_are_passed_over(busybox: Path, text: str) -> None:
    found = flattened(busybox, text)
    assert [line for line in found if line.startswith(("hostname", "users"))] == ["hostname\tgood"]


@pytest.mark.parametrize(
    "text", ["", "\n", "- \n- -\n", "a", "'", '"\\', "a: '", ":", "- - - a", "\tx: y", "a:\n b\nc", "*x"]
)
def test_nonsense_ends(busybox: Path, text: str) -> None:
    flattened(busybox, text)
