"""One machine: what ``bin/up`` starts. Secrets come from its data folder."""

from portal.settings.base import *  # noqa: F403
from portal.settings.base import SECRET_KEY

if not SECRET_KEY:
    # Only for commands that need no secret (collecting messages, checks); a server always gets a generated one.
    SECRET_KEY = "not-a-secret-no-server-runs-with-this"
