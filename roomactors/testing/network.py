"""An in-memory network on trio's clock, with the faults of a real one.

A link has two `Wire`s, one for each direction. Each carries bytes in order
and can be slow, stall, or be cut at a chosen byte; a server's end also says
how many bytes a non-blocking write takes. Nothing here runs a task or polls:
whoever waits is woken, so the mock clock jumps straight to the next arrival.

No WebSocket, no HTTP: those are in `client`.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Literal, final

import trio

from roomactors.server.links import Link

CAPACITY = 256 * 1024
"""Bytes that one direction holds: about what the two kernels of a connection take together."""
READ_BYTES = 64 * 1024
"""What a client's end reads at once, if it is not told how much."""


def _nothing() -> None:
    pass


def _reset_error() -> OSError:
    return ConnectionResetError(errno.ECONNRESET, "the in-memory connection was reset")


def _pipe_error() -> OSError:
    return BrokenPipeError(errno.EPIPE, "the in-memory connection takes no more bytes")


@final
class Wire:
    """One direction of a connection in memory.

    Attributes:
      latency: seconds that what is written from now on takes to arrive.
      capacity: bytes that it holds, on the way and unread, before a writer
        must wait.
      segment_bytes: the most that one read gets; None is no limit.
      carried: bytes that it has taken from its writer so far.
    """

    def __init__(self, *, latency: float = 0.0, capacity: int = CAPACITY) -> None:
        self.latency = latency
        self.capacity = capacity
        self.segment_bytes: int | None = None
        self.carried = 0
        self._when_cut: Callable[[], None] = _nothing
        self._flight: deque[tuple[float, bytes]] = deque()
        self._arrived = bytearray()
        self._held = 0
        self._stalled = False
        # What its reader finds behind the last byte, and from when on.
        self._end: Literal["eof", "reset"] | None = None
        self._end_at = 0.0
        # Why its writer can write no more.
        self._refusal: Callable[[], Exception] | None = None
        self._reader_closed = False
        self._until_cut: int | None = None
        self._cut_resets = True
        self._takes: deque[int] = deque()
        self._then: int | None = None
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()

    # Faults

    def stall(self) -> None:
        """Let nothing arrive any more; what is written waits on the way, up to the capacity."""
        self._land()
        self._stalled = True

    def resume(self) -> None:
        """Let things arrive again, first what has waited."""
        self._stalled = False
        self._readers.unpark_all()

    def cut_after(self, count: int, *, reset: bool = True) -> None:
        """Carry exactly so many bytes more, and then nothing.

        A write that goes beyond them is taken whole, as a kernel would, and
        what is beyond is lost.

        Args:
          count: bytes, from now on; 0 cuts at once.
          reset: end the whole connection, in both directions, with a reset;
            False ends this direction alone, as if its writer had half-closed.
        """
        self._until_cut = count
        self._cut_resets = reset
        if not count:
            self._cut()

    def take(self, *counts: int, then: int | None = None) -> None:
        """Say how much the next non-blocking writes take.

        It replaces what was said before; `take()` alone takes everything.
        Waiting until something may be written ends at once unless nothing
        ever will be, as after a kernel's short write.

        Args:
          counts: the most bytes for each of the next writes; 0 makes one fail
            with BlockingIOError.
          then: the most for each write after those: None is no limit, and
            with 0 the writer waits until this is called again.
        """
        self._takes = deque(counts)
        self._then = then
        self._writers.unpark_all()

    @property
    def held(self) -> int:
        """Bytes that were written and have not been read."""
        return self._held

    # The reader's end

    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes; empty at the end. A checkpoint.

        Raises:
          ConnectionResetError: the connection was reset.
          trio.ClosedResourceError: this end was closed.
        """
        await trio.lowlevel.checkpoint()
        while True:
            if self._reader_closed:
                raise trio.ClosedResourceError
            self._land()
            if self._arrived:
                return self._read(max_bytes)
            due = self._next_arrival()
            if due <= trio.current_time():
                if self._end == "reset":
                    raise _reset_error()
                return b""
            with trio.CancelScope(deadline=due):
                await self._readers.park()

    def close_reader(self) -> None:
        """Close the reading end, and wake who waits there."""
        self._reader_closed = True
        self._readers.unpark_all()

    @property
    def has_unread(self) -> bool:
        """Whether bytes have arrived that nobody has read."""
        self._land()
        return bool(self._arrived)

    def _read(self, max_bytes: int) -> bytes:
        count = min(max_bytes, len(self._arrived), self.segment_bytes or max_bytes)
        data = bytes(self._arrived[:count])
        del self._arrived[:count]
        self._held -= count
        self._writers.unpark_all()
        return data

    def _land(self) -> None:
        now = trio.current_time()
        while self._flight and not self._stalled and self._flight[0][0] <= now:
            self._arrived += self._flight.popleft()[1]

    def _next_arrival(self) -> float:
        """When there is something to read, once nothing of what has arrived is left."""
        if self._stalled:
            return inf
        if self._flight:
            return self._flight[0][0]
        return inf if self._end is None else self._end_at

    # The writer's end

    def write_some(self, data: bytes) -> int:
        """One non-blocking write; returns the bytes taken, at least one.

        Raises:
          BlockingIOError: none is taken now.
          OSError: the connection has ended.
        """
        self._check_writable()
        if not data:
            return 0
        most = self._takes.popleft() if self._takes else self._then
        count = min(len(data), self._free, len(data) if most is None else most)
        if count <= 0:
            raise BlockingIOError(errno.EAGAIN, "the in-memory connection takes nothing now")
        self._accept(data[:count])
        return count

    async def write_all(self, data: bytes) -> None:
        """Write everything, as the wire has room for it. A checkpoint.

        Raises:
          OSError: the connection has ended.
          trio.ClosedResourceError: this end was closed.
        """
        await trio.lowlevel.checkpoint()
        while True:
            self._check_writable()
            count = min(len(data), max(0, self._free))
            if count:
                self._accept(data[:count])
                data = data[count:]
            if not data:
                return
            await self._writers.park()

    async def wait_writable(self) -> None:
        """Wait until a non-blocking write may take something, or fails. A checkpoint.

        Raises:
          trio.ClosedResourceError: this end was closed.
        """
        await trio.lowlevel.checkpoint()
        while self._refusal is None and (self._free <= 0 or (not self._takes and self._then == 0)):
            await self._writers.park()
        if self._refusal is trio.ClosedResourceError:
            raise trio.ClosedResourceError

    def finish(self) -> None:
        """Half-close: the reader finds the end behind what has been written."""
        self._end_with("eof")
        self._refuse(_pipe_error)

    def close_writer(self) -> None:
        """Close the writing end, and wake who waits there; what has been written still arrives."""
        self._end_with("eof")
        self._refuse(trio.ClosedResourceError)

    def refuse(self) -> None:
        """Fail all writes from now on: the other end is gone."""
        self._refuse(_pipe_error)

    def lose(self) -> None:
        """Reset this direction at once: what has not arrived is lost."""
        self._land()
        for _, chunk in self._flight:
            self._held -= len(chunk)
        self._flight.clear()
        self._stalled = False
        self._end = "reset"
        self._end_at = trio.current_time()
        self._refuse(_reset_error)
        self._readers.unpark_all()

    @property
    def _free(self) -> int:
        return self.capacity - self._held

    def _check_writable(self) -> None:
        if self._refusal is not None:
            raise self._refusal()

    def _accept(self, data: bytes) -> None:
        self.carried += len(data)
        kept = data
        if self._until_cut is not None:
            kept = data[: self._until_cut]
            self._until_cut -= len(kept)
        if kept:
            self._held += len(kept)
            self._flight.append((self._arrival(), kept))
            self._readers.unpark_all()
        if self._until_cut == 0:
            self._cut()

    def _arrival(self) -> float:
        # Bytes do not overtake each other when the latency is made smaller.
        last = self._flight[-1][0] if self._flight else 0.0
        return max(last, trio.current_time() + self.latency)

    def _cut(self) -> None:
        self._until_cut = None
        if self._cut_resets:
            self._end_with("reset")
            self._refuse(_reset_error)
            self._when_cut()
        else:
            self.finish()

    def _end_with(self, end: Literal["eof", "reset"]) -> None:
        if self._end is None:
            self._end = end
            self._end_at = self._arrival()
            self._readers.unpark_all()

    def _refuse(self, error: Callable[[], Exception]) -> None:
        # That one's own end is closed comes before whatever else is the matter.
        if self._refusal is not trio.ClosedResourceError:
            self._refusal = error
        self._writers.unpark_all()


@final
class MemoryLink(Link):
    """A server's end of a connection in memory, to be given to `Server.take`.

    Made by `memory_link_pair`.

    Attributes:
      to_client: what the server writes.
      to_server: what the client writes.
    """

    __slots__ = ("_closed", "to_client", "to_server")

    def __init__(
        self, to_client: Wire, to_server: Wire, *, remote: str, secure: bool, writes_at_once: bool
    ) -> None:
        send = to_client.write_some if writes_at_once else None
        super().__init__(remote=remote, secure=secure, send=send)
        self.to_client = to_client
        self.to_server = to_server
        self._closed = False

    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes; empty at the end."""
        return await self.to_server.receive(max_bytes)

    async def wait_writable(self) -> None:
        """Wait until a write may take something."""
        await self.to_client.wait_writable()

    async def send_all(self, data: bytes) -> None:
        """Write everything; with a non-blocking write, as often as it takes."""
        if self.send is None:
            await self.to_client.write_all(data)
        else:
            await super().send_all(data)

    def send_eof(self) -> None:
        """Half-close, on a link that can write without waiting; TLS has no half-close."""
        if self.send is not None:
            self.to_client.finish()

    def abort(self, *, reset: bool = False) -> None:
        """Close it; as from a kernel, the client gets a reset if there is something unread."""
        if self._closed:
            return
        self._closed = True
        _close(self.to_server, self.to_client, reset=reset)


