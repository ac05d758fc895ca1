"""Names are marks: what is ours by its name, and what never is (IN04)."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from portal.hypervisors.libvirt import names
from tests.hypervisors.libvirt_driver.samples import PORTAL, UID

OURS = f"stegi-11111111-{UID}.qcow2"


def test_a_volumes_name_tells_its_uid() -> None:
    for suffix in ("qcow2", "raw", names.FIRST_BOOT, names.UPLOADING):
        assert names.volume_uid(PORTAL, names.volume(PORTAL, UID, suffix=suffix)) == (UID, suffix)


@pytest.mark.parametrize(
    "name",
    [
        "", "..", "/", f"../{OURS}", f"/var/lib/libvirt/images/{OURS}", f"{OURS}/../x", f"{OURS}\n", f" {OURS}", f"{OURS}\x00",
        OURS.upper(), OURS.replace("11111111", "22222222"), OURS.replace("stegi-", "stegi2-"), f"x{OURS}", f"{OURS}.bak",
        OURS.replace(".qcow2", ""), OURS.replace(".qcow2", ".qcow2%2e%2e"), f"json:{{'file': '{OURS}'}}", f"nbd://host/{OURS}",
        f"rbd:pool/{OURS}", str(UID), OURS.replace(str(UID), UID.hex), OURS.replace("-", "\u2010"),
    ],
)  # fmt: skip
def test_IN04_what_only_resembles_a_volume_of_ours_is_none(name: str) -> None:  # noqa: N802
    assert names.volume_uid(PORTAL, name) is None


def test_a_volume_of_another_portals_is_told_from_anybodys() -> None:
    named = {OURS: False, OURS.replace("11111111", "22222222"): True, "golden.qcow2": False, f"x{OURS}": False}
    assert {name: names.is_other_portals(PORTAL, name) for name in named} == named


def test_pools_of_ours_begin_with_our_prefix() -> None:
    assert names.is_pool(PORTAL, "stegi-11111111")
    assert names.is_pool(PORTAL, "stegi-11111111-second")


@pytest.mark.parametrize(
    "name",
    [
        "", "default", "stegi", "stegi-", "stegi-1111111", "stegi-111111112", "stegi-22222222", "STEGI-11111111",
        "stegi-11111111-", "stegi-11111111-../../etc", "stegi-11111111/../etc", "stegi-11111111-a/b", "stegi-11111111-a\n",
        "/stegi-11111111", "../images2/stegi-11111111", "stegi-11111111-%2e%2e", "stegi-11111111-a\x00",
    ],
)  # fmt: skip
def test_IN04_a_pools_name_is_never_a_path(name: str) -> None:  # noqa: N802
    assert not names.is_pool(PORTAL, name)


def test_a_bridges_name_is_short_enough_for_the_kernel() -> None:
    assert all(len(names.bridge(uuid4())) <= 15 for _ in range(10))
    assert names.bridge(UUID(int=0)) != names.bridge(UUID(int=1 << 100))


def test_a_probe_is_known_whoevers_it_is() -> None:
    assert names.is_probe(names.probe(PORTAL))
    assert names.is_probe(names.probe(uuid4()))
    assert not names.is_probe(f"{names.prefix(PORTAL)}-probe")
    assert not names.is_probe("web-1-aaaaaaaa")
