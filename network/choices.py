"""Statuses of this app's nouns."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class NetworkStatus(TextChoices):
    """Last observed status of a network."""

    CREATING = "creating", _("being made")
    OPERATIONAL = "operational", _("operational")
    NON_OPERATIONAL = "non_operational", _("not operational")
    GONE = "gone", _("gone from its provider")


class FoundKind(TextChoices):
    """What was found on a provider that machines may be wired to."""

    NETWORK = "network", pgettext_lazy("found kind", "network")
    BRIDGE = "bridge", pgettext_lazy("found kind", "bridge of the host")


class FoundOwner(TextChoices):
    """Whose a network is that was found."""

    OURS = "ours", _("this portal's")
    PORTAL = "portal", _("another portal's")
    NOBODY = "", _("no portal's")


# How a network leads elsewhere, by libvirt's word for it.
FORWARD_MODES = {
    "": _("nowhere"),
    "nat": _("by address translation (NAT)"),
    "route": _("routed"),
    "open": _("routed, without rules"),
    "bridge": _("by the host's bridge"),
    "private": _("by the host's card, apart from each other"),
    "vepa": _("by the host's switch (VEPA)"),
    "passthrough": _("by a card of its own"),
    "hostdev": _("by a device of the host"),
}
