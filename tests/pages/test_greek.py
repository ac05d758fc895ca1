"""Greek and English are equals: every sentence of the interface has its Greek, and the pages show it."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

import libvirt
import polib
import pytest
from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils.formats import date_format
from django.utils.translation import gettext, override
from rest_framework import fields

from compute.choices import (
    ABSENT,
    CONSOLE_ENDINGS,
    HOST_STATUSES,
    IMAGE_REFUSALS,
    VM_DETAILS,
    StorageStatus,
    VmStatusChoice,
    detail_words,
)
from portal.common.phrases import kept, said
from portal.common.templatetags.frame import EVENT_TITLES
from portal.events.codes import Outcome, code_for
from portal.hypervisors.errors import HypervisorError
from portal.hypervisors.libvirt import statuses
from portal.hypervisors.models import ProviderStatus
from portal.jobs.failure import SENTENCES
from tenants.models.user import KeptOut
from tenants.quota_words import REMEDIES

CATALOGUE = Path(settings.BASE_DIR) / "portal" / "locale" / "el" / "LC_MESSAGES" / "django.po"
PLACEHOLDER = re.compile(r"%\([a-z_]+\)[sd]")
# Beside each word of the glossary what else such a thing could be called: one word for each, everywhere.
OTHER_WORDS = re.compile(
    r"\bεπ[όο]πτ|συστάδ|συστοιχί|ινστιτούτ|διακριτικ|φυλλομετρητ|πρόγραμμα περιήγησης|μηχαν\w+ διαχείρισης|μεταναστ"
    r"|χώρ\w+ αποθήκευσης|\bάδει(?:α|ες)\b|εύρος διευθύνσεων|φιλοξενούμενου",
    re.IGNORECASE,
)


def test_nothing_is_untranslated_or_unsure():
    catalogue = polib.pofile(str(CATALOGUE))
    assert len(catalogue) > 300
    assert [entry.msgid for entry in catalogue if not entry.translated() or entry.fuzzy] == []


def test_figures_and_names_reach_the_greek_sentences_too():
    for entry in polib.pofile(str(CATALOGUE)):
        told = entry.msgstr or entry.msgstr_plural[1]
        asked = entry.msgid_plural or entry.msgid
        assert sorted(PLACEHOLDER.findall(told)) == sorted(PLACEHOLDER.findall(asked)), entry.msgid


def told_in_greek() -> list[str]:
    return [told for entry in polib.pofile(str(CATALOGUE)) for told in (entry.msgstr, *entry.msgstr_plural.values())]


def test_each_thing_has_one_greek_word():
    assert [told for told in told_in_greek() if OTHER_WORDS.search(told)] == []


def test_a_status_stands_apart_for_it_may_be_a_verb():
    assert [told for told in told_in_greek() if re.search(r"είναι %\(status\)s", told)] == []


def test_what_is_disabled_or_unknown_agrees_with_what_it_is_said_of():
    with override("el"):
        assert str(KeptOut.DISABLED.label) == "ανενεργός"
        assert {str(kind.label) for kind in (ProviderStatus.UNKNOWN, StorageStatus.UNKNOWN)} == {"άγνωστος"}
        assert str(HOST_STATUSES["unknown"]) == "άγνωστος"
        assert str(VmStatusChoice.UNKNOWN.label) == "άγνωστη"
        center = {"enabled": False}
        assert "ανενεργό<" in render_to_string("compute/partials/_data_center_state.html", {"data_center": center})
        for state, name in (
            ("compute/partials/_provider_state", "provider"),
            ("tenants/partials/_directory_state", "directory"),
        ):
            assert "ανενεργός" in render_to_string(f"{state}.html", {name: center})


def test_days_come_before_months_in_both_and_times_have_24_hours():
    for language, told in (("en", "4 Mar 2026, 17:05"), ("el", "4/3/2026, 17:05")):
        with override(language):
            assert date_format(datetime(2026, 3, 4, 17, 5, tzinfo=UTC), "SHORT_DATETIME_FORMAT") == told


def test_every_literal_sentence_of_the_templates_is_in_the_catalogue():
    known = {entry.msgid for entry in polib.pofile(str(CATALOGUE))}
    folder = Path(settings.BASE_DIR) / "templates"
    used = [
        sentence
        for path in folder.rglob("*.html")
        for _quote, sentence in re.findall(r"{% translate ([\"'])(.*?)\1(?: context [^%]*)? %}", path.read_text())
    ]
    assert [sentence for sentence in used if sentence not in known] == []


def driver_errors(kind: type[HypervisorError] = HypervisorError) -> list[type[HypervisorError]]:
    """Every kind of error of a driver."""
    return [kind, *(one for child in kind.__subclasses__() for one in driver_errors(child))]


def test_sentences_that_wait_in_rows_have_their_greek():
    known = {entry.msgid for entry in polib.pofile(str(CATALOGUE))}
    kept_in_rows = [
        *(error.default for error in driver_errors()),
        *(kept(sentence) for sentence in CONSOLE_ENDINGS.values()),
        *(kept(sentence) for sentence in IMAGE_REFUSALS.values()),
        *(kept(sentence) for sentence in SENTENCES.values()),
        *(kept(sentence) for sentence in (*VM_DETAILS.values(), *REMEDIES.values()) if sentence),
    ]
    assert [sentence for sentence in kept_in_rows if sentence not in known] == []


def test_every_code_that_a_driver_tells_beside_a_status_has_words_and_none_is_shown_as_it_is():
    named = {name: value for name, value in vars(libvirt).items() if name.startswith("VIR_DOMAIN_")}
    reasons = [
        (state, reason)
        for state, kind in ((libvirt.VIR_DOMAIN_PAUSED, "PAUSED"), (libvirt.VIR_DOMAIN_SHUTOFF, "SHUTOFF"))
        for name, reason in named.items()
        if name.startswith(f"VIR_DOMAIN_{kind}_")
    ]
    of_libvirt = {statuses.status(*each)[1] for each in reasons} - {""} | {statuses.NO_SPACE}
    of_engines = {"eother", "eio", "enospc", "eperm", "postcopy"}  # its VmPauseStatus, but for those that say nothing
    assert of_libvirt | of_engines == set(VM_DETAILS)
    assert [text for code, text in VM_DETAILS.items() if text == code or "_" in str(text)] == []
    assert [detail_words(told) for told in ("shut_down", "crashed", "not_heard_of", ABSENT)] == [
        "",
        "it crashed",
        "",
        ABSENT,
    ]
    with override("el"):
        assert detail_words("crashed") == "κατέρρευσε"


def test_every_event_of_a_machine_has_a_title():
    verbs = ("VM_CREATE", "VM_DELETE", "VM_RUN", "VM_STOP", "VM_SHUT_DOWN", "VM_REBOOT", "VM_CONNECT")
    codes = {code_for(verb, outcome) for verb in verbs for outcome in Outcome if outcome is not Outcome.NOTED}
    assert sorted(code for code in codes | {"VM_DISCONNECTED", "JOB_STUCK"} if code not in EVENT_TITLES) == []


def test_kept_sentence_is_said_in_the_readers_language():
    with override("el"):
        row = kept(CONSOLE_ENDINGS["client_left"])
        assert row == "The window was closed."
        assert said(row) == "Το παράθυρο έκλεισε."
        assert said("never heard of") == "never heard of"
        assert said("") == ""


def sentences(path: Path, *, said_by: Collection[str] = ("_", "gettext")) -> Iterator[str]:
    """What a module hands to gettext, or to others that are called with a sentence first."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in said_by:
            yield from (one.value for one in node.args[:1] if isinstance(one, ast.Constant))


