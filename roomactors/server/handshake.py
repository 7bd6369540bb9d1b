"""WebSocket's opening handshake, by trio-websocket: the only file that imports it.

The server's half turns a checked request head into the bytes that accept it,
over a stream in memory, so that nothing a client does can reach
trio-websocket's tasks. The client's half is for programs: a connection of
trio-websocket's own, with its ways to fail gathered into one.
"""

from __future__ import annotations

import logging
import math
import ssl
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final, cast, final
from urllib.parse import urlsplit

import attrs
import msgspec
import trio
import trio_websocket

from roomactors.errors import CannotConnectError
from roomactors.server.head import HttpRefusal, Request

Connection = trio_websocket.WebSocketConnection
"""A client's connection."""

ConnectionClosed = trio_websocket.ConnectionClosed
"""Raised by a client's connection that has ended; `reason` has code and reason."""

_LOG: Final = logging.getLogger("roomactors")


async def upgrade_response(request: Request, *, subprotocol: str | None) -> bytes:
    """The bytes that accept this upgrade.

    Args:
      request: an upgrade that `plan_upgrade` has let through.
      subprotocol: one of those that the request offers, or None.

    Raises:
      HttpRefusal: 400, trio-websocket does not accept it.

    A checkpoint; it waits for no I/O. Nothing is left behind if it is cancelled.
    """
    response = bytearray()
    if not request.raw.endswith(b"\r\n\r\n"):
        # trio-websocket would wait for the rest, for ever.
        raise _not_well_formed()
    try:
        async with trio.open_nursery() as nursery:
            stream = _HeadStream(request.raw, nursery.cancel_scope)
            proposal = await trio_websocket.wrap_server_stream(nursery, stream)
            await proposal.accept(subprotocol=subprotocol)
            response = stream.written
    except* Exception as failures:  # noqa: BLE001 - whatever escapes its tasks is a refusal
        # K1 to K3 of trio-websocket end here, should the front door let one through.
        _LOG.debug("trio-websocket failed in a handshake", exc_info=failures)
    if not response:
        raise _not_well_formed()
    return bytes(response)


def _not_well_formed() -> HttpRefusal:
    return HttpRefusal(400, "bad_request", "this is no well-formed WebSocket handshake")


@final
class _HeadStream(trio.abc.Stream):
    """Gives one whole request head and then its end, and keeps what is written.

    By that end trio-websocket's reader is done by itself, while the answer is
    being made; to let it wait and cancel it makes the whole a third dearer.
    No method is a checkpoint, since each is called a few times at most.
    """

    def __init__(self, head: bytes, scope: trio.CancelScope) -> None:
        self._head = head
        self._scope = scope
        self.written = bytearray()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        head = self._head[:max_bytes]
        self._head = self._head[len(head) :]
        return head

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    async def wait_send_all_might_not_block(self) -> None:
        pass

    async def aclose(self) -> None:
        # trio-websocket closes what it has rejected, and then leaves
        # `wrap_server_stream` waiting for ever.
        self._scope.cancel()


@asynccontextmanager
async def open_websocket(
    url: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    subprotocols: Iterable[str] = (),
    ssl_context: ssl.SSLContext | None = None,
    stream: trio.abc.Stream | None = None,
    connect_seconds: float = 10.0,
    close_seconds: float = 5.0,
    max_message_bytes: int = 1024 * 1024,
) -> AsyncGenerator[Connection]:
    """Be a WebSocket client for the length of an ``async with`` block.

    Args:
      url: ``ws://`` or ``wss://``.
      headers: further headers of the request, ASCII.
      subprotocols: in order of preference.
      ssl_context: for ``wss://``; None for the usual one.
      stream: a connected stream to use instead of opening one; it is closed at the end.
      connect_seconds: how long opening may take, the handshake included.
      close_seconds: how long the server may take to answer our close.
      max_message_bytes: of a message from the server; a larger one ends the connection with 1009.

    Raises:
      ValueError: the URL is none of a WebSocket.
      CannotConnectError: the server could not be reached or said no.

    Entering and leaving are checkpoints. If you are cancelled, the connection
    is closed without a farewell.
    """
    opening = _Opening(
        place=_Place.parse(url),
        headers=[(name.encode("ascii"), value.encode("ascii")) for name, value in headers],
        subprotocols=list(subprotocols),
        ssl_context=ssl_context,
        stream=stream,
        connect_seconds=connect_seconds,
        max_message_bytes=max_message_bytes,
    )
    raised: BaseException | None = None
    # The caller's block runs in a nursery whose only other task never fails,
    # so what is raised here is the caller's own and leaves as it is, in no group.
    async with trio.open_nursery() as nursery:
        try:
            connection = await nursery.start(opening.run)
            try:
                yield connection
            finally:
                opening.closing.deadline = trio.current_time() + close_seconds
                with opening.closing:
                    await connection.aclose()
        except BaseException as error:  # noqa: ASYNC103, BLE001 - raised again below
            raised = error
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised


