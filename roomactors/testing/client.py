"""WebSocket and HTTP clients for tests, over the in-memory network.

The WebSocket is wsproto's, so that nothing here shares code with the server
that it talks to. What a test waits for, it waits for on trio's clock, and when
it does not come the test fails with a sentence that says what was expected.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, final

import attrs
import h11
import trio
from trio.testing import wait_all_tasks_blocked
from wsproto import ConnectionType, WSConnection
from wsproto import events as ws
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from roomactors.errors import CannotConnectError
from roomactors.testing.network import MemoryStream, Wire

HOST = "rooms.test"
"""What clients say in the Host header."""
WAIT_SECONDS = 5.0
"""How long a test waits for a frame; on the mock clock it takes no time."""
NO_CODE = 1005
"""A close frame came, without a code (RFC 6455, section 7.4.1)."""
NO_CLOSE_FRAME = 1006
"""The connection ended without a close frame (RFC 6455, section 7.4.1)."""


@final
@attrs.frozen
class Closed:
    """How a connection ended, as the client saw it."""

    code: int
    """The server's close code; 1005 if it gave none, 1006 if no close frame came."""
    reason: str


@final
@attrs.frozen(kw_only=True)
class HttpAnswer:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - JSON can be anything
        """The body, read as JSON."""
        return json.loads(self.body)


