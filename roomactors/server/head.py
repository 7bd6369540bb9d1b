"""The head of an HTTP request: bytes to a `Request`, or to the refusal that answers them.

Pure: no trio, no sockets. Nothing here knows which paths exist or who may
connect. h11 reads the grammar; this file is stricter than h11, because what
it lets through is read once more by wsproto, which trusts it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, final
from urllib.parse import parse_qsl, unquote_to_bytes

import attrs
import h11

MAX_HEAD_BYTES: Final = 8192
"""The longest head, its final blank line included."""

_MAX_HOST_BYTES: Final = 255 + 6
"""A DNS name, a colon and a port. Decoding punycode takes quadratic time, so there is a bound."""

_TEXT: Final = bytes((0x09, 0x0A, 0x0D, *range(0x20, 0x7F)))
_REQUEST_LINE: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+ [!-~]+ HTTP/[0-9]\.[0-9]\r\n")
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[-A-Za-z0-9._~%!$&'()*+,;=]+)(?::[0-9]{1,5})?")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@final
class HttpRefusal(Exception):
    """A request is answered with an error; nothing else happens.

    Args:
      status: the HTTP status, from 400 to 599.
      code: one word for programs.
      message: one sentence for a person; it shows nothing of the server's inside.
      headers: further headers of the answer, ASCII.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(status, code, message, headers)
        self.status, self.code, self.message, self.headers = status, code, message, headers

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


@final
@attrs.frozen(kw_only=True, eq=False)
class Request:
    """An HTTP request head.

    Its `repr` is without target, query and headers: they may hold a token or a
    session's secret, and what is printed ends up in logs.
    """

    method: str
    target: str = attrs.field(repr=False)
    path: str
    """The target up to the ``?``, percent-encoded, as it was sent."""
    query: Mapping[str, str] = attrs.field(repr=False)
    """Decoded by the rules of forms; of several values of a name, the first."""
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    """In the order sent; lower-case names, values of printable ASCII."""
    remote: str
    """The address of the peer, empty if it is not known."""
    secure: bool
    """Whether the request came over TLS."""
    raw: bytes = attrs.field(repr=False)
    """The head as it was received, its final blank line included."""

    def header(self, name: str) -> str | None:
        """The values of a header, joined with ``", "``; None if there is none.

        Args:
          name: in lower case.
        """
        return joined(self.headers, name)

    @property
    def is_upgrade(self) -> bool:
        """Whether this asks to become a WebSocket."""
        return "upgrade" in _tokens(self.header("connection")) and "websocket" in _tokens(
            self.header("upgrade")
        )


def joined(headers: tuple[tuple[str, str], ...], name: str) -> str | None:
    """The values of the header of this lower-case name, joined with ``", "``; None if none."""
    values = [value for key, value in headers if key == name]
    return ", ".join(values) if values else None


def head_end(buffer: bytes | bytearray) -> int | None:
    """Where the head at the start of the buffer ends: the index after its blank line.

    None means that the blank line has not come yet. What can never become a
    head is refused as soon as it shows, so that nobody waits for the rest of
    a TLS handshake or of another protocol's greeting.

    Raises:
      HttpRefusal: 431 if the head is longer than `MAX_HEAD_BYTES`, 400 if this is not HTTP.
    """
    end = buffer.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
    seen = bytes(buffer[: MAX_HEAD_BYTES if end < 0 else end + 4])
    if seen.translate(None, _TEXT):
        if seen[0] == 0x16:
            raise _malformed("this port does not speak TLS: use ws:// or http:// here")
        raise _malformed("a request head is printable ASCII, and this one is not")
    # While the head is not complete, its last byte may be one half of a line end.
    line_ends = seen.count(b"\r\n")
    if seen.count(b"\n") != line_ends or seen.count(b"\r", 0, -1) > line_ends:
        raise _malformed("each line of a request head ends with CR LF")
    if line_ends and not _REQUEST_LINE.match(seen):
        raise _malformed("this is no HTTP request")
    if end >= 0:
        return end + 4
    if len(buffer) >= MAX_HEAD_BYTES:
        raise HttpRefusal(
            431, "head_too_large", f"the request head takes more than {MAX_HEAD_BYTES} bytes"
        )
    return None


def parse_head(raw: bytes, *, remote: str, secure: bool) -> Request:
    """Read a request head.

    Args:
      raw: exactly one head, up to where `head_end` says that it ends.
      remote: the address of the peer, empty if it is not known.
      secure: whether it came over TLS.

    Raises:
      HttpRefusal: 400 if it is malformed, or is more than this server wants to
        understand: HTTP/1.0, bodies, folded lines, absolute targets; 431 if it is too long.
    """
    if head_end(raw) != len(raw):
        raise _malformed("this is not one whole request head")
    if b"\r\n " in raw or b"\r\n\t" in raw:
        raise _malformed("a header is folded over several lines")
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(raw)
    try:
        event = parser.next_event()
    except h11.RemoteProtocolError:
        event = None  # h11's words may quote the request, which may hold a token
    if not isinstance(event, h11.Request):
        raise _malformed("a line of the request head is malformed")
    if event.http_version != b"1.1":
        raise _malformed("use HTTP/1.1 (a proxy may need to be told so)")
    method = event.method.decode("ascii")
    target = event.target.decode("ascii")
    if not target.startswith("/") or "#" in target:
        raise _malformed("the request target is a path, with a query or without")
    path, _, query = target.partition("?")
    headers = tuple((name.decode("ascii"), value.decode("ascii")) for name, value in event.headers)
    _check_host(joined(headers, "host"))
    if method in ("GET", "HEAD") and (
        joined(headers, "transfer-encoding") is not None
        # Any other value has more than zeros in it, or has not passed h11.
        or (joined(headers, "content-length") or "").strip("0")
    ):
        raise _malformed(f"a {method} request has no body here")
    return Request(
        method=method,
        target=target,
        path=path,
        query=_parse_query(query),
        headers=headers,
        remote=remote,
        secure=secure,
        raw=raw,
    )


def unquote_strictly(text: str) -> str:
    """Decode percent-escapes; a ``+`` is a plus.

    Raises:
      HttpRefusal: 400 if an escape is broken, or what they say is not UTF-8.
    """
    if _BAD_ESCAPE.search(text):
        raise _malformed("a percent-escape in the request target is broken")
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("the percent-escapes in the request target are not UTF-8") from None


def _parse_query(query: str) -> Mapping[str, str]:
    if not query:
        return _NO_QUERY
    if _BAD_ESCAPE.search(query):
        raise _malformed("a percent-escape in the request target is broken")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise _malformed("the percent-escapes in the request target are not UTF-8") from None
    return MappingProxyType(dict(reversed(pairs)))  # reversed: the first value of a name wins


_NO_QUERY: Final[Mapping[str, str]] = MappingProxyType({})


def _check_host(host: str | None) -> None:
    # That there is one Host and no second is h11's to check.
    if host is None or len(host) > _MAX_HOST_BYTES or not _HOST.fullmatch(host):
        raise _malformed("the Host header is malformed")
    try:
        # wsproto does the same, in a task where an exception would end more than the request.
        host.encode("ascii").decode("idna")
    except UnicodeError:
        raise _malformed("the Host header is not a name that IDNA knows") from None


def _tokens(value: str | None) -> list[str]:
    return [] if value is None else [token.strip().lower() for token in value.split(",")]


def _malformed(message: str) -> HttpRefusal:
    return HttpRefusal(400, "bad_request", message)
