"""The few kernel modules that the guest needs, each with those it depends on."""

import re
from collections.abc import Iterable
from pathlib import Path

from failures import BuildError

# Loaded at every start, in this order. Debian's cloud kernel has no AHCI, USB or DRM: disks and NICs come by virtio.
AT_START = (
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "sr_mod",
    "virtio_net",
    "virtio_console",
    "virtio-rng",
    "virtio_balloon",
    "isofs",
    "button",
    "evdev",
)
Dependencies = dict[str, list[str]]


def kernel_version(tree: Path) -> str:
    """The version of the one kernel in the unpacked tree, as `uname -r` will say it."""
    versions = [path.name for path in (tree / "lib/modules").glob("*")]
    if len(versions) != 1:
        raise BuildError(f"{len(versions)} kernels unpacked where one is needed", f"rm -r {tree}, then build again")
    return versions[0]


def closure(modules: Path, names: Iterable[str]) -> Dependencies:
    """Map each wanted module's path below `modules`, and those it leads to, to all it needs, nearest first."""
    files = {_plain(path.name): path for path in modules.rglob("*.ko")}
    needs: Dependencies = {}

    def visit(name: str) -> list[str]:
        path = files.get(_plain(name))
        if path is None:
            raise BuildError(f"the kernel has no module {name}", "take it out of AT_START if it is built in now")
        here = str(path.relative_to(modules))
        if here not in needs:
            chain = [[str(files[_plain(other)].relative_to(modules)), *visit(other)] for other in _depends(path)]
            needs[here] = _last_of_each(item for links in chain for item in links)
        return needs[here]

    for name in names:
        visit(name)
    return needs


def modules_dep(needs: Dependencies) -> str:
    """The text of modules.dep, from which modprobe learns what to load before what."""
    return "".join(f"{path}: {' '.join(others)}".rstrip() + "\n" for path, others in sorted(needs.items()))


def _last_of_each(items: Iterable[str]) -> list[str]:
    # modprobe loads from the end: a module must stand before all it needs, also where two lead to the same third.
    return list(dict.fromkeys(reversed(list(items))))[::-1]


def _depends(path: Path) -> list[str]:
    # A module says what it needs as `depends=a,b`, a NUL-ended string of its .modinfo section; depmod reads the same.
    found = re.search(rb"\0depends=([\w,-]*)\0", path.read_bytes())
    return [name for name in found[1].decode().split(",") if name] if found else []


def _plain(name: str) -> str:
    return name.removesuffix(".ko").replace("-", "_")
