"""First-boot data on a NoCloud volume, made with the library that the portal uses."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml
from pycdlib import PyCdlib


def user_data(content: Mapping[str, Any]) -> str:
    """The text of a cloud-config file."""
    return "#cloud-config\n" + yaml.safe_dump(dict(content), default_flow_style=False)


def meta_data(instance_id: str, hostname: str) -> str:
    """The text of NoCloud's meta-data file."""
    return yaml.safe_dump({"instance-id": instance_id, "local-hostname": hostname}, default_flow_style=False)


def write_volume(path: Path, files: Mapping[str, str], *, rock_ridge: bool = True, joliet: bool = True) -> Path:
    """Write the files to an ISO 9660 volume labelled `cidata`."""
    iso = PyCdlib()
    iso.new(
        interchange_level=3,
        vol_ident="cidata",
        joliet=3 if joliet else None,
        rock_ridge="1.09" if rock_ridge else None,
    )
    for number, (name, text) in enumerate(files.items()):
        content = text.encode()
        iso.add_fp(
            BytesIO(content),
            len(content),
            f"/F{number}.;1",
            rr_name=name if rock_ridge else None,
            joliet_path=f"/{name}" if joliet else None,
        )
    iso.write(str(path))
    iso.close()
    return path
