"""Log-ins of browsers: Django's sessions in the database, which keeps a hash of each key instead of the key.

Whoever reads the table (a backup, a query that went astray) cannot log in by it. A plain hash will do: a key is 32 random
characters.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.utils import timezone


def kept(session_key: str) -> str:
    """What the database has for a key: 40 characters, as long as Django's column."""
    return hashlib.blake2b(session_key.encode(), digest_size=20, person=b"session").hexdigest()


def users_logged_in() -> set[str]:
    """The uids of all whom a live session logs in. Reads every live session, for only they know whose they are."""
    live = SessionStore().model.objects.filter(expire_date__gt=timezone.now())
    store = SessionStore()
    told = (store.decode(data).get(SESSION_KEY) for data in live.values_list("session_data", flat=True).iterator())
    return {str(uid) for uid in told if uid}


class SessionStore(db.SessionStore):
    """What cookies carry is ``session_key``; what rows carry is ``kept`` of it. For synchronous code alone, as ours is."""

    def exists(self, session_key: str) -> bool:
        """Whether there is such a session."""
        return bool(self.model.objects.filter(session_key=kept(session_key)).exists())

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        """The row to be saved."""
        row = super().create_model_instance(data)
        row.session_key = kept(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        """End this session, or the one of that key."""
        key = session_key or self.session_key
        if key:
            self.model.objects.filter(session_key=kept(key)).delete()

    def _get_session_from_db(self) -> Any:
        live = self.model.objects.filter(session_key=kept(self.session_key or ""), expire_date__gt=timezone.now())
        row = live.first()
        if row is None:
            self._session_key = None
        return row
