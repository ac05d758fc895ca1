"""Sentences that wait in a row for their reader: kept in English as the code has them, said in the reader's language."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, override


def kept(sentence: Any) -> str:
    """The sentence (a lazy one, too) as a row keeps it."""
    with override("en"):
        return str(sentence)


def said(text: str) -> str:
    """A kept sentence in the reader's language; as it stands when the catalogue does not know it."""
    return gettext(text) if text else ""
