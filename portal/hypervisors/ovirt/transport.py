"""The requests beneath the vendor's SDK: each bounded, by the pinned CA alone, never repeated by itself.

The SDK bounds neither connecting nor its log-in, keeps a handle that failed, and takes a proxy's page of HTML for an answer.
So its connection is ours below ``send`` and ``wait``, and everything above (services, readers, writers) is the SDK's. The CA
is given to curl in memory: it is in no file.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import pycurl

# Seconds to a connection with TLS, and to the whole of an answer unless a call says otherwise.
CONNECT_SECONDS = 5
ANSWER_SECONDS = 30
# In bytes, unpacked: some ten times what a page of 500 machines has, or what the largest list that comes in one piece.
LARGEST = 96 * 1024 * 1024
_READS = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the body as bytes, header lines as they were sent, the words beside the code."""

    code: int
    body: bytes
    headers: list[str] = field(default_factory=list)
    message: str = ""

    @property
    def kind(self) -> str:
        """The content type without its parameters."""
        for line in self.headers:
            name, _colon, value = line.partition(":")
            if name.strip().lower() == "content-type":
                return value.partition(";")[0].strip().lower()
        return ""


class Broken(Exception):
    """No answer came. ``was_sent``: at least part of the request had gone out; ``mutates``: it was to change something."""

    def __init__(self, text: str, *, was_sent: bool, mutates: bool, is_tls: bool = False) -> None:
        self.was_sent = was_sent
        self.mutates = mutates
        self.is_tls = is_tls
        super().__init__(text)


_TLS = {pycurl.E_SSL_CONNECT_ERROR, pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE}


class Transport:
    """One handle of curl with its kept connection; one request at a time."""

    def __init__(self, ca_pem: str) -> None:
        self._ca = ca_pem.strip().encode()
        self._curl = pycurl.Curl()

    def ask(
        self, method: str, url: str, *, headers: list[str], body: bytes = b"", seconds: float = ANSWER_SECONDS
    ) -> Answer:
        """Send a request and wait for its answer. Raises ``Broken``."""
        if not self._ca:
            raise Broken("no CA is pinned", was_sent=False, mutates=method not in _READS, is_tls=True)
        curl, content, lines = self._curl, io.BytesIO(), _Lines()
        curl.reset()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.CUSTOMREQUEST, method)
        curl.setopt(pycurl.HTTPHEADER, [*headers, "Expect:"])
        if method not in _READS:
            curl.setopt(pycurl.COPYPOSTFIELDS, body)
            curl.setopt(pycurl.CUSTOMREQUEST, method)
            # On a kept connection curl would repeat by itself what was sent and not answered.
            curl.setopt(pycurl.FRESH_CONNECT, 1)
        curl.setopt(pycurl.TIMEOUT_MS, int(seconds * 1000))
        self._secure(curl)
        curl.setopt(pycurl.WRITEFUNCTION, _bounded(content))
        curl.setopt(pycurl.HEADERFUNCTION, lines.add)
        try:
            curl.perform()
        except pycurl.error as error:
            raise self._broken(error, mutates=method not in _READS) from error
        return Answer(int(curl.getinfo(pycurl.RESPONSE_CODE)), content.getvalue(), lines.lines, lines.message)

    def close(self) -> None:
        """Give the connection back."""
        self._curl.close()

    def _secure(self, curl: pycurl.Curl) -> None:
        curl.setopt(pycurl.NOSIGNAL, 1)  # time-outs without signals: calls run on threads
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, CONNECT_SECONDS * 1000)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.PROXY, "")  # straight, as the connection was tried, whatever the environment says
        curl.setopt(pycurl.SSL_VERIFYPEER, 1)
        curl.setopt(pycurl.SSL_VERIFYHOST, 2)
        curl.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
        curl.unsetopt(pycurl.CAINFO)
        curl.unsetopt(pycurl.CAPATH)
        curl.setopt(pycurl.CAINFO_BLOB, self._ca)
        curl.setopt(pycurl.ENCODING, "")
        curl.setopt(pycurl.MAXFILESIZE, LARGEST)

    def _broken(self, error: pycurl.error, *, mutates: bool) -> Broken:
        code, text = error.args
        was_sent = int(self._curl.getinfo(pycurl.REQUEST_SIZE)) > 0
        return Broken(f"curl error {code}: {text}", was_sent=was_sent, mutates=mutates, is_tls=code in _TLS)


class _Lines:
    """The header of the last answer; those of a proxy or of an interim one before it are dropped."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.message = ""

    def add(self, raw: bytes) -> None:
        line = raw.decode("latin-1").strip()
        if line.startswith("HTTP/"):
            self.lines = []
            self.message = line.partition(" ")[2].partition(" ")[2]
        elif line:
            self.lines.append(line)


def _bounded(content: io.BytesIO) -> object:
    def write(piece: bytes) -> int:
        """Fewer bytes than were given end the request."""
        if content.tell() + len(piece) > LARGEST:
            return 0
        return content.write(piece)

    return write