@final
class MemoryStream(trio.abc.HalfCloseableStream):
    """A client's end of a connection in memory: a trio stream. Made by `memory_link_pair`.

    Attributes:
      outgoing: what it writes.
      incoming: what it reads.
    """

    def __init__(self, outgoing: Wire, incoming: Wire) -> None:
        self.outgoing = outgoing
        self.incoming = incoming
        self._closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; empty at the end.

        Raises:
          trio.BrokenResourceError: the connection was reset.
        """
        try:
            return await self.incoming.receive(max_bytes or READ_BYTES)
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write everything, for one task at a time.

        Raises:
          trio.BrokenResourceError: the connection has ended.
        """
        try:
            await self.outgoing.write_all(bytes(data))
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until something may be written."""
        await self.outgoing.wait_writable()

    async def send_eof(self) -> None:
        """Half-close: the server reads to the end, and may go on writing. A checkpoint."""
        await trio.lowlevel.checkpoint()
        self.outgoing.finish()

    async def aclose(self) -> None:
        """Close it; the server gets a reset if there is something unread. A checkpoint."""
        self._close(reset=False)
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Reset it now: what has not arrived yet is lost, in both directions."""
        self._close(reset=True)

    def _close(self, *, reset: bool) -> None:
        if not self._closed:
            self._closed = True
            _close(self.incoming, self.outgoing, reset=reset)


