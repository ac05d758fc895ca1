"""What a diagnosis of a provider says to people: what was found, and what helps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from compute import diagnosis_ovirt
from portal.common.errors import Reason
from portal.hypervisors.findings import Finding

TITLES: dict[str, str | Promise] = {
    "name": _("Name"),
    "port": _("Port"),
    "host_key": _("Host key"),
    "tls": _("TLS"),
    "authentication": _("Log-in"),
    "version": _("Version"),
    "rights": _("Rights"),
    "accelerator": _("Accelerator"),
    "name_back": _("Name, there and back"),
    "clock": _("Clock"),
    "plain_port": _("Port without encryption"),
    "screens": _("Screens"),
    "virtualization": _("Virtualization"),
    "versions": _("Equal versions"),
    "migration": _("Ports between hosts"),
    "disk": _("Free space"),
    "neighbours": _("Names of the other hosts"),
    "database_port": _("Port of the database"),
    "broker_port": _("Port of the message broker"),
    "directory_port": _("Port of a directory"),
    "sealing": _("Sealing of templates"),
    "already": _("Connected already"),
}

# Beside a step that went well.
WELL: dict[str, str | Promise] = {
    "name": _("It resolves to %(addresses)s."),
    "port": _("It is open."),
    "host_key": _("The host shows the pinned key %(fingerprint)s."),
    "tls": _("The certificates are good on both sides."),
    "authentication": _("%(host)s let us in."),
    "version": _("%(product)s, libvirt %(api)s"),
    "rights": _("We may make things there; ours go into the storage domain %(storage_domain)s."),
    "accelerator": _("A machine ran on it."),
    "name_back": _("The name leads to %(addresses)s, and back."),
    "clock": _("It is right: %(skew_seconds)s s off."),
    "plain_port": _("Port 16509 is closed, as it should be."),
    "screens": _("They come by the connection itself: ports 5900 to 6923 can stay closed."),
    "virtualization": _("Machines run accelerated on %(host)s."),
    "versions": _("%(host)s runs %(version)s, as all hosts of its cluster do."),
    "disk": _("%(storage_domain)s: %(percent)s %% used."),
    "neighbours": _("It resolves %(names)s."),
    "database_port": _("%(host)s listens on port %(port)s."),
    "broker_port": _("%(host)s listens on port %(port)s."),
    "directory_port": _("%(host)s listens on port %(port)s."),
    "sealing": _("Templates of machines can be sealed: virt-sysprep was tried."),
}
# What was looked for and cannot be seen from here.
UNKNOWN = {"clock_unknown", "clock_not_told", "migration_unknown", "neighbours_unknown", "virtualization_unknown"}

# Each with its remedy.
FOUND: dict[str, tuple[str | Promise, str | Promise]] = {
    "address_invalid": (
        _("This is no address of a hypervisor."),
        _("Write it like qemu+ssh://user@host/system, qemu+tls://host/system or qemu:///system."),
    ),
    "address_scheme": (
        _("This way to a hypervisor is not known here."),
        _("Begin with qemu+ssh://, qemu+tls:// or qemu:///."),
    ),
    "address_parameters": (
        _("An address holds no parameters."),
        _("Leave out everything from the question mark on; keys and certificates have fields of their own."),
    ),
    "address_password": (_("An address holds no password."), _("Leave it out; log in with a key.")),
    "address_path": (_("An address ends with /system."), _("Write it like qemu+ssh://user@host/system.")),
    "address_local_host": (
        _("A local address names no host."),
        _("Write qemu:///system for this machine, or qemu+ssh://user@host/system for another."),
    ),
    "address_host": (_("The address names no host, or one that cannot be."), _("Write its name or IP address.")),
    "address_no_user": (_("The address names no user."), _("Write it like qemu+ssh://user@host/system.")),
    "address_user": (
        _("The user in the address cannot be."),
        _("Name one for qemu+ssh:// alone: letters, digits, '_', '-' and '.'."),
    ),
    "username_unused": (
        _("The user of a libvirt stands in its address."),
        _("Write it like qemu+ssh://user@host/system."),
    ),
    "address_tcp": (
        _("qemu+tcp:// has no encryption and no proof of who is there, so it is refused."),
        _("Use qemu+ssh:// or qemu+tls://. Whoever runs the portal can allow it by its settings."),
    ),
    "ssh_key_missing": (_("A private key is missing."), _("Paste the key whose public half the host knows.")),
    "client_key_missing": (_("A private key is missing."), _("Paste the key of the client certificate.")),
    "key_invalid": (_("This is no private key."), _("Paste the whole of it, its first and last line too.")),
    "key_passphrase": (
        _("The private key is locked by a passphrase."),
        _("Make one without for the portal, which keeps it sealed."),
    ),
    "host_key_invalid": (
        _("This is no host key."),
        _("Give its type and its base64, as a known_hosts file has them: ssh-ed25519 AAAA…"),
    ),
    "ca_missing": (_("The CA's certificate is missing."), _("Paste the one that signed the host's certificate.")),
    "certificate_invalid": (_("This is no certificate."), _("Paste it as PEM, its first and last line too.")),
    "client_certificate_missing": (
        _("The client certificate is missing."),
        _("Paste one that the host's CA signed for this portal."),
    ),
    "client_certificate_expired": (
        _("The client certificate was good until %(until)s."),
        _("Have the CA sign a new one."),
    ),
    "client_key_other": (
        _("The private key does not belong to the client certificate."),
        _("Paste the key that the certificate was made for."),
    ),
    "socket_missing": (
        _("There is no libvirt on the portal's machine."),
        _("Install and start it, or name another host in the address."),
    ),
    "socket_denied": (
        _("The portal may not use libvirt on its machine."),
        _("Put the portal's user into the group libvirt, and start the portal anew."),
    ),
    "socket_refused": (_("Libvirt does not run on the portal's machine."), _("Start it: systemctl start libvirtd")),
    "name_unknown": (
        _("The name %(host)s cannot be resolved."),
        _("Check its spelling and the portal's name servers, or use the IP address."),
    ),
    "port_closed": (
        _("Nothing listens on port %(port)s of %(host)s."),
        _("Start the service there, or put another port into the address."),
    ),
    "port_unreachable": (
        _("Port %(port)s of %(host)s cannot be reached."),
        _("Check that the host is up, and the firewalls between it and the portal."),
    ),
    "host_key_none": (
        _("Port %(port)s is open, and no SSH server answers there."),
        _("Check the port, and that the SSH server there is not stuck."),
    ),
    "host_key_unpinned": (
        _("The host shows the key %(fingerprint)s, which is not pinned yet."),
        _("Compare it with ssh-keygen -lf on the host itself, then pin it."),
    ),
    "host_key_other": (
        _("The host shows the key %(fingerprint)s, and %(pinned)s is pinned."),
        _("Somebody may stand in between. Pin the new key only when you know why it changed."),
    ),
    "tls_none": (_("The port is open, and does not speak TLS as libvirt does."), _("Check the port and listen_tls.")),
    "tls_expired": (_("The host's certificate has expired."), _("Have the CA sign a new one for the host.")),
    "tls_not_yet_valid": (
        _("The host's certificate is not valid yet."),
        _("Check the clocks of the host and of the portal."),
    ),
    "tls_other_host": (
        _("The host's certificate is not for %(host)s."),
        _("Use the name that it is for, or have one signed for this name."),
    ),
    "tls_other_ca": (
        _("The host's certificate was not signed by this CA."),
        _("Paste the certificate of the CA that signed it. If there is none, somebody may stand in between."),
    ),
    "tls_client_refused": (
        _("The host refuses the client certificate."),
        _("Have it signed by the CA that the host trusts, and look at tls_allowed_dn_list there."),
    ),
    "already_connected": (
        _("This hypervisor is already connected: %(name)s."),
        _("Change that provider instead: its machines and storage would be listed twice."),
    ),
    "denied": (
        _("The host refuses the log-in."),
        _("Check the user, and that the public half of the key is in its authorized_keys."),
    ),
    "no_answer": (
        _("The host is there, and its libvirt cannot be reached."),
        _("Check there that libvirtd runs, that the user may use it, and that netcat is installed."),
    ),
    "silent": (
        _("It took the connection and does not answer."),
        _("The service there seems to hang. Look at it, and start it anew."),
    ),
    "out_of_time": (
        _("The time for the whole test, %(seconds)s s, ran out at this step."),
        _("The steps before were slow. Look at the load of the host and at the way to it, and try again."),
    ),
    "version_too_old": (
        _("The engine's version %(version)s is too old: %(oldest)s is the oldest."),
        _("Bring it to a newer version, then connect it."),
    ),
    "version_old": (
        _("%(product)s, libvirt %(api)s: older than %(oldest)s, the oldest that was tried."),
        _("It may work all the same."),
    ),
    "rights_missing": (
        _("We may look and may not change anything."),
        _("Put the user into the group libvirt there."),
    ),
    "step_failed": (_("The hypervisor refused it."), _("The portal's log has the hypervisor's own words.")),
    "look_failed": (
        _("The portal met an error of its own at this step, so nothing is known of it."),
        _("The portal's log says which. Report it, and look at the hypervisor itself meanwhile."),
    ),
    "name_no_reverse": (
        _("The address %(address)s leads to no name."),
        _("Add it to the reverse zone of the name servers: hosts and certificates go by names."),
    ),
    "name_reverse_other": (
        _("The address %(address)s leads to the name %(name)s, which leads elsewhere."),
        _("Make both zones of the name servers say the same."),
    ),
    "neighbours_lacking": (
        _("It cannot resolve %(names)s."),
        _("Make the names of all hosts of the cluster known to each: by the name servers, or in /etc/hosts."),
    ),
    "neighbours_unknown": (
        _("Whether it resolves %(names)s cannot be seen."),
        _("Connect it over SSH as a user who may run getent there, or try getent hosts on the host itself."),
    ),
    "names_slow": (_("The name servers do not answer in time."), _("Look at the name servers that the portal uses.")),
    "clock_wrong": (
        _("Its clock is %(skew_seconds)s s off: certificates and log-ins fail with it."),
        _("Start a time service there and on the portal's machine (chrony), with the same servers."),
    ),
    "clock_skewed": (
        _("Its clock is %(skew_seconds)s s off."),
        _("Look at the time service there and on the portal's machine: both should follow the same servers."),
    ),
    "clock_unknown": (
        _("Its time cannot be seen: libvirt does not tell it, and there is no SSH to ask by."),
        _("Connect it over SSH, or look at its time service there."),
    ),
    "clock_not_told": (
        _("Its time cannot be seen: the user may not run date there."),
        _("Let the user run commands, or look at its time service there."),
    ),
    "plain_port_open": (
        _("Port %(port)s of %(host)s is open: whoever reaches it without proof of who he is owns the host."),
        _("Set listen_tcp = 0 in its libvirtd.conf, or close the port in its firewall."),
    ),
    "plain_port_used": (
        _("The portal itself uses it."),
        _("Connect over SSH or TLS, and close the port."),
    ),
    "virtualization_off": (
        _("Machines on %(host)s are emulated, and slow."),
        _("Switch virtualization on in the host's firmware, and give its libvirt /dev/kvm."),
    ),
    "virtualization_unknown": (_("%(host)s has not been tried yet."), _("Test the connection of its provider.")),
    "host_versions_differ": (
        _("%(host)s runs %(version)s, and others of the cluster %(cluster)s do not: %(others)s."),
        _("Bring them to the same version."),
    ),
    "migration_unknown": (
        _("Whether machines can move from and to %(others)s cannot be seen from here: nothing listens until one does."),
        _("Let the hosts reach each other on ports %(ports)s."),
    ),
    "disk_none": (
        _("No storage domain is active."),
        _("Start one on the hypervisor: no machine has a place until then."),
    ),
    "disk_inactive": (
        _("%(storage_domain)s is not active."),
        _("Start it on the hypervisor, or take it back from data centers."),
    ),
    "disk_full": (
        _("%(storage_domain)s: %(percent)s %% used. Machines in it stop when nothing is left."),
        _("Free space, or give it more."),
    ),
    "disk_almost_full": (_("%(storage_domain)s: %(percent)s %% used."), _("Free space soon, or give it more.")),
    "screens_need_ssh": (
        _("Screens of machines on this hypervisor cannot be reached: they listen on its own loopback alone."),
        _("A super-admin can connect it over SSH (qemu+ssh://), which reaches them."),
    ),
    "sealing_off": (
        _("Templates of machines are not sealed: it is switched off."),
        _("Set SYSPREP_FOLDER in the environment."),
    ),
    "sealing_programs_missing": (
        _("Templates of machines cannot be sealed: virt-sysprep is not on the portal's machine."),
        _("Install guestfs-tools (apt-get install --no-install-recommends guestfs-tools), and check again."),
    ),
    "sealing_kernel_missing": (
        _("Templates of machines cannot be sealed: there is no kernel that the portal may read."),
        _(
            "Install linux-image-cloud-amd64 and let the portal's user read /boot/vmlinuz-*, or name one by SYSPREP_KERNEL."
        ),
    ),
    "sealing_fails": (
        _("Templates of machines cannot be sealed: virt-sysprep's own small machine does not start."),
        _("The worker's log says why, with KVM and without; mend that, and check again."),
    ),
    "emulated": (
        _("Machines are emulated, and slow."),
        _("Switch virtualization on in the host's firmware, and give its libvirt /dev/kvm."),
    ),
}

# What is said in other words of one kind of provider: beside what went well, and of what was found.
OF_KIND = {"ovirt": (diagnosis_ovirt.WELL, diagnosis_ovirt.FOUND)}

# What is to be compared and pinned at the first connection.
DECISIONS = {"ca_unpinned", "host_key_unpinned"}
COMMANDS = (diagnosis_ovirt.SHOW_CA,)


@dataclass(frozen=True, slots=True)
class Told:
    """A step of a diagnosis in words."""

    step: str
    title: str
    status: str  # "ok", "warning", "failed" or "unknown"
    code: str
    text: str
    remedy: str
    data: dict[str, str] = field(default_factory=dict)

    @property
    def is_decision(self) -> bool:
        """Whether nothing is wrong, and whoever connects it has to compare and decide."""
        return self.code in DECISIONS

    @property
    def command(self) -> str:
        """What to type on the host for the remedy, which ends with it."""
        return next((one for one in COMMANDS if self.remedy.endswith(one)), "")

    @property
    def advice(self) -> str:
        """The remedy without the command."""
        return self.remedy.removesuffix(self.command).rstrip()


def told(found: Sequence[Finding], kind: str = "") -> tuple[Told, ...]:
    """The steps of a diagnosis, for people, as they are said of this kind of provider."""
    return tuple(_told(finding, kind) for finding in found)


def reason(finding: Finding, kind: str = "") -> Reason:
    """A refused input, with the field it is about."""
    one = _told(finding, kind)
    return Reason(one.code, f"{one.text} {one.remedy}", finding.step)


def _told(finding: Finding, kind: str) -> Told:
    title = str(TITLES.get(finding.step, finding.step))
    own_well, own_found = OF_KIND.get(kind, ({}, {}))
    if not finding.code:
        well = str(own_well.get(finding.step) or WELL[finding.step])
        text = well if finding.data or "%(" not in well else ""
        return Told(finding.step, title, "ok", "", text % finding.data, "", finding.data)
    what, remedy = own_found.get(finding.code) or FOUND[finding.code]
    status = "warning" if finding.is_warning else "unknown" if finding.code in UNKNOWN else "failed"
    return Told(
        finding.step, title, status, finding.code, str(what) % finding.data, str(remedy) % finding.data, finding.data
    )
