"""Names of images and templates made from those of files, which may be in any script; names here are in Latin letters."""

from __future__ import annotations

import re
import unicodedata

_PAIRS = {"ου": "ou", "Ου": "Ou", "ΟΥ": "OU"}
_LETTERS = dict(zip("αβγδεζηικλμνξοπρσςτυφω", "avgdeziiklmnxoprsstyfo", strict=True)) | {
    "θ": "th",
    "χ": "ch",
    "ψ": "ps",
}
# Greek letters as road signs and passports write them (ISO 843), but for the few that their neighbours change.
LATIN = _PAIRS | _LETTERS | {letter.upper(): latin.capitalize() for letter, latin in _LETTERS.items() if letter != "ς"}
_GREEK = re.compile("|".join(LATIN))


def title_of(file_name: str) -> str:
    """A name for an image, made from its file's: Greek in Latin letters, accents left out, what else cannot be as ``_``."""
    bare = "".join(each for each in unicodedata.normalize("NFD", file_name) if not unicodedata.combining(each))
    latin = _GREEK.sub(lambda found: LATIN[found.group()], bare)
    return re.sub(r"[^A-Za-z0-9_.+ -]", "_", latin)[:64].strip() or "image"
