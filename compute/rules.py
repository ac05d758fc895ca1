"""The rules of machines. Pure: arguments in, all reasons out, in words a user can act on."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from compute.choices import RUNNING
from portal.common.errors import Reason
from portal.common.units import mib_text
from portal.hypervisors.specs import VolumeFound

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
TITLE = re.compile(r"[A-Za-z0-9_.+-]([A-Za-z0-9_.+ -]{0,62}[A-Za-z0-9_.+-])?")
HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
SSH_KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com) "
    r"[A-Za-z0-9+/]{20,1400}={0,2}( [A-Za-z0-9@._+-]{1,100})?"
)
LONGEST_DESCRIPTION = 2000
MOST_KEYS = 10
MEMORY_MIB = (64, 1024 * 1024)
VCPUS = (1, 240)
LONGEST_NOTE = 500
# What a file's name ends with that is no raw disk: other formats of images, and what is packed.
NOT_RAW = frozenset(
    [
        "qcow2",
        "qcow",
        "qed",
        "vmdk",
        "vdi",
        "vhd",
        "vhdx",
        "ova",
        "ovf",
        "gz",
        "xz",
        "zst",
        "bz2",
        "lz4",
        "zip",
        "7z",
        "tar",
    ]
)
ICONS = ("device-desktop", "server", "database", "terminal-2", "brand-debian", "brand-ubuntu", "brand-apple",
         "brand-redhat", "brand-windows", "brand-docker", "flask", "school")  # fmt: skip
MAC_PREFIX = "52:54:00"

# What can be cut off; while it is saved or restored an engine lets nobody at it.
_RUNS = RUNNING - {"saving_state", "restoring_state", "unknown"}
LEGAL: dict[str, frozenset[str]] = {
    "run": frozenset({"down", "paused", "suspended"}),
    "shut_down": _RUNS,
    "stop": _RUNS | {"suspended"},
    "reboot": frozenset({"powering_up", "up"}),
    "delete": frozenset({"down"}),
    "connect": frozenset({"powering_up", "up", "reboot_in_progress", "powering_down", "paused"}),
}
"""Which verb is legal in which status: oVirt's action matrix (engine class ``ActionUtils``) with what its commands check.

