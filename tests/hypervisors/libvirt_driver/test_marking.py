"""Taking the mark off: a definition is only replaced by one that says the same without the empty element."""

from __future__ import annotations

import re
from uuid import UUID

import libvirt
import pytest

from portal.hypervisors.libvirt.marking import drop_holder, put_mark, take_mark
from portal.hypervisors.libvirt.xml import MARK_PREFIX, NAMESPACE
from portal.hypervisors.specs import Marker

pytestmark = pytest.mark.once

BARE = "<domain type='qemu'>\n  <name>web</name>\n  <description>\n  <metadata></description>\n</domain>\n"
HELD = BARE.replace("  <name>", "  <metadata/>\n  <name>")


class Libvirt:
    """One machine: what each look tells of it in turn, then what was defined last; ``reads`` is what it makes of that."""

    def __init__(self, *looks: str, reads: str = "", refuses: bool = False) -> None:
        self.looks, self.reads, self.refuses = list(looks), reads, refuses
        self.defined: list[str] = []

    def isPersistent(self) -> bool:  # noqa: N802 - libvirt's name
        return True

    def UUIDString(self) -> str:  # noqa: N802 - libvirt's name
        return "web"

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802 - libvirt's name
        return self.looks.pop(0) if self.looks else self.reads or self.defined[-1]

    def defineXML(self, text: str) -> Libvirt:  # noqa: N802 - libvirt's name
        if self.refuses:
            raise libvirt.libvirtError("it was made by an older version")
        self.defined.append(text)
        return self


@pytest.mark.parametrize(
    ("there", "defined"),
    [
        (Libvirt(HELD, HELD), [BARE]),
        (Libvirt(BARE, BARE), []),
        (Libvirt(HELD, HELD.replace("web", "shop")), []),
        (Libvirt(HELD, HELD, reads=BARE.replace("qemu", "kvm")), [BARE, HELD]),
        (Libvirt(HELD, HELD, refuses=True), []),
    ],
    ids=["taken away", "there is none", "somebody is at it", "read in another way", "refused"],
)
def test_the_empty_element_goes_and_nothing_else_changes(there: Libvirt, defined: list[str]) -> None:
    drop_holder(there, there)
    assert there.defined == defined


class Marked(Libvirt):
    """One machine that keeps what it is told, as libvirt does: a holder once made stays, empty too."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.defined = [text]

    def isActive(self) -> bool:  # noqa: N802 - libvirt's name
        return False

    def setMetadata(self, _kind: int, text: str | None, prefix: str, space: str, _flags: int) -> None:  # noqa: N802
        assert (prefix, space) == (MARK_PREFIX, NAMESPACE)
        held = (
            f"  <metadata>{text.replace('<object', f'<{prefix}:object xmlns:{prefix}={space!r}')}</metadata>\n"
            if text
            else "  <metadata/>\n"
        )
        bare = re.sub("  <metadata.*\n(?=  <name)", "", self.defined[-1])
        self.defined.append(bare.replace("  <name>", f"{held}  <name>"))


@pytest.mark.parametrize(
    "before", [BARE.replace("<metadata>", "&lt;metadata/>"), HELD.replace("  <metadata></", "  </")]
)
def test_marked_and_unmarked_it_is_as_it_was_with_an_empty_element_of_its_own_too(before: str) -> None:
    there = Marked(before)
    put_mark(there, Marker(UUID(int=1), UUID(int=2)))
    assert NAMESPACE in there.defined[-1]
    take_mark(there, there)
    assert there.defined[-1] == before
