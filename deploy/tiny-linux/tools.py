"""Running Debian's tools: found where Debian keeps them, bounded in time, their last words kept for the error."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from failures import BuildError

# An ordinary user's PATH lacks sbin, where mke2fs and sfdisk live.
SEARCH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
PACKAGE_OF = {
    "apt-cache": "apt",
    "apt-get": "apt",
    "debugfs": "e2fsprogs",
    "dpkg-deb": "dpkg",
    "mcopy": "mtools",
    "mformat": "mtools",
    "mke2fs": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "sfdisk": "fdisk",
    "syslinux": "syslinux",
}
SECONDS = 120


def require(names: Sequence[str]) -> None:
    """Raise one BuildError that names every package whose tool is missing."""
    missing = sorted({PACKAGE_OF[name] for name in names if shutil.which(name, path=SEARCH) is None})
    if missing:
        raise BuildError("tools are missing", f"apt-get install {' '.join(missing)}")


def run(
    command: Sequence[str | Path],
    *,
    remedy: str,
    text: str | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    seconds: int = SECONDS,
) -> str:
    """Run a tool and return what it printed; a failure or more than `seconds` is a BuildError with `remedy`."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            input=text,
            cwd=folder,
            env={**os.environ, "PATH": SEARCH, "LC_ALL": "C", **(environment or {})},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError as error:
        raise BuildError(f"{name} is missing", f"apt-get install {PACKAGE_OF.get(name, name)}") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{name} did not end within {seconds} s", remedy) from error
    if done.returncode:
        raise BuildError(f"{name} failed: {_last_line(done.stderr or done.stdout)}", remedy)
    return done.stdout


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
