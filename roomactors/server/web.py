"""Plain HTTP: errors, health, and the chat page.

Whole requests to whole answers, no I/O besides reading the page's files once.
An answer always ends its connection.
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Final

import msgspec

from roomactors.server.admission import JSON_PATH, RAW_PREFIX
from roomactors.server.head import HttpRefusal, Request

_JSON: Final = "application/json"
_PAGES: Final = {
    "/": ("chat.html", "text/html; charset=utf-8"),
    "/chat.css": ("chat.css", "text/css; charset=utf-8"),
    "/chat.js": ("chat.js", "text/javascript; charset=utf-8"),
}
"""Path to the file of the pages folder, and its type; nothing else of that folder is served."""

_PAGE_HEADERS: Final = (
    (
        "Content-Security-Policy",
        (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
            "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
    ("Cache-Control", "no-cache"),
)
_FRESH: Final = (("Cache-Control", "no-store"),)


def response(
    status: int, body: bytes, *, content_type: str, headers: tuple[tuple[str, str], ...] = ()
) -> bytes:
    """A whole HTTP/1.1 response, after which the connection is closed.

    Args:
      status: the HTTP status.
      body: all of it.
      content_type: its type.
      headers: further headers, ASCII, without line ends.
    """
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:  # an embedder may refuse with a status of its own
        reason = "Refused"
    # Whoever sends Upgrade must name it in Connection (RFC 9110, section 7.8).
    upgrades = any(name == "Upgrade" for name, _ in headers)
    lines = [
        f"HTTP/1.1 {status} {reason}",
        f"Connection: {'close, Upgrade' if upgrades else 'close'}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def refusal_response(refusal: HttpRefusal) -> bytes:
    """The response to a refused request: its code and message as JSON."""
    # A message may come from an embedder, with anything in it.
    message = refusal.message.encode("utf-8", "backslashreplace").decode("utf-8")
    body = msgspec.json.encode({"code": refusal.code, "message": message})
    return response(refusal.status, body, content_type=_JSON, headers=(*refusal.headers, *_FRESH))


def answer(request: Request, *, ready: bool) -> bytes:
    """Answer a request that does not ask for an upgrade.

    Args:
      request: any such request; it is answered with an error if there is nothing for it.
      ready: whether the server takes new connections; False while it drains.
    """
    try:
        whole = _find(request, ready)
    except HttpRefusal as refusal:
        whole = refusal_response(refusal)
    if request.method == "HEAD":
        return whole[: whole.index(b"\r\n\r\n") + 4]
    return whole


def _find(request: Request, ready: bool) -> bytes:
    path = request.path
    if path == JSON_PATH or path.startswith(RAW_PREFIX):
        _check_method(request, "GET")
        raise HttpRefusal(
            426,
            "upgrade_required",
            "this path speaks WebSocket",
            (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")),
        )
    if path not in ("/healthz", "/readyz", *_PAGES):
        raise HttpRefusal(404, "not_found", "there is nothing at this path")
    _check_method(request, "GET", "HEAD")
    if path == "/healthz":
        return response(200, b'{"status":"ok"}', content_type=_JSON, headers=_FRESH)
    if path == "/readyz" and ready:
        return response(200, b'{"status":"ready"}', content_type=_JSON, headers=_FRESH)
    if path == "/readyz":
        return response(503, b'{"status":"draining"}', content_type=_JSON, headers=_FRESH)
    name, content_type = _PAGES[path]
    return response(200, _page(name), content_type=content_type, headers=_PAGE_HEADERS)


def _check_method(request: Request, *allowed: str) -> None:
    if request.method not in allowed:
        allow = ", ".join(allowed)
        raise HttpRefusal(
            405, "method_not_allowed", f"this path takes {allow} only", (("Allow", allow),)
        )


@cache
def _page(name: str) -> bytes:
    return files("roomactors.server").joinpath("pages", name).read_bytes()
