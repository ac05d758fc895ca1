"""Controls of a page that cannot be used: each has to say why where it can be read, which a tooltip is not on a phone."""

from __future__ import annotations

from typing import Any

import lxml.html


def controls(page: bytes | str) -> list[Any]:
    """Every greyed control of a page; the empty choice of a list is none."""
    text = page.decode() if isinstance(page, bytes) else page
    if "disabled" not in text:
        return []
    return lxml.html.document_fromstring(text).xpath("//*[@disabled or @aria-disabled='true'][not(self::option)]")


def reason(control: Any) -> str:
    """What can be read of why it is greyed: in itself, or where it says that it is described."""
    tree = control.getroottree()
    named = [tree.xpath("//*[@id=$uid]", uid=uid) for uid in control.get("aria-describedby", "").split()]
    told = [*control.xpath(".//*[@class='verb-why']"), *(one for found in named for one in found)]
    return " ".join(" ".join(one.text_content() for one in told).split())


def mute(page: bytes | str) -> list[str]:
    """The greyed controls that do not say why."""
    return [lxml.html.tostring(one, encoding="unicode") for one in controls(page) if len(reason(one)) < len(": why")]


def ways_out(page: bytes | str) -> set[str]:
    """Where the greyed controls of a page lead."""
    return {one.get("href") for one in controls(page) if one.tag == "a"}
