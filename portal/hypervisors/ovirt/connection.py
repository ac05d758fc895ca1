"""One connection to an engine: logged in by the first call, its token renewed when it ran out, given back at the end.

When it breaks its driver is replaced by a new one (``portal.hypervisors.lanes``), so nothing here tries again, but for one
thing: what was refused for its token is sent once more with a new one, for it was not carried out.
"""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import urlencode, urlsplit

import ovirtsdk4
from lxml import etree
from ovirtsdk4 import http

from portal.hypervisors.errors import HypervisorError, Invalid, TooOld, Unavailable
from portal.hypervisors.ovirt import failures
from portal.hypervisors.ovirt.failures import Garbled, LogInRefused, Page, calling
from portal.hypervisors.ovirt.transport import ANSWER_SECONDS, Answer, Broken, Transport
from portal.hypervisors.specs import Connection, Marker

log = logging.getLogger(__name__)

OLDEST = (4, 3)
SSO = "/ovirt-engine/sso/oauth/token"
REVOKE = "/ovirt-engine/services/sso-logout"
SSO_SECONDS = 10
CLOSE_SECONDS = 3
MOST = 100_000.0
_XML = {"application/xml", "text/xml"}
# Of an answer, ends included: real ones have some 30 bytes to each, and a tree takes a hundred for whatever is small.
MOST_TAGS = 4_000_000


class Engine(ovirtsdk4.Connection):  # type: ignore[misc]
    """The SDK's connection over a transport of ours; what its services do is theirs."""

    def __init__(self, connection: Connection, *, seconds: float = ANSWER_SECONDS) -> None:
        super().__init__(url=connection.address.rstrip("/"), token="", timeout=seconds)
        self._given = connection
        self._seconds = seconds
        self._transport = Transport(connection.ca_pem)
        self._bearer = ""

    def send(self, request: http.Request) -> http.Request:
        """The SDK's first half of a call; everything is in the second."""
        return request

    def wait(self, context: http.Request, failed_auth: bool = False) -> http.Response:  # noqa: FBT001, FBT002 - the SDK's
        """Send a request and read its answer."""
        answer = self._asked(context)
        if answer.code == 401 and not failed_auth:
            self._bearer = ""
            answer = self._asked(context)
        _refuse_what_no_engine_says(context.method, answer)
        return http.Response(answer.body, answer.code, answer.headers, answer.message)

    def authenticate(self) -> str:
        """A token, asked for where there is none."""
        if not self._bearer:
            self._bearer = self._token()
        return self._bearer

    def close(self, logout: bool = True) -> None:  # noqa: FBT001, FBT002 - the SDK's
        """End the session on the engine, and the connection."""
        try:
            if logout and self._bearer:
                self._sso(REVOKE, {"scope": "ovirt-app-api", "token": self._bearer}, seconds=CLOSE_SECONDS)
        finally:
            self._transport.close()
            super().close(logout=False)

    def _asked(self, request: http.Request) -> Answer:
        headers = [
            f"Authorization: Bearer {self.authenticate()}",
            "Version: 4",
            "Accept: application/xml",
            "Content-Type: application/xml",
            *(f"{name}: {value}" for name, value in request.headers.items() if value is not None),
        ]
        url = self._build_url(request.path, request.query)
        body = (request.body or "").encode()
        return self._transport.ask(request.method, url, headers=headers, body=body, seconds=self._seconds)

    def _token(self) -> str:
        password = self._given.secrets.get("password", "")
        asked = {"grant_type": "password", "scope": "ovirt-app-api"}
        said = self._sso(SSO, asked | {"username": self._given.username, "password": password}, seconds=SSO_SECONDS)
        token = said.get("access_token")
        if not isinstance(token, str) or not token:
            raise LogInRefused(str(said.get("error_code") or said.get("error") or "no token"))
        return token

    def _sso(self, path: str, form: dict[str, str], *, seconds: float) -> dict[str, Any]:
        """A log-in changes nothing: one that was not answered may be tried again."""
        at = urlsplit(self.url)
        headers = ["Accept: application/json", "Content-Type: application/x-www-form-urlencoded"]
        try:
            answer = self._transport.ask(
                "POST",
                f"{at.scheme}://{at.netloc}{path}",
                headers=headers,
                body=urlencode(form).encode(),
                seconds=seconds,
            )
        except Broken as error:
            raise Broken(f"log-in: {error}", was_sent=False, mutates=False, is_tls=error.is_tls) from error
        try:
            said = json.loads(answer.body)
        except ValueError as error:
            raise Page(answer.code, "the log-in's answer is no JSON", mutates=False) from error
        return said if isinstance(said, dict) else {}


