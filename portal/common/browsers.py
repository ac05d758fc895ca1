"""What a browser calls itself, in words that a person knows it by. Pure."""

from __future__ import annotations

from django.utils.translation import gettext as _

# In this order: Edge and Opera say that they are Chrome, and all but Firefox that they are Safari.
BROWSERS = {"Edg": "Edge", "OPR": "Opera", "Firefox": "Firefox", "Chrome": "Chrome", "Safari": "Safari", "curl": "curl"}
SYSTEMS = {
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Windows": "Windows",
    "Mac OS": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}
LONGEST = 40


def browser_name(user_agent: str) -> str:
    """``Firefox on Linux``; of a browser that nobody knows how it begins, and of one that says nothing that."""
    name = next((known for mark, known in BROWSERS.items() if f"{mark}/" in user_agent), "")
    where = next((known for mark, known in SYSTEMS.items() if mark in user_agent), "")
    if name and where:
        return _("%(browser)s on %(system)s") % {"browser": name, "system": where}
    return name or user_agent[:LONGEST] or _("unknown browser")
