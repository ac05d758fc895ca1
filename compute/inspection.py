"""What an uploaded image is, told by its bytes before any program of QEMU's opens it.

QEMU opens whatever an image names as the file below it or the file of its data: any file of the host. So first the bytes are
looked at (oslo.utils), and only what stands alone goes on to QEMU, which is told the format and never guesses it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from oslo_utils.imageutils import format_inspector

from compute.choices import ImageFormat

CHUNK = 1024 * 1024
HEAD = 4096
SEARCHED = 16 * CHUNK
SECTOR = 512  # whatever a raw disk holds, it is of whole ones
ENCRYPTED_AT = 32  # of a qcow2 image: its method of encryption, 0 for none
DESCRIPTOR = b"# Disk DescriptorFile"  # a VMDK that is text and names files of the host; oslo.utils takes it for raw
GPT = "gpt"  # a raw disk with a partition table
NAMED = ("backing_file", "data_file", "unknown_features")


class Refused(Exception):
    """The image is not taken; ``code`` is one of ``choices.IMAGE_REFUSALS``."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.code = code
        self.detail = detail
        super().__init__(code)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an image that may go on to QEMU."""

    format: ImageFormat
    virtual_bytes: int


def digest_of(path: Path, *, report: Callable[[int], None]) -> str:
    """The SHA-256 of a file; ``report`` is told how many bytes were read."""
    found, read = hashlib.sha256(), 0
    with path.open("rb") as image:
        while chunk := image.read(CHUNK):
            found.update(chunk)
            read += len(chunk)
            report(read)
    return found.hexdigest()


def inspect(path: Path, *, said: str, most_virtual_bytes: int) -> Facts:
    """The facts of an image that is ``said`` ("qcow2", "raw") to be of a format. Raises ``Refused`` for one that is not taken."""
    size = path.stat().st_size
    with path.open("rb") as image:
        facts = inspect_stream(image, size_bytes=size, said=said, most_virtual_bytes=most_virtual_bytes)
    if facts.format == ImageFormat.RAW and size % SECTOR:  # any bytes else would be a raw disk: a letter, a picture
        raise Refused("no_disk", f"{size} bytes")
    return facts


def inspect_stream(image: BinaryIO, *, size_bytes: int, said: str, most_virtual_bytes: int) -> Facts:
    """The same of an image of which the first bytes can be read; ``size_bytes`` are all of them."""
    head = image.read(HEAD)
    image.seek(0)
    if head.startswith(DESCRIPTOR):
        raise Refused("foreign_format", "vmdk")
    found = _format_of(image)
    is_qcow2 = found.NAME == ImageFormat.QCOW2
    if not is_qcow2 and found.NAME not in {ImageFormat.RAW, GPT}:
        raise Refused("encrypted" if found.NAME == "luks" else "foreign_format", found.NAME)
    if is_qcow2 != (said == ImageFormat.QCOW2):
        raise Refused("format", f"said to be {said}, is {found.NAME}")
    _refuse_unsafe(found)
    if is_qcow2:
        _refuse_encrypted(head)
    size = found.virtual_size if is_qcow2 else size_bytes
    if not 0 < size <= most_virtual_bytes:
        raise Refused("too_large" if size else "broken", f"{size} bytes")
    return Facts(ImageFormat(said), size)


def _format_of(image: BinaryIO) -> format_inspector.FileInspector:
    """By the first bytes alone: an image that keeps an inspector waiting for its very end is not read for hours."""
    wrapper = format_inspector.InspectWrapper(image)
    try:
        for _ in range(SEARCHED // HEAD):
            if not wrapper.read(HEAD) or wrapper.format:
                break
        wrapper.close()
        found = wrapper.format
    except format_inspector.ImageFormatError as error:
        raise Refused("foreign_format", str(error)) from error
    if found is None:
        raise Refused("broken", "no format")
    return found


def _refuse_unsafe(found: format_inspector.FileInspector) -> None:
    try:
        found.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        code = next((name for name in NAMED if name in error.failures), "partitions" if found.NAME == GPT else "broken")
        raise Refused(code, str(error)) from error
    except format_inspector.ImageFormatError as error:
        raise Refused("broken", str(error)) from error


def _refuse_encrypted(head: bytes) -> None:
    (method,) = struct.unpack_from(">I", head, ENCRYPTED_AT)
    if method:
        raise Refused("encrypted", f"method {method}")
