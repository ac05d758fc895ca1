"""The template's image, built once for the run, and machines made from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.guest.machine import Machine

REPOSITORY = Path(__file__).resolve().parents[2]
BUILDER = REPOSITORY / "deploy/tiny-linux/build.py"
CACHE = Path(os.environ.get("STEGI_TINY_LINUX_CACHE", REPOSITORY / ".state/cache/tiny-linux"))
# Unix sockets have short names: pytest's own folders are too deep for them.
MakeMachine = Callable[..., Machine]


@dataclass(frozen=True)
class KeyPair:
    """An SSH key: the file of its private half, the line of its public half."""

    private: Path
    public: str


def run_builder(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the builder as a person would."""
    command = [sys.executable, BUILDER, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=170, check=False, **options)


def make_key(folder: Path, comment: str) -> KeyPair:
    """A fresh key pair whose public half carries a comment."""
    key = Ed25519PrivateKey.generate()
    folder.mkdir(parents=True, exist_ok=True)
    private = folder / "key"
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return KeyPair(private, f"{public} {comment}")


@pytest.fixture(scope="session")
def tiny_linux(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The facts of a freshly built image, as the builder prints them."""
    built = run_builder(tmp_path_factory.mktemp("image") / "tiny.qcow2", "--cache", CACHE, "--json")
    assert built.returncode == 0, built.stderr
    facts: dict[str, Any] = json.loads(built.stdout)
    return facts


@pytest.fixture(scope="session")
def unpacked(tiny_linux: dict[str, Any]) -> Path:
    """The packages that the image was made from, unpacked."""
    return next(CACHE.glob("tree-*"))


@contextmanager
def machines_of(image: Path) -> Iterator[MakeMachine]:
    """Makes machines of the template; those still on at the end are switched off, for one that is idle is work to emulate, too."""
    made: list[Machine] = []
    with tempfile.TemporaryDirectory(prefix="guest-") as folder:

        def make(*, size: str = "") -> Machine:
            place = Path(folder) / str(len(made))
            place.mkdir()
            made.append(Machine(place, image, size=size))
            return made[-1]

        yield make
        for machine in made:
            machine.pull_the_plug()


@pytest.fixture
def make_machine(tiny_linux: dict[str, Any]) -> Iterator[MakeMachine]:
    """Makes machines for one test."""
    with machines_of(Path(tiny_linux["file"])) as make:
        yield make


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    """Alice's key; its comment is long enough for the YAML library to fold the line."""
    folder = tmp_path_factory.mktemp("alice")
    return make_key(folder, "alice on the small grey laptop of the reading room: `poweroff` $(poweroff) #1 Αλίκη")


@pytest.fixture(scope="module")
def bob(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    """Bob's key."""
    return make_key(tmp_path_factory.mktemp("bob"), "bob")
