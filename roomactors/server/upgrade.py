"""The answer to an ordinary upgrade, without building a WebSocket to get it.

trio-websocket makes the same bytes with a connection object, three tasks and
an HTTP parser, in 190 µs where this takes 3 (CPython 3.11, one core of the
machine of ``docs/explanation/performance.md``): two thirds of what a whole
join costs. So it is kept for requests that are not ordinary. A test compares
the two, byte for byte.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from hashlib import sha1
from typing import Final

from roomactors.server.head import Request

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_HANDSHAKE_HEADERS: Final = ("connection", "upgrade", "host")
_PREFIX: Final = "sec-websocket-"


def ordinary_upgrade_response(request: Request, *, subprotocol: str | None) -> bytes | None:
    """The bytes that accept this upgrade; None if it is not an ordinary one.

    Args:
      request: an upgrade that `plan_upgrade` has let through.
      subprotocol: one of those that the request offers, or None.
    """
    counted = Counter(
        name
        for name, _ in request.headers
        if name in _HANDSHAKE_HEADERS or name.startswith(_PREFIX)
    )
    if max(counted.values(), default=1) > 1:
        return None
    key = request.header("sec-websocket-key")
    if key is None:
        return None
    accept = b64encode(sha1((key + _GUID).encode("ascii"), usedforsecurity=False).digest())
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept.decode('ascii')}",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")