@final
@attrs.frozen(kw_only=True)
class _Place:
    """Where a URL leads."""

    url: str
    secure: bool
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, url: str) -> _Place:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError("a WebSocket URL looks like ws://host:port/path or wss://host/path")
        secure = parts.scheme == "wss"
        return cls(
            url=parts._replace(query="", fragment="").geturl(),
            secure=secure,
            host=parts.hostname,
            port=parts.port or (443 if secure else 80),
            target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        )

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


@final
@attrs.define(kw_only=True, eq=False)
class _Opening:
    """One client connection: opened, kept, and every failure of its tasks caught."""

    place: _Place
    headers: list[tuple[bytes, bytes]]
    subprotocols: list[str]
    ssl_context: ssl.SSLContext | None
    stream: trio.abc.Stream | None
    connect_seconds: float
    max_message_bytes: int
    closing: trio.CancelScope = attrs.Factory(trio.CancelScope)
    """Around the wait for the server's answer to our close."""

    async def run(self, *, task_status: trio.TaskStatus[Connection]) -> None:
        """Open, report the connection, and stay until its reader is done; never fail later."""
        opened = False
        failure: BaseException | None = None
        with trio.move_on_after(self.connect_seconds) as limit:
            try:
                transport = _ClientStream(self.stream or await self._connect())
                try:
                    async with trio.open_nursery() as nursery:
                        # trio-websocket reports a refusal here and in the nursery as well.
                        connection = await trio_websocket.wrap_client_stream(
                            nursery,
                            # It says SocketStream, and uses what every stream has.
                            cast(trio.SocketStream, transport),
                            self.place.host_header,
                            self.place.target,
                            subprotocols=self.subprotocols,
                            extra_headers=self.headers,
                            max_message_size=self.max_message_bytes,
                        )
                        transport.opened = opened = True
                        limit.deadline = math.inf
                        task_status.started(connection)
                finally:
                    await trio.aclose_forcefully(transport)
            except* Exception as failures:  # noqa: BLE001 - all of them mean no connection
                failure = failures
        self.closing.cancel()  # no answer to our close can come any more
        if opened:
            if failure is not None:
                # The caller's next receive or send raises ConnectionClosed.
                _LOG.debug("trio-websocket failed in a client", exc_info=failure)
            return
        problem, status = _explain(failure)
        raise CannotConnectError(self.place.url, problem, status) from failure

    async def _connect(self) -> trio.abc.Stream:
        if not self.place.secure:
            return await trio.open_tcp_stream(self.place.host, self.place.port)
        context = self.ssl_context or ssl.create_default_context()
        return await trio.open_ssl_over_tcp_stream(
            self.place.host, self.place.port, ssl_context=context, https_compatible=True
        )


@final
class _ClientStream(trio.abc.Stream):
    """A stream whose end is an `OSError` while the handshake is not done.

    trio-websocket takes the usual errors for the end of an open connection,
    and would go on waiting for the server's answer.
    """

    def __init__(self, transport: trio.abc.Stream) -> None:
        self._transport = transport
        self.opened = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._transport.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            raise self._failure(error) from None
        if not data and not self.opened:
            raise ConnectionResetError("the server hung up")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._transport.send_all(data)
        except trio.BrokenResourceError as error:
            raise self._failure(error) from None

    def _failure(self, error: trio.BrokenResourceError) -> Exception:
        if self.opened:
            return error
        cause = error.__cause__  # of the socket or of TLS, with words of its own
        return cause if isinstance(cause, OSError) else ConnectionResetError("the server hung up")

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._transport.aclose()


def _explain(failure: BaseException | None) -> tuple[str, int | None]:
    """What went wrong while opening, in words, and the HTTP status if the server said no."""
    if failure is None:
        return "the server did not answer in time", None
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if isinstance(failure, trio_websocket.ConnectionRejected):
        return _explain_refusal(failure), failure.status_code
    if isinstance(failure, OSError):
        return failure.strerror or str(failure), None
    return "the server does not speak WebSocket", None


def _explain_refusal(refusal: trio_websocket.ConnectionRejected) -> str:
    try:
        phrase = HTTPStatus(refusal.status_code).phrase
    except ValueError:
        phrase = "refused"
    said = f"HTTP status {refusal.status_code} ({phrase})"
    try:
        return f"{said}: {msgspec.json.decode(refusal.body or b'', type=_Refusal).message}"
    except (msgspec.DecodeError, UnicodeDecodeError):
        return said


class _Refusal(msgspec.Struct):
    """What our own server says when it refuses."""

    message: str