Narrower than that in one place: an engine takes ``shut_down`` of a suspended machine and discards its memory, for no guest
is there to be asked. Who asks gently does not mean that: here it is run, or stopped.
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a machine is to have, and what its template needs at least."""

    memory_mib: int
    vcpus: int
    memory_min_mib: int


def gib_of(size_bytes: int) -> int:
    """What bytes cost in the unit of storage: each begun GiB counts."""
    return -(-size_bytes // 1024**3)


def name_reasons(name: str) -> list[Reason]:
    """Why this is no name for a machine."""
    if isinstance(name, str) and NAME.fullmatch(name) and name not in {".", ".."}:
        return []
    return [Reason("name_invalid", _("A name has 1 to 64 characters: letters A-Z, digits, '-', '_' and '.'."), "name")]


def title_reasons(title: str) -> list[Reason]:
    """Why this is no name for an image or a template; blanks within are allowed."""
    if isinstance(title, str) and TITLE.fullmatch(title) and title.strip("."):
        return []
    text = _("A name has 1 to 64 characters: letters A-Z, digits, '-', '_', '.', '+' and blanks within.")
    return [Reason("name_invalid", text, "name")]


def raw_doubt(name: str) -> str:
    """Why what was taken for a raw disk, which any bytes can be, may be none: its name says something else."""
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    if suffix not in NOT_RAW:
        return ""
    text = _(
        "The name says %(said)s, but the content is not: it was taken for a raw disk, and its machines may not start."
    )
    return text % {"said": suffix}


def text_reasons(description: str) -> list[Reason]:
    """Why this is no description."""
    if len(description) > LONGEST_DESCRIPTION:
        return [
            Reason(
                "description_too_long",
                _("A description has at most %(most)d characters.") % {"most": LONGEST_DESCRIPTION},
                "description",
                {"limit": LONGEST_DESCRIPTION},
            )
        ]
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", description):
        return [
            Reason("description_characters", _("A description holds text only, no control characters."), "description")
        ]
    return []


def size_reasons(sizes: Sizes) -> list[Reason]:
    """Why these sizes cannot be."""
    found = []
    low = max(MEMORY_MIB[0], sizes.memory_min_mib)
    if not low <= sizes.memory_mib <= MEMORY_MIB[1]:
        found.append(
            Reason(
                "memory_out_of_range",
                _("Memory is between %(low)d and %(high)d MiB for this template.")
                % {"low": low, "high": MEMORY_MIB[1]},
                "memory_mib",
                {"minimum": low, "maximum": MEMORY_MIB[1]},
            )
        )
    if not VCPUS[0] <= sizes.vcpus <= VCPUS[1]:
        found.append(
            Reason(
                "vcpus_out_of_range",
                _("A machine has between %(low)d and %(high)d vCPUs.") % {"low": VCPUS[0], "high": VCPUS[1]},
                "vcpus",
                {"minimum": VCPUS[0], "maximum": VCPUS[1]},
            )
        )
    return found


def volume_reasons(volume: VolumeFound) -> list[Reason]:
    """Why a volume that was found cannot be copied into a template; what is in it is looked at later."""
    found = []
    if volume.uid is not None:
        found.append(Reason("volume_ours", _("It is a disk of this portal's own.")))
    if volume.format not in {"qcow2", "raw"}:
        text = _("Its format is %(format)s; only qcow2 and raw can be copied.") % {"format": volume.format or "?"}
        found.append(Reason("volume_format", text))
    if volume.has_base:
        found.append(
            Reason("volume_has_base", _("It lies over another volume. Copy it to one that stands alone first."))
        )
    if volume.in_use:
        text = _("A machine runs with it: %(names)s. Shut it down first.") % {"names": ", ".join(volume.users)}
        found.append(Reason("volume_in_use", text, data={"machines": list(volume.users)}))
    return found


def offer_reasons(volume: VolumeFound, users: Iterable[str]) -> list[Reason]:
    """Why a volume cannot be offered to a department: it may hold what is another's. ``users``: on every hypervisor that has it."""
    found = [reason for reason in volume_reasons(volume) if reason.code != "volume_in_use"]
    if names := sorted(users):
        text = _(
            "It is a disk of a machine: %(names)s. Only what no machine has, not even one that is off, is offered."
        )
        found.append(Reason("volume_has_machine", text % {"names": ", ".join(names)}, data={"machines": names}))
    if volume.is_other_portals:
        found.append(Reason("volume_other_portals", _("It bears the mark of another portal's disks.")))
    return found


def template_reasons(**traits: Any) -> list[Reason]:
    """Why these traits of a template cannot be (see ``services.templates.TemplateTraits``)."""
    found = title_reasons(traits["name"]) + _note_reasons(traits["description"])
    if traits["icon"] not in ICONS:
        text = _("Choose one of these icons: %(icons)s.") % {"icons": ", ".join(ICONS)}
        found.append(Reason("icon_unknown", text, "icon"))
    low, high = MEMORY_MIB
    for name, least in (("memory_min_mib", low), ("memory_mib", max(low, traits["memory_min_mib"]))):
        if not least <= traits[name] <= high:
            text = _memory_text(name, traits[name], least_mib=least)
            found.append(Reason("memory_out_of_range", text, name, {"minimum": least, "maximum": high}))
    sizes = Sizes(high, traits["vcpus"], low)
    return found + size_reasons(sizes)


def _memory_text(field: str, mib: int, *, least_mib: int) -> str:
    low, high = MEMORY_MIB
    if field == "memory_min_mib":
        return _("Least memory is between %(low)d and %(high)d MiB here.") % {"low": low, "high": high}
    if low <= mib < least_mib <= high:
        text = _("Memory is at least the least memory, which is %(least)d MiB: raise this, or lower that.")
        return text % {"least": least_mib}
    return _("Memory is between %(low)d and %(high)d MiB here.") % {"low": low, "high": high}


