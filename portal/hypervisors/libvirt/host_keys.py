"""The key that an SSH server proves itself by: asked for without a log-in, and shown as its fingerprint."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import subprocess

from portal.hypervisors.libvirt.uri import Uri

SECONDS = 5
HOST_KEY = re.compile(r"(ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|ssh-rsa) ([A-Za-z0-9+/]{40,4000}={0,2})")
PREFERRED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


def is_host_key(text: str) -> bool:
    """Whether it is a public key as ``known_hosts`` has it: its type and its base64."""
    return fingerprint(text) != ""


def fingerprint(key: str) -> str:
    """As ``ssh-keygen -l`` shows it; empty for what is no key."""
    found = HOST_KEY.fullmatch(key)
    if found is None:
        return ""
    try:
        raw = base64.b64decode(found[2], validate=True)
    except binascii.Error:
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")


def host_keys(uri: Uri) -> tuple[str, ...]:
    """The keys that the server at this address shows, the one to pin first; none when it does not answer as SSH does."""
    command = ["ssh-keyscan", "-T", str(SECONDS), "-p", str(uri.port), "-t", "ed25519,ecdsa,rsa", "--", uri.host]
    try:
        # Among the keys stands what the server greets with, which may be any bytes.
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=2 * SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    shown = (line.partition(" ")[2].strip() for line in done.stdout.splitlines() if not line.startswith("#"))
    return tuple(sorted(filter(is_host_key, shown), key=lambda key: PREFERRED.index(key.split()[0])))
