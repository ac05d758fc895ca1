"""What goes without encryption is for the installation to allow, for as long as its settings do, and for nobody else."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings

# The options of a connection that allow it, and the setting that each is.
SETTINGS = {"plain_tcp": "ALLOW_PLAIN_TCP", "plain_vnc": "ALLOW_PLAIN_VNC"}


def own_options(options: Mapping[str, str]) -> dict[str, str]:
    """A provider's own options, which its row keeps: without what the installation allows."""
    return {str(name): str(value) for name, value in options.items() if name not in SETTINGS}


def with_allowed(options: Mapping[str, str]) -> dict[str, str]:
    """A provider's own options with what the installation allows now."""
    allowed = {name: "yes" for name, setting in SETTINGS.items() if getattr(settings, setting)}
    return own_options(options) | allowed
