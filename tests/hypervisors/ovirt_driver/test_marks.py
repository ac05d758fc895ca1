"""The mark in a comment and the alias of a disk."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from portal.hypervisors.ovirt import marks
from portal.hypervisors.ovirt.marks import Mark
from portal.hypervisors.specs import Marker
from tests.hypervisors.ovirt_driver.replay import PORTAL
from tests.hypervisors.ovirt_driver.samples import ID

pytestmark = pytest.mark.once
UID = UUID("9a5c0b1e-7d42-4f7b-8b1f-2d6e3c4f5a60")
OURS = Mark(Marker(PORTAL, UID))
COMMENTS = ["", " ", "of the web team", "  spaces  ", "line\nline", "ends with stegi-", f"stegi-{UID.hex}", "καλημέρα"]


@pytest.mark.parametrize("comment", COMMENTS)
def test_a_mark_is_put_on_and_taken_off_and_nothing_else_of_the_comment_changes(comment: str) -> None:
    for mark in (OURS, Mark(OURS.marker, marks.pin_of(str(ID)))):
        marked = marks.with_mark(comment, mark)
        assert list(marks.marks(marked)) == [mark]
        assert marks.with_mark(marked, mark) == marked, "again is the same"
        assert marks.without_mark(marked, mark) == comment


def test_saying_which_machine_it_is_on_takes_the_place_of_the_mark() -> None:
    pinned = Mark(OURS.marker, marks.pin_of(str(ID)))
    assert marks.with_mark(f"before {OURS.text} after", pinned) == f"before {pinned.text} after"


def test_whose_a_copied_mark_is_is_told_by_the_machine_or_by_its_name() -> None:
    name = f"web-1-{UID.hex[:8]}"
    pinned = Mark(OURS.marker, marks.pin_of(str(ID)))
    assert marks.is_put_on(OURS, external_id=str(ID), name=name)
    assert not marks.is_put_on(OURS, external_id=str(ID), name="web-1-copy")
    assert marks.is_put_on(pinned, external_id=str(ID), name="renamed by hand")
    assert not marks.is_put_on(pinned, external_id=str(uuid4()), name=name)


@pytest.mark.parametrize("text", ["", "stegi-", f"x{OURS.text}", f"{OURS.text}x", OURS.text.upper(), f"{OURS.text}-12"])
def test_what_is_no_mark_is_none(text: str) -> None:
    assert list(marks.marks(text)) == []
    assert list(marks.marks(None)) == []


def test_a_disk_of_ours_is_known_by_its_whole_alias() -> None:
    alias = marks.alias(PORTAL, UID)
    assert marks.alias_uid(PORTAL, alias) == UID
    assert alias.startswith(marks.alias_prefix(PORTAL))
    for other in (f"{alias}1", f" {alias}", alias.replace(PORTAL.hex[:8], "0" * 8), "", None):
        assert marks.alias_uid(PORTAL, other) is None
    assert marks.image_id(UID) != marks.image_id(UUID(int=1))


def test_a_correlation_id_fits_the_engine() -> None:
    assert len(marks.correlation("undo_create_vm_and_more", UID)["Correlation-Id"]) == 50
    assert marks.correlation("create_vm", UID) == {"Correlation-Id": f"create_vm-{UID.hex}"}
