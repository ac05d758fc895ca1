"""The program behind bin/test: installs, checks the code, then runs the tests inside the lab's namespaces.

usage: bin/test [--quick] [--db=both|sqlite|postgres] [--no-checks] [PYTEST_ARGUMENT...]
       bin/test [--db=postgres] --shell            a shell inside the lab
       bin/test [--db=postgres] --exec COMMAND...  one command inside the lab

  --quick      the part without hypervisor, browser or servers, on SQLite
  --db         which database the tests run on (PostgreSQL for those that touch the database)
  --no-checks  no lint, types, import contracts, migrations and messages before the tests
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

import install

NAMESPACE: Final = install.REPOSITORY / "tests" / "lab" / "namespace.py"
GUEST: Final = install.REPOSITORY / "deploy" / "tiny-linux"
GUEST_PACKAGES: Final = install.REPOSITORY / ".state" / "cache" / "tiny-linux"
GUEST_IMAGE: Final = install.REPOSITORY / ".state" / "tiny-linux.qcow2"
CHECK_SECONDS: Final = 600
GUEST_SECONDS: Final = 900
BIN: Final = install.VENV / "bin"
NO_BYTECODE: Final = "PYTHONDONTWRITEBYTECODE"
# What comes after it counts: `bin/test --quick -n0 --pdb` stays in one process.
IN_PARALLEL: Final = ("-n", "2", "--dist", "loadfile")


def _programs() -> list[str]:
    """What runs before or around the portal: no package, so mypy is given the files."""
    return sorted(str(path) for folder in ("bin", "tests/lab") for path in (install.REPOSITORY / folder).glob("*.py"))


# The slowest first: two run at a time.
CHECKS: Final[dict[str, list[str]]] = {
    "mypy": [str(BIN / "mypy")],
    # With a cache of its own: two that make one at the same moment find its database locked.
    "mypy of programs": [str(BIN / "mypy"), "--strict", "--cache-dir=.mypy_cache/programs", *_programs()],
    "ruff check": [str(BIN / "ruff"), "check", "."],
    "ruff format": [str(BIN / "ruff"), "format", "--check", "."],
    "import contracts": [str(BIN / "lint-imports")],
    "missing migrations": [str(BIN / "python"), "manage.py", "makemigrations", "--check", "--dry-run"],
    "compilemessages": [str(BIN / "python"), "manage.py", "compilemessages", "--ignore=.venv", "--ignore=static"],
}


@dataclass
class Request:
    """What the command line asks for."""

    quick: bool = False
    database: str = "both"
    checks: bool = True
    inside: list[str] | None = None
    pytest: list[str] = field(default_factory=list)


def main(arguments: Sequence[str]) -> int:
    os.chdir(install.REPOSITORY)
    if "--help" in arguments[:1]:
        print((__doc__ or "").split("\n\n", 1)[1])
        return 0
    request = parse(arguments)
    try:
        install_for(request)
        run(request)
    except install.InstallError as error:
        print(f"bin/test: FAILED: {error}", file=sys.stderr)
        return 1


def parse(arguments: Sequence[str]) -> Request:
    """Ours are few; all else is pytest's, in its order. After --exec everything is the command's."""
    request, rest = Request(), list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--quick":
            request.quick = True
        elif word == "--no-checks":
            request.checks = False
        elif word in {"--db=both", "--db=sqlite", "--db=postgres"}:
            request.database = word.removeprefix("--db=")
        elif word == "--shell":
            request.inside = [os.environ.get("SHELL", "/bin/bash")]
        elif word == "--exec":
            request.inside, rest = rest, []
        else:
            request.pytest.append(word)
    return request


def install_for(request: Request) -> None:
    """All that the tests will want, guest included: in the lab there is no network to fetch anything from."""
    lists = ["base"] if request.quick else ["base", "run", "test", "tiny-linux", "seal"]
    with ThreadPoolExecutor(max_workers=1) as pool:
        parts = []
        if not request.quick and (_is_older(GUEST_IMAGE, GUEST) or not GUEST_PACKAGES.is_dir()):
            install.install(packages=lists, locks=[], browser_libraries=False)  # what it is built with
            parts.append(pool.submit(_build_guest))  # by Debian's Python, while ours gets its libraries
        install.install(packages=lists, locks=["base", "test"])
        for part in parts:
            part.result()


def _build_guest() -> None:
    install.say("building the tiny guest")
    command = [str(install.SYSTEM_PYTHON), str(GUEST / "build.py"), str(GUEST_IMAGE)]
    built = subprocess.run(command, stdin=subprocess.DEVNULL, check=False, timeout=GUEST_SECONDS)
    if built.returncode != 0:
        raise install.InstallError("the tiny guest cannot be built", "see the line above")


def _is_older(made: Path, sources: Path) -> bool:
    newest = max(path.stat().st_mtime for path in sources.rglob("*") if path.suffix != ".pyc" and path.is_file())
    return not made.exists() or made.stat().st_mtime < newest


def run(request: Request) -> NoReturn:
    if request.inside is not None:
        database = "sqlite" if request.database == "both" else request.database
        _in_lab(["--exec", f"--db={database}", "--", *request.inside])
    failed = run_checks() if request.checks else []
    database = "sqlite" if request.quick else request.database
    selection = ["-m", "quick", *IN_PARALLEL] if request.quick else []
    ours = [f"--db={database}", f"--failed-checks={','.join(failed)}", "--"]
    _in_lab([*ours, *selection, *request.pytest], quick=request.quick)


# --- the checks


def run_checks() -> list[str]:
    """Runs all of them, two at a time, and returns the names of those that failed."""
    names = [name for name in CHECKS if name != "compilemessages" or _has_messages()]
    with ThreadPoolExecutor(max_workers=2) as pool:
        passed = list(pool.map(_run_check, names))
    return [name for name, ok in zip(names, passed, strict=True) if not ok]


def _has_messages() -> bool:
    """Django's command fails where there is nothing to compile."""
    return any(install.REPOSITORY.glob("*/locale/*/LC_MESSAGES/*.po"))


def _run_check(name: str) -> bool:
    started = time.monotonic()
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "portal.settings.test", "MYPYPATH": "bin"}
    try:
        done = subprocess.run(
            CHECKS[name], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=CHECK_SECONDS,
        )  # fmt: skip
        ok, output = done.returncode == 0, done.stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        ok, output = False, f"{error}\n"
    verdict = f"check: {name}: {'ok' if ok else 'FAILED'} ({time.monotonic() - started:.1f} s)\n"
    print(verdict if ok else verdict + output, end="", flush=True)
    return ok


# --- the lab


def _in_lab(arguments: Sequence[str], *, quick: bool = False) -> NoReturn:
    """In the place of this process: whoever ends bin/test ends the lab."""
    inside = [str(install.VENV_PYTHON), "-m", "tests.lab.run", *arguments]
    command = [str(install.SYSTEM_PYTHON), str(NAMESPACE), *inside]
    if os.geteuid() != 0 and quick:
        command = inside  # it starts no server, so it needs no root
    elif os.geteuid() != 0:
        # Root must not leave files of its own in the caller's checkout.
        command = install.as_root(["env", f"{NO_BYTECODE}=1", *command])
    # Five passes read the tests, which pytest compiles in a way of its own, and longer than it then takes to collect them.
    environment = {name: value for name, value in os.environ.items() if name != NO_BYTECODE}
    sys.stdout.flush()
    os.execvpe(command[0], command, environment)  # noqa: S606 - a shell is what would outlive it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
