"""Reading and writing libvirt's XML safely. Pure.

What libvirt sends is read without DTD, entities or network and within a size; what we send is built by element calls and
never by pasting strings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from lxml import etree
from lxml.builder import ElementMaker

from portal.hypervisors.errors import HypervisorError, Invalid
from portal.hypervisors.specs import Marker

# Far above the largest real description of a machine, far below what would hurt.
LARGEST = 4 * 1024 * 1024
NAMESPACE = "urn:stegi:mark:1"
MARK_PREFIX = "stegi"
THEIRS = "theirs"
MARK = f"{{{NAMESPACE}}}object"

Element = etree._Element


_maker = ElementMaker()


class Builder:
    """``E.disk(E.source(pool="p"), type="volume")`` makes an element: values are never more than values.

    Raises ``Invalid`` for characters that XML cannot carry.
    """

    def __getattr__(self, tag: str) -> Callable[..., Element]:
        make = getattr(_maker, tag)

        def made(*children: Element | str, **attributes: str) -> Element:
            try:
                element: Element = make(*children, **attributes)
            except ValueError as error:
                raise Invalid("The text holds characters that cannot be stored (control characters).") from error
            return element

        return made


E = Builder()


def parse(text: str) -> Element:
    """The root element of a document from a hypervisor.

    Raises ``HypervisorError`` for one with a document type, beyond the size, or not well-formed: nothing of it is used.
    """
    if len(text) > LARGEST:
        raise HypervisorError(detail=f"XML of {len(text)} characters")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise HypervisorError(detail="XML with a document type")
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(text.encode("utf-8"), parser)
    except (etree.XMLSyntaxError, UnicodeEncodeError) as error:
        raise HypervisorError(detail=f"XML that cannot be read: {error}") from error
    if root is None:
        raise HypervisorError(detail="empty XML")
    return root


def write(root: Element) -> str:
    """An element as libvirt takes it."""
    return str(etree.tostring(root, encoding="unicode"))


def text_of(root: Element, path: str) -> str:
    """The text at a path, or empty."""
    return root.findtext(path) or ""


def number_of(root: Element, path: str) -> int:
    """The whole number at a path, or 0."""
    return whole_number(text_of(root, path).strip())


def whole_number(text: str) -> int:
    """A number as libvirt writes it, or 0 for what is none: of 64 bits, so of 20 digits at most."""
    return int(text) if len(text) <= 20 and text.isascii() and text.isdigit() else 0


def uuid_of(root: Element) -> UUID:
    """The UUID of a described object. Raises ``HypervisorError`` where there is none."""
    text = text_of(root, "uuid")
    try:
        return UUID(text)
    except ValueError as error:
        raise HypervisorError(detail=f"a description without a UUID: {text[:40]!r}") from error


def attribute_of(root: Element, path: str, name: str) -> str:
    """An attribute of the element at a path, or empty."""
    found = root.find(path)
    return (found.get(name) or "") if found is not None else ""


def metadata(marker: Marker, *, lent: Mapping[str, str] | None = None) -> Element:
    """The ``<metadata>`` element that bears a mark. ``lent``: by a card's MAC address, the uid of somebody's network that it is on."""
    told = {"portal": str(marker.portal_id), "uid": str(marker.uid)}
    if lent:
        told["lent"] = " ".join(f"{mac}={uid}" for mac, uid in lent.items())
    mark = etree.Element(MARK, told, nsmap={MARK_PREFIX: NAMESPACE})
    holder = E.metadata()
    holder.append(mark)
    return holder


def mark_text(marker: Marker, *, in_theirs: bool) -> str:
    """A mark by itself, to be put on what is there already; libvirt puts it into the namespace.

    ``in_theirs``: the element that holds it was there before, and empty.
    """
    told = {"portal": str(marker.portal_id), "uid": str(marker.uid)} | ({"holder": THEIRS} if in_theirs else {})
    return etree.tostring(etree.Element(etree.QName(MARK).localname, told), encoding="unicode")


def is_in_theirs(root: Element) -> bool:
    """Whether the mark that a domain bears says so."""
    return attribute_of(root, f"metadata/{MARK}", "holder") == THEIRS


def lent_to(root: Element) -> dict[str, str]:
    """The networks of others that a domain's cards were put on, as its mark keeps them."""
    pairs = (pair.partition("=") for pair in attribute_of(root, f"metadata/{MARK}", "lent").split())
    return {mac: uid for mac, _equals, uid in pairs}


def marker_of(root: Element) -> Marker | None:
    """The mark in a domain or network, or None when it bears none (or one that is not a mark)."""
    mark = root.find(f"metadata/{MARK}")
    if mark is None:
        return None
    try:
        return Marker(portal_id=UUID(mark.get("portal") or ""), uid=UUID(mark.get("uid") or ""))
    except ValueError:
        return None
