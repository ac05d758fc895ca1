"""What a diagnosis says of an oVirt engine, where it is not what is said of every provider. Pure."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

# On the engine: the fingerprint of its CA.
SHOW_CA = "openssl x509 -noout -fingerprint -sha256 -in /etc/pki/ovirt-engine/ca.pem"

WELL: dict[str, str | Promise] = {
    "tls": _("Its certificate is good by the pinned CA %(fingerprint)s."),
    "version": _("%(product)s, API %(api)s"),
    "rights": _("%(user)s has every permit that the portal needs."),
}

FOUND: dict[str, tuple[str | Promise, str | Promise]] = {
    "address_invalid": (
        _("This is no address of an engine."),
        _("Write it like https://engine.example/ovirt-engine/api."),
    ),
    "address_scheme": (
        _("The address of an engine begins with https://."),
        _("Write it like https://engine.example/ovirt-engine/api."),
    ),
    "address_https": (
        _("http:// has no encryption and no proof of who is there, so it is refused."),
        _("Write it like https://engine.example/ovirt-engine/api."),
    ),
    "address_parameters": (
        _("An address holds no parameters."),
        _("Leave out everything from the question mark on."),
    ),
    "address_password": (
        _("An address holds no user and no password."),
        _("Leave them out; both have fields of their own."),
    ),
    "address_path": (
        _("The address of an engine's API ends with /ovirt-engine/api."),
        _("Write it like https://engine.example/ovirt-engine/api."),
    ),
    "username_missing": (_("The user name is missing."), _("Write it with its profile, like portal@internal.")),
    "username_invalid": (
        _("This is no user name of an engine."),
        _("Write it with its profile, like portal@internal: 255 characters at most."),
    ),
    "username_profile": (
        _("The user name has no profile."),
        _("Write it with the one that the engine's log-in page offers, like portal@internal."),
    ),
    "password_missing": (
        _("The password is missing."),
        _("Type that of the service account. One that is stored goes to no other address, user name or CA."),
    ),
    "certificate_invalid": (
        _("This is no certificate."),
        _("Paste it as PEM, its first and last line too, or leave it empty: the engine's own is shown to be compared."),
    ),
    "ca_expired": (
        _("The CA's certificate was good until %(until)s."),
        _("Paste a new one, or leave it empty: the engine's own is shown to be compared."),
    ),
    "ca_unpinned": (
        _("The engine gives the CA %(fingerprint)s, which is not pinned yet."),
        _(
            "Compare it on the engine itself, then pin it: openssl x509 -noout -fingerprint -sha256 -in /etc/pki/ovirt-engine/ca.pem"
        ),
    ),
    "ca_other": (
        _("The engine shows a certificate by the CA %(fingerprint)s, and %(pinned)s is pinned."),
        _("Somebody may stand in between. Pin the other CA only when you know why it changed."),
    ),
    "certificate_other": (
        _("The engine shows the certificate %(fingerprint)s, for which the pinned CA %(pinned)s does not vouch."),
        _("Somebody may stand in between. Paste the CA that signed it only when you know why it changed."),
    ),
    "ca_not_signer": (
        _("Another CA than the engine's own, %(fingerprint)s, signed the certificate that it shows."),
        _(
            "Paste the certificate of the CA that signed it, and below it the engine's own (/etc/pki/ovirt-engine/ca.pem), which vouches for the screens of its hosts."
        ),
    ),
    "ca_none": (
        _("The engine gives no certificate of its CA."),
        _("Check that an engine listens there, or paste the CA: /etc/pki/ovirt-engine/ca.pem on the engine."),
    ),
    "tls_none": (
        _("The port is open, and does not speak TLS."),
        _("Check the port: an engine listens for https:// on 443, unless it was set up otherwise."),
    ),
    "tls_expired": (
        _("The engine's certificate, or that of its CA, has expired."),
        _("Renew it on the engine: engine-setup --offline"),
    ),
    "tls_not_yet_valid": (
        _("The engine's certificate is not valid yet."),
        _("Check the clocks of the engine and of the portal."),
    ),
    "tls_other_host": (
        _("The engine's certificate is not for %(host)s."),
        _("Use the name that it is for, or give the engine this name too by its rename tool."),
    ),
    "denied": (
        _("The engine refuses the log-in."),
        _("Check the user name, its profile and the password, and that the account is neither locked nor expired."),
    ),
    "no_answer": (
        _("Something listens there, and no engine answers."),
        _("Check the address, and on the engine that its service runs: systemctl status ovirt-engine"),
    ),
    "rights_missing": (
        _("The account may log in, and may not look at what the engine has."),
        _("Give it a role of the type admin on the engine, like SuperUser or one of your own."),
    ),
    "permits_missing": (
        _("%(user)s lacks permits: %(permits)s."),
        _("Give it a role of the type admin that has them, on the system or on the data centers that it is to use."),
    ),
    "permits_unknown": (
        _("What %(user)s may do there cannot be seen."),
        _("It may work all the same: what it may not do, the engine will refuse."),
    ),
    "clock_not_told": (
        _("Its answers tell no time."),
        _("Look at the time service of the engine."),
    ),
}
