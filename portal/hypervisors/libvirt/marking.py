"""Putting the mark on somebody's machine, and taking it off so that its description is again what it was."""

from __future__ import annotations

import logging
import re
from typing import Any

import libvirt

from portal.hypervisors.libvirt.xml import MARK_PREFIX, NAMESPACE, is_in_theirs, mark_text, parse
from portal.hypervisors.specs import Marker

log = logging.getLogger(__name__)

# As libvirt writes it, directly below the domain.
EMPTY_HOLDER = re.compile(r"^  <metadata/>\n", re.MULTILINE)


def put_mark(domain: Any, marker: Marker) -> None:
    """Mark it; the mark says whether the element that holds it now was there before, which nothing else would tell."""
    _set(domain, mark_text(marker, in_theirs=EMPTY_HOLDER.search(_kept(domain)) is not None))


def take_mark(connection: Any, domain: Any) -> None:
    """Take the mark off, and the element that held it unless that was there before."""
    is_theirs = is_in_theirs(parse(_kept(domain)))
    _set(domain, None)
    if not is_theirs:
        drop_holder(connection, domain)


def _set(domain: Any, text: str | None) -> None:
    """In what is kept of it, and in what runs now: a transient machine has the second alone. None takes it off."""
    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG if domain.isPersistent() else 0
    flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, text, MARK_PREFIX, NAMESPACE, flags)


def drop_holder(connection: Any, domain: Any) -> None:
    """Take away the empty element in which the mark was: libvirt keeps it until there is another definition.

    What runs has it until it is started anew. Where the definition cannot be had without changing more, it stays: it says nothing.
    """
    if not domain.isPersistent():
        return
    text = _kept(domain)
    bare = EMPTY_HOLDER.sub("", text, count=1)
    if bare == text or _kept(domain) != text:  # somebody else is at it
        return
    try:
        if _kept(connection.defineXML(bare)) != bare:
            log.warning("libvirt reads the definition of %s in another way; it is put back", domain.UUIDString())
            connection.defineXML(text)
    except libvirt.libvirtError as error:
        if error.get_error_domain() in {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}:
            raise
        log.info("the empty element of %s stays: %s", domain.UUIDString(), error)


def _kept(domain: Any) -> str:
    return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))
