"""A peer on a plain socket, which says exactly the bytes that it is told to say.

Every wait has a deadline that a server in good health never reaches.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import struct
import time
from types import TracebackType
from typing import Any, Final, Self, final

import attrs

from tests.real import frames
from tests.real.frames import CLOSE, PING, PONG, TEXT, Frame, frame, take_frame

PATIENCE: Final = 20.0
"""Seconds for anything that the server should do at once."""

NO_CLOSE_FRAME: Final = 1006
"""What a client reports of a connection that ended without a close frame."""

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT: Final = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

_NEWS: Final = {"member_joined", "member_left", "presence"}
_RESET: Final = struct.pack("ii", 1, 0)  # struct linger: on, and no time


def upgrade(path: str = "/ws", *more: tuple[str, str], without: str = "") -> bytes:
    """The head of an opening handshake, less one of its headers, with further ones."""
    usual = [
        ("Host", "localhost"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ]
    replaced = {without, *(name for name, _ in more)}
    headers = [pair for pair in usual if pair[0] not in replaced] + list(more)
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


@attrs.frozen
class Response:
    """The head of an HTTP response."""

    status: int
    headers: dict[str, str]


@final
class Peer:
    """One TCP, Unix or TLS connection to a server, from the client's end.

    Args:
      address: host and port, or the path of a Unix socket.
      tls: the client's context.
      receive_buffer: bytes that the kernel keeps for us; None leaves it to the kernel.
    """

    def __init__(
        self,
        address: tuple[str, int] | str,
        *,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        if isinstance(address, str):
            self._sock = socket.socket(socket.AF_UNIX)
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self._sock = socket.socket(family)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._sock.settimeout(PATIENCE)
        try:
            self._sock.connect(address)
            if tls is not None:
                self._sock = tls.wrap_socket(self._sock, server_hostname="localhost")
        except OSError:
            self._sock.close()
            raise
        self._buffer = bytearray()
        self.pings = 0
        """Pings that the server has sent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.hang_up()

    # Bytes

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._sock.sendall(data)

    def send_to_the_end(self, data: bytes) -> None:
        """Send bytes as they are; the server may end the connection meanwhile."""
        with contextlib.suppress(ConnectionError):
            self._sock.sendall(data)

    def fill(self, data: bytes, *, most: int) -> int:
        """Send the same bytes again and again until the server takes no more for half a second.

        Args:
          data: what to send.
          most: bytes that a server in good health never takes.

        Returns:
          How many bytes it has taken.
        """
        self._sock.settimeout(0.5)
        taken = 0
        try:
            while taken < most:
                taken += self._sock.send(data)
        except (TimeoutError, ConnectionError):
            return taken
        finally:
            self._sock.settimeout(PATIENCE)
        raise AssertionError(f"the server takes more than {most} bytes")

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Vanish with a RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._sock.close()

    def reset_after(self, data: bytes) -> None:
        """Send bytes and vanish with a RST."""
        self.send_to_the_end(data)
        self.reset()

    def drip(self, data: bytes, *, seconds_between: float) -> int:
        """Send byte by byte until the server ends it.

        Returns:
          How many bytes could be sent before that was seen.
        """
        self._sock.settimeout(seconds_between)
        for sent, byte in enumerate(data):
            try:
                self._sock.send(bytes((byte,)))
                if not self._sock.recv(65536):
                    return sent
            except TimeoutError:
                continue
            except ConnectionError:
                return sent
        return len(data)

    def hang_up(self) -> None:
        """Close the socket without a word of farewell."""
        self._sock.close()

    def _receive(self) -> bool:
        """Wait for bytes; False at the end, whichever way it came."""
        try:
            data = self._sock.recv(65536)
        except (ConnectionError, ssl.SSLEOFError):
            return False
        self._buffer += data
        return bool(data)

    @property
    def has_something_to_hear(self) -> bool:
        """Whether bytes have come that have not been read."""
        return bool(select.select([self._sock], [], [], 0)[0])

    # HTTP

    def response(self) -> Response:
        """The head of the server's response."""
        while b"\r\n\r\n" not in self._buffer:
            assert self._receive(), f"the server hung up after {bytes(self._buffer)!r}"
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer[:] = rest
        first, *lines = head.decode("ascii").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return Response(int(first.split()[1]), {k.lower(): v for k, v in headers.items()})

    def everything(self) -> bytes:
        """All that comes until the end."""
        while self._receive():
            pass
        everything = bytes(self._buffer)
        self._buffer.clear()
        return everything

    # WebSocket

    def open(self, path: str = "/ws", *headers: tuple[str, str]) -> Self:
        """Shake hands; on `/ws`, be welcomed."""
        self.send(upgrade(path, *headers))
        self.be_welcomed(path)
        return self

    def be_welcomed(self, path: str = "/ws") -> None:
        """Read the answer to a handshake that has been sent."""
        response = self.response()
        assert (response.status, response.headers.get("sec-websocket-accept")) == (101, ACCEPT)
        if path.startswith("/ws"):
            self.hear("welcome")

    def next_frame(self) -> Frame | None:
        """The next frame of any kind; None at the end."""
        while (taken := take_frame(self._buffer)) is None:
            if not self._receive():
                return None
        return taken

    def next_message(self) -> Frame:
        """The next text or binary message, or close frame; pings are answered."""
        # Pings come for ever, so the socket's own deadline is not enough.
        deadline = time.monotonic() + PATIENCE
        while (taken := self.next_frame()) is not None:
            if taken.opcode == PING:
                self.pings += 1
                self.send(frame(PONG, taken.payload))
                assert time.monotonic() < deadline, "nothing but pings"
            elif taken.opcode != PONG:
                return taken
        raise AssertionError("the server hung up without a close frame")

    def close_code(self) -> int:
        """Read to the end; the code of the close frame, 1006 if there was none.

        Raises:
          AssertionError: something came behind the close frame.
        """
        while (taken := self.next_frame()) is not None:
            if taken.opcode == CLOSE:
                assert self.next_frame() is None, "a frame came behind the close frame"
                return taken.close_code
        return NO_CLOSE_FRAME

    # The plain JSON protocol

    def say(self, kind: str, **fields: object) -> None:
        """Send a message."""
        self.send(say(kind, **fields))

    def hear(self, *kinds: str) -> dict[str, Any]:
        """The next message, which is of one of these types; news of members is passed over."""
        while True:
            heard = self.next_json()
            if heard["type"] in kinds:
                return heard
            assert heard["type"] in _NEWS, f"wanted {kinds}, and got {heard}"

    def next_json(self) -> dict[str, Any]:
        """The next message."""
        taken = self.next_message()
        assert taken.opcode == TEXT, f"wanted a message, and got {taken}"
        heard: dict[str, Any] = json.loads(taken.payload)
        return heard

    def hear_news(self) -> dict[str, Any]:
        """The next message, which is news of members."""
        heard = self.next_json()
        assert heard["type"] in _NEWS, heard
        return heard

    def join(self, room: str, **fields: object) -> dict[str, Any]:
        """Join a room; the reply."""
        self.say("join", room=room, ref="join", **fields)
        return self.hear("joined")

    def farewell(self) -> int:
        """Close as one should; the code that the server answers with."""
        self.send(frames.close(1000))
        return self.close_code()


def say(kind: str, **fields: object) -> bytes:
    """A message of the plain JSON protocol as a frame; `except_` is `except`."""
    named = {name.rstrip("_"): value for name, value in fields.items()}
    return frame(TEXT, json.dumps({"type": kind, **named}).encode())