@final
class Client:
    """A WebSocket client that says what a test tells it to, and keeps what it hears.

    A task reads all the time, as a browser does; to stop reading, stall
    `incoming`. Made by `MemoryServer.connect`.

    Attributes:
      incoming: the direction from the server, with its faults.
      outgoing: the direction to the server, with its faults.
      subprotocol: what the server selected; None if nothing.
      welcome: the server's first frame, at ``/ws``; empty elsewhere.
      answers_pings: whether pings of the WebSocket are answered by themselves.
      answers_close: whether a close frame is answered, and the connection
        closed when the server has closed its half.
      pings: payloads of the pings that came.
      pongs: payloads of the pongs that came.
      frames: what has come and was not received yet: str for text, bytes for binary.
      closed: how the connection ended; None while it has not.
      closing: the server's close frame, from when it came; None before.
    """

    def __init__(self, stream: MemoryStream, nursery: trio.Nursery) -> None:
        self.incoming: Wire = stream.incoming
        self.outgoing: Wire = stream.outgoing
        self.subprotocol: str | None = None
        self.welcome: dict[str, Any] = {}
        self.answers_pings = True
        self.answers_close = True
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.frames: deque[str | bytes] = deque()
        self.closed: Closed | None = None
        self.closing: Closed | None = None
        self._stream = stream
        self._nursery = nursery
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._sending = trio.Lock()
        self._news = trio.lowlevel.ParkingLot()
        self._parts: list[str] | list[bytes] = []

    def __repr__(self) -> str:
        return f"<Client {self.welcome.get('member', '')!r}>"

    @property
    def member(self) -> str:
        """The public id that the server gave it; only at ``/ws``."""
        return str(self.welcome["member"])

    # Saying

    async def send(self, fields: Mapping[str, object] | None = None, /, **more: object) -> None:
        """Send one JSON message.

        Args:
          fields: those whose names Python has taken, like ``{"except": […]}``.
          more: all others.
        """
        await self.send_text(json.dumps({**more, **(fields or {})}))

    async def send_text(self, text: str) -> None:
        """Send one text message."""
        await self._send(ws.TextMessage(data=text))

    async def send_bytes(self, data: bytes) -> None:
        """Send one binary message."""
        await self._send(ws.BytesMessage(data=data))

    async def send_part(self, part: str | bytes, *, last: bool) -> None:
        """Send a fragment of a message."""
        if isinstance(part, str):
            await self._send(ws.TextMessage(data=part, message_finished=last))
        else:
            await self._send(ws.BytesMessage(data=part, message_finished=last))

    async def ping(self, payload: bytes = b"") -> None:
        """Send a ping of the WebSocket; its pong will be in `pongs`."""
        await self._send(ws.Ping(payload=payload))

    async def pong(self, payload: bytes = b"") -> None:
        """Send a pong, asked for or not."""
        await self._send(ws.Pong(payload=payload))

    async def send_raw(self, data: bytes) -> None:
        """Put bytes on the wire as they are: half a frame, or none at all."""
        async with self._sending:
            await self._stream.send_all(data)

    async def join(self, room: str, **fields: object) -> dict[str, Any]:
        """Join a room, and return the `joined` that answers; the next frame must be it."""
        await self.send(type="join", room=room, **fields)
        return await self.expect(type="joined", room=room)

    # Hearing

    async def receive_frame(
        self, *, within: float = WAIT_SECONDS, expected: str = "a frame"
    ) -> str | bytes:
        """Wait for the next message: str for text, bytes for binary.

        Args:
          within: seconds.
          expected: what to say was expected.

        Raises:
          AssertionError: none came in time, or the connection has ended.
        """
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(within):
            while not self.frames and self.closed is None:
                await self._news.park()
        if self.frames:
            return self.frames.popleft()
        if self.closed is not None:
            raise AssertionError(
                f"expected {expected}, but the connection has ended with "
                f"{self.closed.code} ({self.closed.reason!r})"
            )
        raise AssertionError(f"expected {expected}, and nothing came for {within:g} s")

    async def receive(
        self, *, within: float = WAIT_SECONDS, expected: str = "a frame"
    ) -> dict[str, Any]:
        """Wait for the next message, which is one JSON object.

        Raises:
          AssertionError: none came in time, it is something else, or the
            connection has ended.
        """
        text = await self.receive_frame(within=within, expected=expected)
        try:
            value = json.loads(text, parse_constant=_refuse) if isinstance(text, str) else None
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise AssertionError(f"expected {expected}, but this is no JSON object: {text!r}")
        return value

    async def expect(
        self,
        fields: Mapping[str, object] | None = None,
        /,
        *,
        within: float = WAIT_SECONDS,
        **more: object,
    ) -> dict[str, Any]:
        """Wait for the next message, and check that it has these fields with these values.

        Args:
          fields: those whose names Python has taken, like ``{"from": …}``.
          within: seconds.
          more: all others; what else is in the message may be anything.

        Returns:
          All of it.

        Raises:
          AssertionError: none came in time, it is another one, or the
            connection has ended.
        """
        wanted = {**more, **(fields or {})}
        expected = f"a frame with {wanted}"
        frame = await self.receive(within=within, expected=expected)
        if any(name not in frame or frame[name] != value for name, value in wanted.items()):
            raise AssertionError(f"expected {expected}, but the next one is {frame}")
        return frame

    async def expect_nothing(self) -> None:
        """Let everybody finish what can be done now, and check that nothing has come.

        Raises:
          AssertionError: something has.
        """
        await wait_all_tasks_blocked()
        if self.frames:
            raise AssertionError(f"expected nothing, but this came: {self.frames[0]!r}")

    async def wait_closed(self, *, within: float = WAIT_SECONDS) -> Closed:
        """Wait until the connection has ended; frames that came before stay to be received.

        Raises:
          AssertionError: it did not end in time.
        """
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(within):
            while self.closed is None:
                await self._news.park()
        if self.closed is None:
            raise AssertionError(
                f"expected the connection to end, and it is open after {within:g} s"
            )
        return self.closed

    # Ending

    async def close(self, code: int = 1000, reason: str = "") -> Closed:
        """Send a close frame, and wait until the server has ended the connection."""
        await self._send(ws.CloseConnection(code=code, reason=reason))
        return await self.wait_closed()

    async def send_close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame, and do not wait."""
        await self._send(ws.CloseConnection(code=code, reason=reason))

    async def eof(self) -> None:
        """Half-close: say on the transport alone that nothing more will come."""
        await self._stream.send_eof()

    def reset(self) -> None:
        """Reset the connection, without a word."""
        self._stream.reset()

    # The task

    async def open(
        self, path: str, headers: list[tuple[str, str]], subprotocols: list[str]
    ) -> None:
        """Make the opening handshake, and start to read.

        Raises:
          CannotConnectError: the server said no, with `status`, or hung up.
        """
        request = ws.Request(
            host=HOST,
            target=path,
            subprotocols=subprotocols,
            extra_headers=[(name.encode(), value.encode()) for name, value in headers],
        )
        url = f"ws://{HOST}{path.partition('?')[0]}"
        refusal: int | None = None
        body = b""
        try:
            await self._stream.send_all(self._protocol.send(request))
            while True:
                for event in self._protocol.events():
                    if isinstance(event, ws.AcceptConnection):
                        self.subprotocol = event.subprotocol
                        self._nursery.start_soon(self._read)
                        return
                    if isinstance(event, ws.RejectConnection):
                        refusal = event.status_code
                    elif isinstance(event, ws.RejectData):
                        body += event.data
                        if event.body_finished:
                            raise CannotConnectError(url, body.decode(), refusal)
                data = await self._stream.receive_some()
                if not data:
                    raise CannotConnectError(url, "the server hung up", refusal)
                self._protocol.receive_data(data)
        except (trio.BrokenResourceError, RemoteProtocolError) as error:
            raise CannotConnectError(url, str(error), refusal) from error

    async def _send(self, event: ws.Event) -> None:
        async with self._sending:
            # Made under the lock, so that frames leave in the order of their making.
            await self._stream.send_all(self._protocol.send(event))

    async def _read(self) -> None:
        try:
            while True:
                for event in self._protocol.events():
                    await self._hear(event)
                data = await self._stream.receive_some()
                if not data:
                    break
                self._protocol.receive_data(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # reset, by one or the other
        self.closed = self.closing or Closed(NO_CLOSE_FRAME, "")
        self._news.unpark_all()
        if self.answers_close:
            await self._stream.aclose()

    async def _hear(self, event: ws.Event) -> None:
        match event:
            case ws.TextMessage() | ws.BytesMessage():
                self._parts.append(event.data)  # type: ignore[arg-type]
                if event.message_finished:
                    self.frames.append(type(event.data)().join(self._parts))  # type: ignore[arg-type]
                    self._parts = []
            case ws.Ping():
                self.pings.append(bytes(event.payload))
                if self.answers_pings:
                    self._nursery.start_soon(self._answer, event.response())
            case ws.Pong():
                self.pongs.append(bytes(event.payload))
            case ws.CloseConnection():
                self.closing = Closed(int(event.code), event.reason or "")
                if self.answers_close:
                    # Before the end of the stream, which comes next, is read.
                    await self._answer(event.response())
        self._news.unpark_all()

    async def _answer(self, event: ws.Event) -> None:
        # The server has gone, or we have said our close meanwhile.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError):
            await self._send(event)


async def fetch(
    stream: MemoryStream, path: str, *, method: str, headers: Iterable[tuple[str, str]]
) -> HttpAnswer:
    """Make one HTTP request on a connection of its own.

    Raises:
      AssertionError: no whole response came within `WAIT_SECONDS`.
    """
    protocol = h11.Connection(h11.CLIENT)
    request = h11.Request(method=method, target=path, headers=[("Host", HOST), *headers])
    body = b""
    response: h11.Response | None = None
    with trio.move_on_after(WAIT_SECONDS):
        await stream.send_all(protocol.send(request) + protocol.send(h11.EndOfMessage()))
        while True:
            event = protocol.next_event()
            if event is h11.NEED_DATA:
                protocol.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise AssertionError(f"expected an HTTP response, but {event!r} came")
        await stream.aclose()
        assert response is not None
        found = {name.decode(): value.decode() for name, value in response.headers}
        return HttpAnswer(status=response.status_code, headers=found, body=body)
    raise AssertionError(f"expected an HTTP response, and none came for {WAIT_SECONDS:g} s")


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
