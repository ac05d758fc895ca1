"""A file of any script gives its image a name that can be read."""

from __future__ import annotations

import pytest

from compute.file_names import LATIN, title_of
from compute.rules import title_reasons

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("file_name", "title"),
    [
        ("debian-12 (1).qcow2", "debian-12 _1_.qcow2"),
        ("Εργαστήριο Φυσικής.qcow2", "Ergastirio Fysikis.qcow2"),
        ("ΟΥΜΠΟΥΝΤΟΥ ψηφιακό.raw", "OUMPOUNTOU psifiako.raw"),
        ("Μηχανή του Χρήστου.raw", "Michani tou Christou.raw"),
        ("Übung café.raw", "Ubung cafe.raw"),
        ("日本.raw", "__.raw"),
        ("   ", "image"),
        ("α" * 70, "a" * 64),
    ],
)
def test_greek_is_written_in_latin_letters_and_accents_are_left_out(file_name, title):
    assert title_of(file_name) == title
    assert title_reasons(title) == []


def test_every_greek_letter_has_its_latin_ones():
    letters = "αβγδεζηθικλμνξοπρσςτυφχψωΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ"
    assert [letter for letter in letters if letter not in LATIN] == []
