#!/usr/bin/env python3
"""Builds Tiny Linux, the template that boots in seconds: a qcow2 disk made from Debian's own packages.

Needs no root, no mount and no loop device; Python's standard library only. See docs/tiny-linux.md.
"""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

import cpio_archive
import debian_packages
import disk_image
import kernel_modules
import root_tree
from failures import BuildError
from tools import require

HERE = Path(__file__).resolve().parent
NAME = "Tiny Linux"
MINIMUM_MEMORY_MIB = 128
DEFAULT_CACHE = HERE.parent.parent / ".state/cache/tiny-linux"
INITRAMFS_NAMES = (
    *("basename", "blockdev", "cat", "dd", "dirname", "echo", "modprobe", "mount", "poweroff", "printf", "readlink"),
    *("sh", "sleep", "switch_root", "usleep", "[", "insmod", "mkdir"),
)


def say(line: str) -> None:
    """Progress goes to the error stream, so that --json can be read from the output."""
    print(f"tiny-linux: {line}", file=sys.stderr, flush=True)


def main() -> int:
    """Build as the command line says; one line on failure."""
    arguments = _arguments()
    try:
        facts = build(arguments.output, cache=arguments.cache)
    except BuildError as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f"{error.strerror}: {error.filename} (give an output and a cache folder that you may write to)")
        return 1
    if arguments.json:
        print(json.dumps(facts, indent=1))
    return 0


def build(output: Path, *, cache: Path) -> dict[str, str | int]:
    """Make the disk image and return its facts; sizes in bytes, memory in MiB. Raises BuildError."""
    started = time.monotonic()
    require(["apt-cache", "apt-get", "dpkg-deb", *disk_image.TOOLS])
    output.parent.mkdir(parents=True, exist_ok=True)
    with debian_packages.locked(cache), tempfile.TemporaryDirectory(prefix="tiny-linux-") as work:
        tree = debian_packages.unpack(cache, debian_packages.fill(cache, say), say)
        version = kernel_modules.kernel_version(tree)
        say(f"disk: kernel {version}")
        disk_image.make(_parts(tree, version, Path(work)), output, work=Path(work))
    say(f"{output}: {output.stat().st_size / 1e6:.1f} MB after {time.monotonic() - started:.1f} s")
    return _facts(output, version)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("output", type=Path, metavar="OUTPUT.qcow2", help="where the disk image is written")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="keeps the packages (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the image's facts when it is built")
    parsed = parser.parse_args()
    parsed.cache = parsed.cache.absolute()
    return parsed


def _parts(tree: Path, version: str, work: Path) -> disk_image.Parts:
    initramfs = work / "initramfs"
    initramfs.write_bytes(_initramfs(tree, version))
    kernel = work / "vmlinuz"
    kernel.write_bytes((tree / f"boot/vmlinuz-{version}").read_bytes())
    root_tree.fill(work / "root", tree)
    return disk_image.Parts(kernel=kernel, initramfs=initramfs, root=work / "root")


def _initramfs(tree: Path, version: str) -> bytes:
    archive = cpio_archive.CpioArchive()
    archive.file("init", (HERE / "initramfs-init").read_bytes())
    archive.file(root_tree.BUSYBOX, (tree / root_tree.BUSYBOX).read_bytes())
    for name in INITRAMFS_NAMES:
        archive.link(f"bin/{name}", "busybox")
    modules = tree / "lib/modules" / version
    needs = kernel_modules.closure(modules, kernel_modules.AT_START)
    for path in sorted(needs):
        archive.file(f"lib/modules/{version}/{path}", (modules / path).read_bytes())
    archive.file(f"lib/modules/{version}/modules.dep", kernel_modules.modules_dep(needs).encode())
    archive.file("lib/modules/at-start", "\n".join(kernel_modules.AT_START).encode())
    return archive.packed()


def _facts(output: Path, version: str) -> dict[str, str | int]:
    with output.open("rb") as image:
        digest = hashlib.file_digest(image, "sha256").hexdigest()
    return {
        "name": NAME,
        "file": str(output),
        "file_bytes": output.stat().st_size,
        "virtual_bytes": disk_image.SIZE,
        "minimum_memory_mib": MINIMUM_MEMORY_MIB,
        "sha256": digest,
        "kernel": version,
    }


if __name__ == "__main__":
    sys.exit(main())
