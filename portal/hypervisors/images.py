"""What the head of a disk image says of the rest. Pure.

libvirt and QEMU open whatever a qcow2 image names as the file below it or the file of its data: any file of the host. So such
an image is refused by its head, before anything looks into it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from portal.hypervisors.errors import Invalid

HEAD_BYTES = 104  # of a qcow2 image of version 3
_MAGIC = b"QFI\xfb"
_BACKING_AT, _FEATURES_AT = 8, 72
_KNOWN_FEATURES = 0b11011  # dirty, corrupt, compression type, extended entries; bit 2 is an external data file


def only_fit(chunks: Iterator[bytes], *, format: str) -> Iterator[bytes]:  # noqa: A002
    """The chunks of an image, none of them before its head was looked at. Raises as ``refuse_unfit`` does."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= HEAD_BYTES:
            break
    refuse_unfit(head, format=format)
    yield head
    yield from chunks


def refuse_unfit(head: bytes, *, format: str) -> None:  # noqa: A002
    """Raise ``Invalid`` unless an image is what it is said to be ("qcow2" or "raw") and stands alone."""
    is_qcow2 = head.startswith(_MAGIC)
    if is_qcow2 != (format == "qcow2"):
        raise Invalid(
            "The image is not of the format it is said to be.", detail=f"said to be {format}: {head[:8].hex()}"
        )
    if is_qcow2 and not _stands_alone(head):
        raise Invalid("The image refers to another image.", detail="a backing file, a data file or an unknown feature")


def _stands_alone(head: bytes) -> bool:
    if len(head) < HEAD_BYTES:
        return False
    (version,) = struct.unpack_from(">I", head, len(_MAGIC))
    (backing,) = struct.unpack_from(">Q", head, _BACKING_AT)
    (features,) = struct.unpack_from(">Q", head, _FEATURES_AT)
    return version <= 3 and not backing and not (version == 3 and features & ~_KNOWN_FEATURES)
