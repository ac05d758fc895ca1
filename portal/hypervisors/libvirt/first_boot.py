"""First-boot data in cloud-init's NoCloud form: two YAML documents on a small ISO 9660 volume. Pure.

Every value goes through a YAML library, so a value is never more than a value: no key, tag or document can be smuggled in.
"""

from __future__ import annotations

import io
from typing import Any
from uuid import UUID

import pycdlib
import yaml

from portal.hypervisors.specs import InitialRun

LABEL = "cidata"  # the volume label by which cloud-init knows its data
_NO_FOLDING = 1 << 30  # a key on one line, however long: small readers of YAML need no more than that


def meta_data(vm_uid: UUID, initial_run: InitialRun) -> str:
    """``meta-data``: who the machine is. A new uid makes the guest run its first boot again."""
    return _yaml({"instance-id": str(vm_uid), "local-hostname": initial_run.hostname})


def user_data(initial_run: InitialRun) -> str:
    """``user-data``: host name, and the user with his SSH keys; no password, no file, no command."""
    data: dict[str, Any] = {"hostname": initial_run.hostname, "ssh_pwauth": False}
    if initial_run.user_name:
        data["users"] = [_user(initial_run)]
    elif initial_run.ssh_authorized_keys:
        data["ssh_authorized_keys"] = list(initial_run.ssh_authorized_keys)
    return f"#cloud-config\n{_yaml(data)}"


def iso_image(vm_uid: UUID, initial_run: InitialRun) -> bytes:
    """The volume's bytes."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
    _add(iso, "META_DAT.;1", "meta-data", meta_data(vm_uid, initial_run))
    _add(iso, "USER_DAT.;1", "user-data", user_data(initial_run))
    written = io.BytesIO()
    iso.write_fp(written)
    iso.close()
    return written.getvalue()


def _user(initial_run: InitialRun) -> dict[str, Any]:
    return {
        "name": initial_run.user_name,
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "lock_passwd": True,
        "ssh_authorized_keys": list(initial_run.ssh_authorized_keys),
    }


def _add(iso: Any, short: str, name: str, text: str) -> None:
    content = text.encode()
    iso.add_fp(io.BytesIO(content), len(content), f"/{short}", rr_name=name, joliet_path=f"/{name}")


def _yaml(data: dict[str, Any]) -> str:
    return str(yaml.safe_dump(data, sort_keys=False, default_flow_style=False, allow_unicode=True, width=_NO_FOLDING))