def least_memory_reasons(least_mib: int, *, memory_mib: int) -> list[Reason]:
    """Why an engine's template, whose memory is not ours to judge, cannot have this for the least of its machines."""
    low, high = MEMORY_MIB[0], max(MEMORY_MIB[0], memory_mib)
    if not high < least_mib <= MEMORY_MIB[1]:
        return []
    text = _("Least memory is between %(low)d and %(high)d MiB here.") % {"low": low, "high": high}
    return [Reason("memory_out_of_range", text, "memory_min_mib", {"minimum": low, "maximum": high})]


def _note_reasons(text: str) -> list[Reason]:
    if len(text) <= LONGEST_NOTE:
        return text_reasons(text)
    said = _("A description has at most %(most)d characters.") % {"most": LONGEST_NOTE}
    return [Reason("description_too_long", said, "description", {"limit": LONGEST_NOTE})]


def initial_run_reasons(hostname: str, user_name: str, keys: Iterable[str]) -> list[Reason]:
    """Why these first-boot data cannot be; nothing but plain names and well-formed public keys gets through."""
    found = []
    if not HOSTNAME.fullmatch(hostname):
        text = _("A host name has 1 to 63 letters, digits and '-', and neither starts nor ends with '-'.")
        found.append(Reason("hostname_invalid", text, "initial_run.hostname"))
    keys = tuple(keys)
    return found + _user_name_reasons(user_name, is_wanted=bool(keys)) + _key_reasons(keys)


def _user_name_reasons(user_name: str, *, is_wanted: bool) -> list[Reason]:
    found = []
    if user_name and not USER_NAME.fullmatch(user_name):
        text = _("A user name has 1 to 32 lower-case letters, digits, '-' and '_', and starts with a letter or '_'.")
        found.append(("user_name_invalid", text))
    if user_name == "root":
        found.append(("user_name_reserved", _("Choose another user name: root is the system's own.")))
    if is_wanted and not user_name:
        found.append(("user_name_missing", _("Name the user who logs in with the SSH key.")))
    return [Reason(code, text, "initial_run.user_name") for code, text in found]


def _key_reasons(keys: tuple[str, ...]) -> list[Reason]:
    found, field = [], "initial_run.ssh_authorized_keys"
    if len(keys) > MOST_KEYS:
        text = _("At most %(most)d SSH keys.") % {"most": MOST_KEYS}
        found.append(Reason("too_many_keys", text, field, {"limit": MOST_KEYS}))
    if not all(SSH_KEY.fullmatch(key) for key in keys):
        text = _("An SSH key is one line of an OpenSSH public key file, such as the one in ~/.ssh/id_ed25519.pub.")
        found.append(Reason("ssh_key_invalid", text, field))
    return found


@dataclass(frozen=True, slots=True)
class HostRoom:
    """The memory of a host: what it has, how much of that may be promised, and what running machines were given.

    ``host`` is empty for those who may not know its name.
    """

    host: str
    physical_mib: int
    overcommit_percent: int
    running_mib: int

    @property
    def effective_mib(self) -> int:
        """What machines may be given in all."""
        return self.physical_mib * self.overcommit_percent // 100

    @property
    def free_mib(self) -> int:
        """What they may still be given; 0 and below: nothing."""
        return self.effective_mib - self.running_mib


def memory_reasons(room: HostRoom, wanted_mib: int) -> list[Reason]:
    """Why a machine of this size has no room on a host. A host whose memory is not known refuses nobody."""
    if not room.physical_mib or wanted_mib <= room.free_mib:
        return []
    figures: dict[str, Any] = {
        "physical_mib": room.physical_mib,
        "effective_mib": room.effective_mib,
        "running_mib": room.running_mib,
        "requested_mib": wanted_mib,
    }
    words = {
        "physical": mib_text(room.physical_mib),
        "effective": mib_text(room.effective_mib),
        "running": mib_text(room.running_mib),
        "wanted": mib_text(wanted_mib),
    }
    if not room.host:
        text = _(
            "No host has memory for it: the best has %(physical)s, of which machines may be given %(effective)s; those "
            "that run have %(running)s, and this one wants %(wanted)s. Stop a machine, or ask an administrator for more."
        )
        return [Reason("no_memory", text % words, "memory_mib", figures)]
    text = _(
        "No host has memory for it: %(host)s has %(physical)s, of which machines may be given %(effective)s; those that "
        "run have %(running)s, and this one wants %(wanted)s. Stop a machine, or ask an administrator for more."
    )
    return [Reason("no_memory", text % (words | {"host": room.host}), "memory_mib", {"host": room.host} | figures)]


