"""Who may come in as what, decided before the upgrade.

`plan_upgrade` is pure and reads what the request itself says: path, version,
key, origin, subprotocols, token. `admit_user` asks the embedder. Limits on
connections are not here: who counts them refuses by them.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal, final

import attrs
import trio

from roomactors.core.names import check_room_name
from roomactors.errors import AdmissionRefused, RoomNameError
from roomactors.server.head import HttpRefusal, Request, joined, unquote_strictly

JSON_PATH: Final = "/ws"
RAW_PREFIX: Final = "/raw/"
JSON_SUBPROTOCOL: Final = "roomactors.v1.json"

MAX_USER_BYTES: Final = 256
"""The longest user that an ``admit`` function may return, in bytes of UTF-8."""

_LOG: Final = logging.getLogger("roomactors")
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64
_SECRET: Final = re.compile(r"[!-~]{1,1024}")
_TOKEN: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_BASE64URL: Final = re.compile(r"[-_0-9A-Za-z]+")
_ORIGIN: Final = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[^][/:?#@\s]+)(?::([0-9]{1,5}))?")
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^][:]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_CODES: Final = {401: "unauthorized", 403: "forbidden", 429: "rate_limited", 503: "unavailable"}


@final
@attrs.frozen(kw_only=True, eq=False)
class AdmissionRequest:
    """What an ``admit`` function is asked about; its `repr` shows no secrets."""

    path: str
    """The path as it was sent, percent-encoded."""
    query: Mapping[str, str] = attrs.field(repr=False)
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    """Lower-case names and their values, in the order sent."""
    remote: str
    """The address of the peer, empty if it is not known."""
    secure: bool
    """Whether the connection is TLS."""
    token: str | None = attrs.field(repr=False)
    """From ``Authorization: Bearer`` or the subprotocol ``bearer.<base64url>``."""
    origin: str | None
    """The page that connects, where a browser says so; it has been checked."""
    room: str | None
    """The room that ``/raw/{room}`` joins; None elsewhere."""

    def header(self, name: str) -> str | None:
        """The values of a header, joined with ``", "``; None if there is none.

        Args:
          name: in lower case.
        """
        return joined(self.headers, name)


Admit = Callable[[AdmissionRequest], Awaitable[str | None]]
"""Returns the user, or None for someone without a name; raises `AdmissionRefused` to refuse."""


@final
@attrs.frozen(kw_only=True)
class Plan:
    """What an upgrade will be, once it is accepted."""

    protocol: Literal["json", "raw"]
    subprotocol: str | None
    """The one to select; None to select none."""
    room: str | None
    """The room of a raw connection."""
    echo: bool
    """Whether a raw connection gets its own messages."""
    resume: str | None = attrs.field(repr=False)
    """The secret of the session to resume."""
    token: str | None = attrs.field(repr=False)


def plan_upgrade(request: Request, *, allowed_origins: tuple[str, ...] | None) -> Plan:
    """Decide what this upgrade would be, from the request alone.

    Args:
      request: any request; it need not ask for an upgrade.
      allowed_origins: origins from which pages may connect, beside pages of
        the host that they connect to; ``"*"`` stands for all. None: no others.

    Raises:
      HttpRefusal: in this order: 404 path, 400 room name, 405 method, 426 no
        upgrade or another version, 400 key, 403 origin, 400 subprotocols,
        token or session.
    """
    room = _find_room(request)
    if request.method != "GET":
        raise HttpRefusal(
            405, "method_not_allowed", "a WebSocket is opened with GET", (("Allow", "GET"),)
        )
    _check_websocket(request)
    _check_origin(request, allowed_origins or ())
    offered = _offered_subprotocols(request)
    token = _find_token(request, offered)
    if room is None:
        return Plan(
            protocol="json",
            subprotocol=JSON_SUBPROTOCOL if JSON_SUBPROTOCOL in offered else None,
            room=None,
            echo=True,
            resume=_find_session(request, offered),
            token=token,
        )
    names = [name for name in offered if not name.startswith(("bearer.", "session."))]
    return Plan(
        protocol="raw",
        # What a raw room's members speak is their own affair; a browser that
        # offers names, to carry its token beside one, hangs up if none is taken.
        subprotocol=names[0] if names else None,
        room=room,
        echo=_find_echo(request),
        resume=None,
        token=token,
    )


async def admit_user(
    request: Request, plan: Plan, admit: Admit | None, *, deadline_seconds: float
) -> str | None:
    """Ask the embedder who this is.

    Args:
      request: the upgrade.
      plan: what `plan_upgrade` made of it.
      admit: the embedder's function; None lets everyone in, without a name.
      deadline_seconds: how long it may take.

    Returns:
      The user; None for someone without a name.

    Raises:
      HttpRefusal: the status that the function chose; 503 if it took too long,
        500 if it failed or returned no user (it is logged, with the traceback).

    A checkpoint if the function is one. Cancelling it cancels the function.
    """
    if admit is None:
        return None
    question = AdmissionRequest(
        path=request.path,
        query=request.query,
        headers=request.headers,
        remote=request.remote,
        secure=request.secure,
        token=plan.token,
        origin=request.header("origin"),
        room=plan.room,
    )
    try:
        with trio.move_on_after(deadline_seconds):
            user = await admit(question)
            _check_user(user)
            return user
    except Exception as error:
        refused = _single_refusal(error)
        if refused is not None:
            raise _refusal_of(refused) from error
        _LOG.exception("the admit function failed")
        raise HttpRefusal(500, "internal", "the server could not decide who you are") from None
    _LOG.error("the admit function took more than %g seconds", deadline_seconds)
    raise HttpRefusal(503, "unavailable", "it took too long to decide who you are")


def _find_room(request: Request) -> str | None:
    if request.path == JSON_PATH:
        return None
    if not request.path.startswith(RAW_PREFIX):
        raise HttpRefusal(404, "not_found", "there is no WebSocket at this path")
    name = unquote_strictly(request.path.removeprefix(RAW_PREFIX))
    try:
        return check_room_name(name)
    except RoomNameError as error:
        raise HttpRefusal(400, "bad_room_name", str(error)) from None


def _check_websocket(request: Request) -> None:
    version = (("Sec-WebSocket-Version", "13"),)
    if not request.is_upgrade:
        raise HttpRefusal(
            426,
            "upgrade_required",
            "this path speaks WebSocket",
            (("Upgrade", "websocket"), *version),
        )
    offered = request.header("sec-websocket-version")
    if offered is None:
        raise HttpRefusal(400, "bad_request", "Sec-WebSocket-Version is missing", version)
    if offered != "13":
        raise HttpRefusal(
            426,
            "upgrade_required",
            "this server speaks version 13 of WebSocket",
            (("Upgrade", "websocket"), *version),
        )
    # Several keys come joined, and so do not match.
    if not _KEY.fullmatch(request.header("sec-websocket-key") or ""):
        raise _malformed("Sec-WebSocket-Key is not 16 bytes in base64, once")


def _check_origin(request: Request, allowed: tuple[str, ...]) -> None:
    origin = request.header("origin")
    if origin is None or "*" in allowed or origin in allowed:
        return
    found = _ORIGIN.fullmatch(origin.lower())
    host = _HOST.fullmatch((request.header("host") or "").lower())
    if found is not None and host is not None:
        # A port left out of Host is the page's default one, not ours: behind
        # a proxy that ends TLS, the page is https and this connection is not.
        default = _DEFAULT_PORTS[found[1]]
        if (found[2], int(found[3] or default)) == (host[1], int(host[2] or default)):
            return
    raise HttpRefusal(403, "forbidden", "pages of this origin may not connect here")


def _offered_subprotocols(request: Request) -> list[str]:
    value = request.header("sec-websocket-protocol")
    if value is None:
        return []
    offered = [name.strip(" \t") for name in value.split(",")]
    if not all(_TOKEN.fullmatch(name) for name in offered):
        raise _malformed("Sec-WebSocket-Protocol is malformed")
    return offered


def _find_token(request: Request, offered: list[str]) -> str | None:
    tokens = {_decode_token(name) for name in offered if name.startswith("bearer.")}
    scheme, _, credentials = (request.header("authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        token = credentials.strip()
        if not _SECRET.fullmatch(token):
            raise _malformed("Authorization has no well-formed Bearer token")
        tokens.add(token)
    return _the_one(tokens, "tokens")


def _decode_token(name: str) -> str:
    text = name.removeprefix("bearer.")
    try:
        if not _BASE64URL.fullmatch(text):
            raise ValueError("not base64url")
        token = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("utf-8")
    except ValueError:
        raise _malformed(
            "the subprotocol bearer. is not followed by a token in base64url"
        ) from None
    if _has_control_characters(token):
        raise _malformed("the token has control characters in it")
    return token


def _find_session(request: Request, offered: list[str]) -> str | None:
    secrets = {name.removeprefix("session.") for name in offered if name.startswith("session.")}
    if "session" in request.query:
        secrets.add(request.query["session"])
    if not all(_SECRET.fullmatch(secret) for secret in secrets):
        raise _malformed("the session's secret is malformed")
    return _the_one(secrets, "sessions")


def _the_one(found: set[str], what: str) -> str | None:
    if len(found) > 1:
        raise _malformed(f"the request has several {what}")
    return found.pop() if found else None


def _find_echo(request: Request) -> bool:
    echo = request.query.get("echo", "1")
    if echo not in ("0", "1"):
        raise _malformed("echo is 0 or 1")
    return echo == "1"


def _single_refusal(error: Exception) -> AdmissionRefused | None:
    """The refusal that was raised; also out of an admit function's own nurseries."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if not isinstance(error, AdmissionRefused):
        return None
    # A status like 200 would tell the client that it is in.
    return error if error.status in range(400, 600) else None


def _refusal_of(refused: AdmissionRefused) -> HttpRefusal:
    challenge = (("WWW-Authenticate", "Bearer"),) if refused.status == 401 else ()
    code = _CODES.get(refused.status, "refused")
    return HttpRefusal(refused.status, code, refused.message, challenge)


def _check_user(user: object) -> None:
    """Raise, for the log and the embedder's eyes, if no user can be this."""
    if user is None:
        return
    if not isinstance(user, str):
        raise TypeError(f"an admit function returns a str or None, not {type(user).__name__}")
    size = len(user.encode("utf-8", "surrogatepass"))
    if not 0 < size <= MAX_USER_BYTES or _has_control_characters(user):
        raise ValueError(
            f"a user is 1 to {MAX_USER_BYTES} bytes of text without control characters"
        )


def _has_control_characters(text: str) -> bool:
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def _malformed(message: str) -> HttpRefusal:
    return HttpRefusal(400, "bad_request", message)