def _close(reading: Wire, writing: Wire, *, reset: bool) -> None:
    """Close one end, which reads and writes these."""
    unread = reading.has_unread
    reading.close_reader()
    writing.close_writer()
    if reset or unread:
        reading.lose()
        writing.lose()
    else:
        reading.refuse()


def memory_link_pair(
    *,
    latency: float = 0.0,
    capacity: int = CAPACITY,
    writes_at_once: bool = True,
    remote: str = "192.0.2.1",
    secure: bool = False,
) -> tuple[MemoryLink, MemoryStream]:
    """Make a connection in memory.

    Args:
      latency: seconds from one end to the other, in both directions.
      capacity: bytes that each direction holds.
      writes_at_once: whether the server's end has the non-blocking write of a
        plain socket; without it, it is like TLS.
      remote: the client's address, as the server sees it.
      secure: whether the server shall take it for TLS.

    Returns:
      The server's end, and the client's.
    """
    to_client = Wire(latency=latency, capacity=capacity)
    to_server = Wire(latency=latency, capacity=capacity)
    to_client._when_cut = to_server.lose
    to_server._when_cut = to_client.lose
    link = MemoryLink(
        to_client, to_server, remote=remote, secure=secure, writes_at_once=writes_at_once
    )
    return link, MemoryStream(to_server, to_client)
