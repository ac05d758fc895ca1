"""Greek and English are equals: every sentence of the interface has its Greek, and the pages show it."""

from __future__ import annotations

import re
from pathlib import Path

import polib
from django.conf import settings

CATALOGUE = Path(settings.BASE_DIR) / "portal" / "locale" / "el" / "LC_MESSAGES" / "django.po"
PLACEHOLDER = re.compile(r"%\([a-z_]+\)[sd]")


def test_nothing_is_untranslated_or_unsure():
    catalogue = polib.pofile(str(CATALOGUE))
    assert len(catalogue) > 300
    assert [entry.msgid for entry in catalogue if not entry.translated() or entry.fuzzy] == []


def test_figures_and_names_reach_the_greek_sentences_too():
    for entry in polib.pofile(str(CATALOGUE)):
        told = entry.msgstr or entry.msgstr_plural[1]
        asked = entry.msgid_plural or entry.msgid
        assert sorted(PLACEHOLDER.findall(told)) == sorted(PLACEHOLDER.findall(asked)), entry.msgid


def test_every_literal_sentence_of_the_templates_is_in_the_catalogue():
    known = {entry.msgid for entry in polib.pofile(str(CATALOGUE))}
    folder = Path(settings.BASE_DIR) / "templates"
    used = [
        sentence
        for path in folder.rglob("*.html")
        for _quote, sentence in re.findall(r"{% translate ([\"'])(.*?)\1 %}", path.read_text())
    ]
    assert [sentence for sentence in used if sentence not in known] == []
