"""What hypervisors send is read without a document type, an entity, the network or a bound exceeded (IN20)."""

from __future__ import annotations

import socket
import tracemalloc
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from portal.hypervisors.errors import HypervisorError, Invalid
from portal.hypervisors.libvirt.domain_xml import read_domain
from portal.hypervisors.libvirt.network_xml import read_network
from portal.hypervisors.libvirt.storage_xml import read_pool, read_volume
from portal.hypervisors.libvirt.xml import LARGEST, E, marker_of, metadata, number_of, parse, write
from portal.hypervisors.specs import Marker
from tests.hypervisors.libvirt.samples import MARKUP, NOT_FOR_XML, PORTAL, UID

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha"}">' for n in range(10))
READERS: dict[str, Callable[[str], Any]] = {
    "domain": read_domain, "network": read_network, "pool": read_pool, "volume": read_volume,
}  # fmt: skip
BAD = {
    "entities": f"<!DOCTYPE domain [{LAUGHS}]><domain><name>&l9;</name></domain>",
    "a file": "<!DOCTYPE domain [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain><name>&x;</name></domain>",
    "a parameter entity": "<!DOCTYPE d [<!ENTITY % x SYSTEM 'file:///etc/passwd'> %x;]><domain/>",
    "an undeclared entity": "<domain><name>&passwd;</name></domain>",
    "a document type": "<!DOCTYPE domain><domain/>",
    "truncated": "<domain><name>web",
    "a page": "<html><head><title>502 Bad Gateway</title><meta charset=utf-8></head>",
    "nothing": "",
    "no XML": "internal error",
    "JSON": '{"name": "web"}',
    "a control character": "<domain><name>\x00</name></domain>",
    "half a character": "<domain><name>\ud800</name></domain>",
    "deep": "<a>" * 100_000 + "</a>" * 100_000,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_IN20_what_cannot_be_trusted_is_refused(reader: str, text: str) -> None:  # noqa: N802
    with pytest.raises(HypervisorError) as refused:
        READERS[reader](text)
    assert "passwd" not in refused.value.public


def test_IN20_nothing_is_fetched() -> None:  # noqa: N802
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.dtd"
        for text in (
            f"<!DOCTYPE domain SYSTEM '{url}'><domain/>",
            f"<!DOCTYPE d [<!ENTITY x SYSTEM '{url}'>]><d>&x;</d>",
        ):
            with pytest.raises(HypervisorError):
                parse(text)
        parse(f"<d xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='{url}'/></d>")
        with pytest.raises(TimeoutError):
            server.accept()


def test_IN20_a_document_beyond_the_bound_is_refused_before_it_is_read() -> None:  # noqa: N802
    text = "<domain><name>" + "x" * (100 * 1024 * 1024) + "</name></domain>"
    tracemalloc.start()
    with pytest.raises(HypervisorError):
        parse(text)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1024 * 1024


def test_a_large_but_real_document_is_read() -> None:
    disk = "<disk type='file'><source file='/images/disk.qcow2'/></disk>"
    text = f"<domain><name>web</name><uuid>{UID}</uuid><devices>{disk * 10_000}</devices></domain>"
    assert len(text) < LARGEST
    assert len(read_domain(text).disks) == 10_000


def test_comments_and_instructions_are_no_elements() -> None:
    root = parse("<domain><!-- <name>x</name> --><?php x?><name>we<!-- -->b</name></domain>")
    assert root.findtext("name") == "web"
    assert len(root) == 1


@pytest.mark.parametrize("text", ["-1", "1.5", "²", "٣", "0x10", "1e3", "9" * 5000, "NaN", "", " "])
def test_what_is_no_number_counts_as_0(text: str) -> None:
    assert number_of(parse(f"<d><memory>{text}</memory></d>"), "memory") == 0


@pytest.mark.parametrize("reader", ["domain", "network"])
@pytest.mark.parametrize("uuid", ["", "<uuid/>", "<uuid>1</uuid>", "<uuid>../../etc/passwd</uuid>"])
def test_a_description_without_a_uuid_is_refused(reader: str, uuid: str) -> None:
    with pytest.raises(HypervisorError):
        READERS[reader](f"<{reader}><name>x</name>{uuid}</{reader}>")


def test_a_network_with_a_nonsensical_range_is_refused() -> None:
    with pytest.raises(HypervisorError):
        read_network(f"<network><name>x</name><uuid>{UID}</uuid><ip address='10.0.0.999' prefix='24'/></network>")


# -- writing


@pytest.mark.parametrize("text", MARKUP)
def test_IN02_a_value_is_never_more_than_a_value(text: str) -> None:  # noqa: N802
    root = parse(write(E.domain(E.description(text), E.source(volume=text))))
    assert root.findtext("description") == text
    assert [child.tag for child in root] == ["description", "source"]
    assert root[1].get("volume") == text
    assert not len(root[0])


@pytest.mark.parametrize("text", NOT_FOR_XML)
def test_IN02_what_xml_cannot_carry_is_invalid(text: str) -> None:  # noqa: N802
    with pytest.raises(Invalid):
        write(E.domain(E.description(text)))
    with pytest.raises(Invalid):
        write(E.domain(E.source(volume=text)))


# -- marks


def test_a_mark_is_read_as_it_was_written() -> None:
    marker = Marker(PORTAL, UID)
    root = parse(write(E.domain(metadata(marker))))
    assert marker_of(root) == marker


@pytest.mark.parametrize(
    "content",
    [
        "",
        "<metadata/>",
        f"<metadata><object portal='{PORTAL}' uid='{UID}'/></metadata>",
        f"<metadata><x:object xmlns:x='urn:other' portal='{PORTAL}' uid='{UID}'/></metadata>",
        f"<metadata><x:object xmlns:x='urn:stegi:mark:1' portal='{PORTAL}'/></metadata>",
        f"<metadata><x:object xmlns:x='urn:stegi:mark:1' portal='nobody' uid='{uuid4()}'/></metadata>",
        f"<devices><x:object xmlns:x='urn:stegi:mark:1' portal='{PORTAL}' uid='{UID}'/></devices>",
        f"<description>&lt;metadata&gt; portal='{PORTAL}' uid='{UID}'</description>",
    ],
    ids=["none", "empty", "no namespace", "another namespace", "half", "no uuid", "elsewhere", "text"],
)
def test_what_only_looks_like_a_mark_is_none(content: str) -> None:
    assert marker_of(parse(f"<domain>{content}</domain>")) is None
