"""Secrets at rest: sealed with rotatable keys, opened only where they are used.

``SEAL_KEYS`` holds one or more Fernet keys, newest first: everything is sealed with the first and opened with any.
Losing them fails closed with a clear message.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class SealBroken(Exception):
    """A sealed value cannot be opened with any of the keys."""


def _fernet() -> MultiFernet:
    keys = settings.SEAL_KEYS
    if not keys:
        raise ImproperlyConfigured("SEAL_KEYS is empty: secrets can be neither sealed nor opened.")
    return MultiFernet([Fernet(key) for key in keys])


def seal(text: str) -> str:
    """Seal a secret for the database."""
    return _fernet().encrypt(text.encode()).decode() if text else ""


def unseal(sealed: str) -> str:
    """Open a sealed secret. Raises ``SealBroken`` when no key fits."""
    if not sealed:
        return ""
    try:
        return _fernet().decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise SealBroken("A sealed value cannot be opened: the key it was sealed with is not in SEAL_KEYS.") from error


def reseal(sealed: str) -> str:
    """The same secret, sealed with the newest key. Raises ``SealBroken`` when no key fits."""
    return seal(unseal(sealed))


def seal_json(value: dict[str, Any]) -> str:
    """Seal a small JSON object."""
    return seal(json.dumps(value, separators=(",", ":")))


def unseal_json(sealed: str) -> dict[str, Any]:
    """Open a sealed JSON object; empty for an empty seal."""
    opened: dict[str, Any] = json.loads(unseal(sealed)) if sealed else {}
    return opened


def keyed_hash(text: str, *, purpose: str) -> str:
    """A keyed hash (HMAC-SHA-256, hex) of a random secret such as a token or ticket, or of a body to compare."""
    return hmac.new(settings.SECRET_KEY.encode(), f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()
