"""An initramfs archive (cpio, "newc" format) made from content alone: owned by root, without times, always the same.

Format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import gzip
import stat

DIRECTORY = stat.S_IFDIR | 0o755
PROGRAM = stat.S_IFREG | 0o755
LINK = stat.S_IFLNK | 0o777


class CpioArchive:
    """Collects entries; parents are added by themselves."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, bytes]] = {}

    def file(self, path: str, content: bytes) -> None:
        self._put(path, PROGRAM, content)

    def link(self, path: str, target: str) -> None:
        self._put(path, LINK, target.encode())

    def directory(self, path: str) -> None:
        self._put(path, DIRECTORY, b"")

    def packed(self) -> bytes:
        """The whole archive, gzipped."""
        records = [_record(number, path, *entry) for number, (path, entry) in enumerate(self._entries.items(), 1)]
        return gzip.compress(b"".join(records) + _record(0, "TRAILER!!!", 0, b""), compresslevel=9, mtime=0)

    def _put(self, path: str, mode: int, content: bytes) -> None:
        parent = path.rpartition("/")[0]
        if parent and parent not in self._entries:
            self.directory(parent)
        self._entries[path] = (mode, content)


def _record(number: int, path: str, mode: int, content: bytes) -> bytes:
    name = path.encode() + b"\0"
    # inode, mode, owner, group, links, time, size, device (two), special device (two), length of the name, checksum
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _to_four(header + name) + _to_four(content)


def _to_four(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
