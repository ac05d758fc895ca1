"""``manage.py make_demo``: the demo institute, by the same services as the pages use. Safe to run again."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from compute.models import Template
from compute.services.providers import ProviderEdit, connect_provider, edit_provider, own_storage, share_out
from compute.services.templates import TemplateRequest, import_template
from network.models import Network
from network.services import create_network, free_range
from portal.common.actor import Actor, system_actor
from portal.common.errors import PortalError
from portal.hypervisors.models import Provider
from portal.jobs.engine import run_to_end
from portal.jobs.models import Job
from portal.jobs.states import JobStatus
from tenants import policy, quota
from tenants.models import DataCenter, User
from tenants.models.quota import Dimension
from tenants.roles import sync_roles
from tenants.services.data_centers import create_data_center
from tenants.services.users import create_user

TEMPLATE = "Tiny Linux"
ENGINE = "engine"
DEPARTMENTS = {"physics": ("alice", "bob"), "informatics": ("charlie", "dora")}
LIMITS = {
    Dimension.MACHINES: 10,
    Dimension.VCPUS_RUNNING: 8,
    Dimension.MEMORY_RUNNING_MIB: 2048,
    Dimension.STORAGE_GIB: 20,
}
OWN_LIMITS = {Dimension.MACHINES: 5, Dimension.VCPUS_RUNNING: 4}


class Command(BaseCommand):
    requires_system_checks = ()  # a worker makes them at each start; here they would cost more than the start itself
    help = (
        "Make the demo: a local libvirt provider, two data centers with their people, networks, quotas and a template."
    )

    def add_arguments(self, parser: Any) -> None:
        """Where the image is, and where the log-ins go."""
        parser.add_argument("--image", help="the qcow2 image of Tiny Linux (not needed with --no-demo)")
        parser.add_argument("--passwords-out", required=True, help="a file for the log-ins, readable by its owner only")
        parser.add_argument("--address", default="qemu:///system", help="the provider's address")
        parser.add_argument("--kind", default="libvirt", help="the provider's kind")
        parser.add_argument("--no-demo", action="store_true", help="only a super-admin")
        parser.add_argument("--engine", help="the address of an engine, shared out to both data centers as well")
        parser.add_argument("--engine-user", default="portal@internal", help="who logs in there, with the profile")
        parser.add_argument("--engine-password-file", help="a file with that account's password")
        parser.add_argument("--engine-ca", help="the engine's CA (PEM)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make what is missing; log-ins are written as soon as they exist."""
        self.logins = _read(Path(options["passwords_out"]))
        self.out = Path(options["passwords_out"])
        actor = system_actor()
        sync_roles()
        try:
            admin = self._user(actor, "admin", "super-admin", "")
            policy.grant(actor, "super-admin", admin, policy.system())
            if not options["no_demo"]:
                self._demo(actor, options)
        except PortalError as error:
            raise CommandError(str(error.detail)) from error

    def _demo(self, actor: Actor, options: dict[str, Any]) -> None:
        provider = Provider.objects.filter(name="local").first()
        if provider is None:
            self.stdout.write("connecting the local hypervisor")
            provider = connect_provider(actor, name="local", kind=options["kind"], address=options["address"])
        template = self._template(actor, provider, options)
        for name, people in DEPARTMENTS.items():
            self.stdout.write(f"data center {name}")
            self._department(actor, name, people, provider=provider, template=template)
        if options["engine"]:
            self._share_engine(actor, self._engine(actor, options))

    def _engine(self, actor: Actor, options: dict[str, Any]) -> Provider:
        """Connected, or brought to where it is now."""
        if not options["engine_ca"] or not options["engine_password_file"]:
            raise CommandError(
                "Name the engine's CA and the file with the password: --engine-ca, --engine-password-file."
            )
        given = {
            "address": options["engine"],
            "username": options["engine_user"],
            "ca_pem": Path(options["engine_ca"]).read_text(),
            "secrets": {"password": Path(options["engine_password_file"]).read_text().rstrip("\n")},
        }
        row = Provider.objects.filter(name=ENGINE).first()
        self.stdout.write("connecting the engine")
        if row is None:
            return connect_provider(actor, name=ENGINE, kind="ovirt", **given)
        return edit_provider(actor, row.pk, ProviderEdit(**given))

    def _share_engine(self, actor: Actor, provider: Provider) -> None:
        """What it has to both data centers, so that their people have machines of two providers under one quota."""
        if not provider.clusters.exists():
            raise CommandError("The engine was connected, and what it has could not be read. Look at its log.")
        templates = tuple(Template.objects.filter(provider=provider, name=TEMPLATE, status="ok"))
        for name in DEPARTMENTS:
            share_out(actor, DataCenter.objects.get(name=name), provider=provider, templates=templates)

    def _template(self, actor: Actor, provider: Provider, options: dict[str, Any]) -> Template:
        template = Template.objects.filter(owner=None, provider=None, name=TEMPLATE, status="ok").first()
        if template is not None:
            return template
        if not options["image"]:
            raise CommandError("Name the image with --image.")
        self.stdout.write(f"template {TEMPLATE}")
        path = Path(options["image"])
        request = TemplateRequest(
            TEMPLATE, path, own_storage(provider), 1, 192, 128, "Boots in seconds; log in with your SSH key."
        )
        template, job = import_template(actor, request)
        _finish(job)
        template.refresh_from_db()
        return template

    def _department(
        self, actor: Actor, name: str, people: tuple[str, ...], *, provider: Provider, template: Template
    ) -> None:
        data_center = DataCenter.objects.filter(name=name).first() or create_data_center(actor, name=name)
        share_out(actor, data_center, provider=provider, templates=(template,))
        if not Network.objects.filter(owner=data_center).exists():
            _network, job = create_network(
                actor,
                data_center,
                provider=provider,
                name=name,
                cidr=free_range(provider),
            )
            _finish(job)
        quota.set_limits(data_center, LIMITS)
        admin = self._user(actor, f"{name}-admin", "data-center-admin", name)
        policy.grant(actor, "data-center-admin", admin, data_center)
        for person in people:
            user = self._user(actor, person, "end-user", name)
            policy.grant(actor, "end-user", user, data_center)
            quota.set_limits(data_center, OWN_LIMITS, user_uid=user.pk)

    def _user(self, actor: Actor, username: str, rank: str, data_center: str) -> User:
        user = User.objects.filter(username=username).first()
        if user is not None:
            return user
        password = secrets.token_urlsafe(12)
        user = create_user(
            actor, username=username, password=password, display_name=username.replace("-", " ").capitalize()
        )
        self.logins.append({"rank": rank, "username": username, "password": password, "data_center": data_center})
        _write(self.out, self.logins)
        return user


def _read(path: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(path.read_text()) if path.exists() else []
    return found


def _write(path: Path, logins: list[dict[str, str]]) -> None:
    scratch = path.with_suffix(".new")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(logins, file)
    scratch.replace(path)


def _finish(job: Job) -> None:
    ended = run_to_end(job.pk, timeout=180)
    if ended.status != JobStatus.FINISHED:
        raise CommandError(f"{job.operation} {job.target_name}: {ended.error.get('text', ended.status)}")