def test_every_literal_sentence_of_the_code_is_in_the_catalogue():
    known = {entry.msgid for entry in polib.pofile(str(CATALOGUE))}
    code = [
        path
        for app in ("portal", "tenants", "network", "compute")
        for path in (Path(settings.BASE_DIR) / app).rglob("*.py")
    ]
    used = [sentence for path in code for sentence in sentences(path)]
    assert len(used) > 200
    assert [sentence for sentence in used if sentence not in known] == []


def test_every_sentence_of_a_driver_is_in_the_catalogue():
    """A driver knows no gettext: its sentences are translated where they are shown."""
    known = {entry.msgid for entry in polib.pofile(str(CATALOGUE))}
    errors = {error.__name__ for error in driver_errors()}
    folder = Path(settings.BASE_DIR) / "portal" / "hypervisors"
    used = [sentence for path in folder.rglob("*.py") for sentence in sentences(path, said_by=errors)]
    assert len(used) > 10
    assert [sentence for sentence in used if sentence not in known] == []


def test_what_libraries_say_to_people_is_greek_too():
    """Their own catalogues lag behind their sentences: what ours may show of them is in ours."""
    said_to_people = [
        *(str(text) for kind in (fields.BooleanField, fields.CharField, fields.UUIDField, fields.IntegerField, fields.ListField)
          for text in kind.default_error_messages.values()),
        *(str(text) for kind in (forms.CharField, forms.IntegerField, forms.ChoiceField, forms.DateField, forms.FileField)
          for text in kind.default_error_messages.values()),
    ]  # fmt: skip
    with override("el"):
        assert [text for text in said_to_people if text and gettext(text) == text] == []
        assert weak_reasons("short") == ["Αυτός ο κωδικός είναι πολύ μικρός. Χρειάζεται τουλάχιστον 12 χαρακτήρες."]
        assert [text for text in weak_reasons("password1234") if text.isascii()] == []


def weak_reasons(password: str) -> list[str]:
    """Why it is refused, in the language of now."""
    with pytest.raises(ValidationError) as refused:
        validate_password(password)
    return list(refused.value.messages)
