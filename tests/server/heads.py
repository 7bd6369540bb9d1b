"""Request heads for the tests of the front door."""

from __future__ import annotations

from roomactors.server.head import Request, parse_head

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of RFC 6455, section 1.3."""
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""What the RFC says that it is answered with."""

UPGRADE = {
    "Host": "rooms.example:8000",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def head_of(
    start: str = "GET /ws HTTP/1.1",
    *more: tuple[str, str],
    base: dict[str, str] = UPGRADE,
    without: str = "",
) -> bytes:
    """A head: the upgrade's headers, less one, and further ones; latin-1 for bytes over 127."""
    headers = [(name, value) for name, value in base.items() if name != without]
    lines = [start, *(f"{name}: {value}" for name, value in [*headers, *more]), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def request_of(
    start: str = "GET /ws HTTP/1.1",
    *more: tuple[str, str],
    base: dict[str, str] = UPGRADE,
    without: str = "",
    secure: bool = False,
) -> Request:
    """The same as a `Request`."""
    raw = head_of(start, *more, base=base, without=without)
    return parse_head(raw, remote="192.0.2.7", secure=secure)