def verb_reasons(verb: str, status: str, *, status_text: str, is_absent: bool) -> list[Reason]:
    """Why this verb is not legal in this status. A machine that its hypervisor does not have can only be deleted."""
    if status in LEGAL[verb] or (is_absent and verb == "delete"):
        return []
    if verb == "delete" and status not in {"creating", "unknown", "image_locked"}:
        text = _("Stop the machine before you delete it; it is %(status)s.")
    elif verb == "connect" and status != "unknown":
        text = _("A machine has a screen while it runs; this one is %(status)s.")
    elif is_absent:
        text = _(
            "The hypervisor does not have this machine any more. Delete it, or ask an administrator to look for it."
        )
    elif status == "unknown":
        text = _(
            "The hypervisor has not been heard of for a while, so what the machine does is unknown. Try again when it is back."
        )
    else:
        text = _("Not while the machine is %(status)s.")
    return [
        Reason("status", text % {"status": status_text}, data={"status": status, "allowed_in": sorted(LEGAL[verb])})
    ]


ENDING = frozenset({"shut_down", "stop", "reboot", "delete", "unadopt"})
"""The verbs that end what others may depend on: on a protected machine they want a super-admin who types its name."""


def protection_reasons(verb: str, name: str, *, protected: bool, is_super_admin: bool, confirm: str) -> list[Reason]:
    """Why this verb is not done on a protected machine."""
    if not protected or verb not in ENDING or (is_super_admin and confirm == name):
        return []
    if not is_super_admin:
        text = _("This machine is protected: others depend on it. Ask a super-admin.")
        return [Reason("protected", text)]
    text = _("This machine is protected. Type its name, %(name)s, to confirm.") % {"name": name}
    return [Reason("confirmation_missing", text, "confirm")]


def adopted_reasons(verb: str, *, adopted: bool) -> list[Reason]:
    """Why a machine that was found here is not deleted."""
    if verb != "delete" or not adopted:
        return []
    text = _(
        "This machine was adopted, not made here, so the portal does not delete it. Super-admins can let go of it: Give back."
    )
    return [Reason("adopted", text)]


def protocol_reasons(protocol: str, *, offered: tuple[str, ...]) -> list[Reason]:
    """Why a machine has no console of this protocol."""
    if protocol in offered:
        return []
    text = _("This machine has no console of the protocol %(protocol)s; it has: %(offered)s.") % {
        "protocol": protocol,
        "offered": ", ".join(offered) or _("none"),
    }
    return [Reason("protocol_unsupported", text, "protocol", {"offered": list(offered)})]


def provider_name(name: str, uid_hex: str) -> str:
    """The name a hypervisor knows a machine by: unique there, and telling nothing of other departments' names."""
    return f"{name[:50]}-{uid_hex[:8]}"


def adopted_name(name: str, *, taken: Container[str]) -> str:
    """The name a machine that was found gets here: its own as far as our rules allow, with a number where it is taken."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-")[:58] or "vm"
    number = 2
    found = plain
    while found in taken:
        found, number = f"{plain}-{number}", number + 1
    return found


def mac_of(uid_hex: str) -> str:
    """A MAC address from a NIC's uid, in QEMU's range."""
    return ":".join((MAC_PREFIX, uid_hex[0:2], uid_hex[2:4], uid_hex[4:6]))


def default_hostname(name: str) -> str:
    """A host name made from a machine's name."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-")[:63].strip("-").lower() or "vm"
