"""The byte streams that connections are driven over."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import trio

# Named by the socket module only where it was built so; the number is Linux's.
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if sys.platform == "linux" else None)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, and no time

ENDED = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
"""What a link raises when it is at its end, whoever ended it."""


class Link(ABC):
    """A byte stream, read by one task; ending it wakes whoever waits on it.

    Attributes:
      send: one non-blocking write, returning the bytes taken, at least one;
        raises BlockingIOError if none is taken now, OSError if it is at its
        end. None if the stream cannot write without waiting.
      remote: the peer's address, empty if it is not known.
      secure: whether it is TLS.
    """

    __slots__ = ("remote", "secure", "send")

    def __init__(self, *, remote: str, secure: bool, send: Callable[[bytes], int] | None) -> None:
        self.remote = remote
        self.secure = secure
        self.send = send

    @abstractmethod
    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes; empty at the end. Raises one of `ENDED`. A checkpoint."""

    @abstractmethod
    async def wait_writable(self) -> None:
        """Wait until something may be taken. Raises one of `ENDED`. A checkpoint."""

    async def send_all(self, data: bytes) -> None:
        """Write everything. Raises one of `ENDED`. A checkpoint if it waits.

        Cancelled, it may have written a part: the link is then good for nothing.
        """
        assert self.send is not None
        while data:
            try:
                data = data[self.send(data) :]
            except BlockingIOError:
                await self.wait_writable()

    @abstractmethod
    def send_eof(self) -> None:
        """Say that nothing more will be written, where the stream has a way to; never raises."""

    @abstractmethod
    def abort(self, *, reset: bool = False) -> None:
        """Close it now; never waits, never raises; idempotent.

        Args:
          reset: let go at once of what the kernel still holds for the peer.
        """


def tune(sock: socket.socket, unsent_bytes: int) -> None:
    """Set a TCP socket up for many small writes to many peers; leaves other sockets alone."""
    if sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with contextlib.suppress(OSError):  # the peer may have gone already
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _TCP_NOTSENT_LOWAT is not None:  # pragma: no branch - Linux has it
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, unsent_bytes)


@final
class SocketLink(Link):
    """A plain socket, with nothing between the fan-out and the kernel.

    Args:
      sock: a connected, non-blocking stream socket, which this takes over.
      remote: the peer's address.
    """

    __slots__ = ("_closed", "_may_have_more", "_sock", "on_close", "receive_nowait")

    def __init__(self, sock: socket.socket, *, remote: str) -> None:
        super().__init__(remote=remote, secure=False, send=sock.send)
        self._sock = sock
        self.receive_nowait: Callable[[int], bytes] = sock.recv
        """Read what is there, for whoever waits by other means; raises as `send` does."""
        self.on_close: Callable[[], None] | None = None
        """Called once, right before the socket is closed."""
        self._closed = False
        self._may_have_more = False

    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes; empty at the end."""
        if self._may_have_more:
            await trio.lowlevel.checkpoint()
        else:
            await self._wait_readable()
        while True:
            if self._closed:
                raise trio.ClosedResourceError
            try:
                data = self._sock.recv(max_bytes)
            except BlockingIOError:
                await self._wait_readable()
                continue
            # A read that was not full has emptied the socket: no need to ask it again.
            self._may_have_more = len(data) == max_bytes
            return data

    def fileno(self) -> int:
        """The socket's number; -1 once it is closed."""
        return self._sock.fileno()

    async def _wait_readable(self) -> None:
        # A closed socket's number may be another one's by now.
        if self._closed:
            raise trio.ClosedResourceError
        await trio.lowlevel.wait_readable(self._sock)

    async def wait_writable(self) -> None:
        """Wait until the socket takes something."""
        if self._closed:
            raise trio.ClosedResourceError
        await trio.lowlevel.wait_writable(self._sock)

    def send_eof(self) -> None:
        """Half-close."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def abort(self, *, reset: bool = False) -> None:
        """Close the socket."""
        if self._closed:
            return
        self._closed = True
        if self.on_close is not None:
            self.on_close()
        _close(self._sock, reset=reset)


@final
class TlsLink(Link):
    """TLS over a socket: it cannot write without waiting, so a writer task serves it.

    Args:
      sock: a connected, non-blocking stream socket, which this takes over.
      context: the server's.
      remote: the peer's address.
    """

    __slots__ = ("_closed", "_sock", "_stream")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, remote: str) -> None:
        super().__init__(remote=remote, secure=True, send=None)
        self._sock = sock
        self._closed = False
        transport = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._stream = trio.SSLStream(transport, context, server_side=True, https_compatible=True)

    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes; empty at the end. The first call makes the handshake."""
        self._check_open()
        return bytes(await self._stream.receive_some(max_bytes))

    async def wait_writable(self) -> None:
        """Wait until writing is likely not to wait."""
        self._check_open()
        await self._stream.wait_send_all_might_not_block()

    async def send_all(self, data: bytes) -> None:
        """Write everything."""
        self._check_open()
        await self._stream.send_all(data)

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError

    def send_eof(self) -> None:
        """TLS has no half-close."""

    def abort(self, *, reset: bool = False) -> None:
        """Close the socket underneath: a close notice would have to wait for the peer."""
        if not self._closed:
            self._closed = True
            _close(self._sock, reset=reset)


def _close(sock: socket.socket, *, reset: bool) -> None:
    if reset:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    trio.lowlevel.notify_closing(sock)
    sock.close()