def _refuse_what_no_engine_says(method: str, answer: Answer) -> None:
    """A page of the web server before the engine, or XML that breaks off. Raises ``Page`` or ``Garbled``."""
    mutates = method != "GET"
    if not answer.body and (answer.code in {401, 403, 404} or (method == "DELETE" and answer.code == 200)):
        return  # the engine's own way to say that something is not there, or gone
    if not answer.body or answer.kind not in _XML:
        raise Page(answer.code, f"{answer.kind or 'nothing'} in place of XML", mutates=mutates)
    if b"<!DOCTYPE" in answer.body:
        raise Garbled("XML with a document type", mutates=mutates)
    if answer.body.count(b"<") > MOST_TAGS:
        raise Garbled(f"XML of more than {MOST_TAGS} tags", mutates=mutates)
    # Not with ``collect_ids=False``: libxml2 opens a document type's file then, whatever else it is told.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(answer.body, parser)
    except etree.XMLSyntaxError as error:
        raise Garbled(f"XML that cannot be read: {error}", mutates=mutates) from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise Garbled("XML with a document type", mutates=mutates)


class Session:
    """What the parts of the driver share: the connection, and how our things are named there."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.portal_id = connection.portal_id
        self._open: Engine | None = None
        self._closed = False

    @property
    def is_broken(self) -> bool:
        """Whether it was closed; a request that failed takes nothing with it but itself."""
        return self._closed

    def engine(self) -> Engine:
        """The open connection. Raises ``Unavailable``, ``Denied``, and ``TooOld``."""
        if self._closed:
            raise Unavailable(detail="the connection was closed")
        if self._open is None:
            fresh = Engine(self.connection, seconds=self.number("answer_seconds", ANSWER_SECONDS))
            try:
                with calling("connect"):
                    refuse_old(fresh.system_service().get())
            except HypervisorError:
                _give_back(fresh)
                raise
            self._open = fresh
        return self._open

    def system(self) -> Any:
        """The root of the SDK's services."""
        return self.engine().system_service()

    def marker(self, uid: Any) -> Marker:
        """Our mark on an object."""
        return Marker(portal_id=self.portal_id, uid=uid)

    def number(self, name: str, default: float) -> float:
        """A setting in the provider's options. Raises ``Invalid`` for one that is no number above zero."""
        given = self.connection.options.get(name)
        try:
            value = float(given) if given else default
        except ValueError as error:
            raise Invalid(detail=f"option {name} is {given!r}") from error
        if not 0 < value < MOST:
            raise Invalid(detail=f"option {name} is {given!r}")
        return value

    def close(self) -> None:
        """Give the connection back; never raises."""
        self._closed = True
        engine, self._open = self._open, None
        if engine is not None:
            _give_back(engine)


def _give_back(engine: Engine) -> None:
    """End its session; never raises."""
    try:
        engine.close()
    except (Broken, Page, Garbled, ovirtsdk4.Error) as error:
        log.debug("closing a connection to an engine: %s", error)


def refuse_old(api: Any) -> None:
    """Raises ``TooOld`` for an engine whose API is older than what this driver reads."""
    version = failures.version_of(api)
    if version and version < OLDEST:
        figures = {"version": ".".join(map(str, version)), "oldest": ".".join(map(str, OLDEST))}
        raise TooOld(figures=figures)
