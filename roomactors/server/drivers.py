"""Who feeds connections, runs their writers, and looks at them when their time has come.

A connection does not know who drives it: a task of its own, on any link, or
for plain sockets the one task of an `EpollReader`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from time import perf_counter
from typing import final

import trio

from roomactors.core.budget import Budget
from roomactors.server.connection import Connection
from roomactors.server.links import ENDED, Link, SocketLink
from roomactors.server.outlet import FrameOutlet
from roomactors.server.reader import EpollReader

logger = logging.getLogger("roomactors")

TLS_WRITE_BYTES = 16 * 1024
"""One TLS record; what such a peer must take within the progress deadline."""
CHECKS_AT_ONCE = 200
"""Connections looked at before the loop goes round, about half a millisecond."""


@final
class Pulse:
    """One task for all due times of all connections."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Connection]] = []
        self._next: dict[Connection, float] = {}
        self._count = 0
        self._sleeping = trio.CancelScope()

    def watch(self, connection: Connection, due: float) -> None:
        """Look at a connection at this time, or before."""
        if due < self._next.get(connection, inf):
            self._next[connection] = due
            self._count += 1
            heappush(self._due, (due, self._count, connection))
            self._tidy()
            if due < self._sleeping.deadline:
                self._sleeping.deadline = due

    def forget(self, connection: Connection) -> None:
        """Look at this one no more."""
        self._next.pop(connection, None)
        self._tidy()

    def _tidy(self) -> None:
        # Entries of those that are gone, or that are looked at before, go when
        # they are due, or when they are most of the heap.
        if len(self._due) > 2 * len(self._next) + 100:
            self._due = [entry for entry in self._due if self._next.get(entry[2]) == entry[0]]
            heapify(self._due)

    async def run(self) -> None:
        """Look at each connection when its time has come, for ever."""
        while True:
            now = trio.current_time()
            looked = 0
            while self._due and self._due[0][0] <= now and looked < CHECKS_AT_ONCE:
                due, _, connection = heappop(self._due)
                if self._next.get(connection) != due:
                    continue
                del self._next[connection]
                looked += 1
                self._look_at(connection, now)
            if self._due and self._due[0][0] <= now:
                await trio.lowlevel.checkpoint()
                continue
            with trio.CancelScope(deadline=self._due[0][0] if self._due else inf) as scope:
                self._sleeping = scope
                await trio.sleep_forever()

    def _look_at(self, connection: Connection, now: float) -> None:
        try:
            due = connection.check(now)
        except Exception:
            logger.exception("looking at %r failed; it is closed", connection)
            connection.lose()
            return
        if due is not None:
            self.watch(connection, due)


@final
class Drivers:
    """Runs connections, and a task for the writer of each one that is blocked.

    Args:
      nursery: where writers run.
      pulse: looks at connections.
      reader: reads the plain sockets; None has every connection read by its own task.
      read_bytes: taken from one connection at once.
      stopwatch: seconds of real work, by which writers share the loop.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        pulse: Pulse,
        reader: EpollReader | None,
        read_bytes: int,
        stopwatch: Callable[[], float] = perf_counter,
    ) -> None:
        self._nursery = nursery
        self._pulse = pulse
        self._reader = reader
        self._read_bytes = read_bytes
        # Not the rooms' budget: thousands that are behind would delay those who keep up.
        self._behind = Budget(stopwatch)
        self._writing: set[Connection] = set()
        self._paused: dict[Connection, trio.Event] = {}
        self.open: dict[Connection, None] = {}
        """The connections of which none has begun to end."""

    # What connections ask (see `connection.Driver`)

    def start_writer(self, connection: Connection) -> None:
        """Write on when the peer takes more."""
        if connection not in self._writing:
            self._writing.add(connection)
            self._nursery.start_soon(self._write, connection)

    def resume(self, connection: Connection) -> None:
        """Go on reading."""
        if self._reader is not None and self._reader.resume(connection):
            return
        event = self._paused.pop(connection, None)
        if event is not None:
            event.set()

    def watch(self, connection: Connection, due: float) -> None:
        """Look at it at this time, or before."""
        self._pulse.watch(connection, due)

    def ended(self, connection: Connection) -> None:
        """It has begun to end."""
        self.open.pop(connection, None)

    # The tasks

    async def drive(self, connection: Connection, before: bytes, early: bytes) -> None:
        """Run a connection until its link is closed. Cancelling aborts it.

        Args:
          connection: a new one.
          before: bytes that go out first.
          early: bytes that have come already.
        """
        link = connection.link
        self.open[connection] = None
        try:
            if self._reader is not None and isinstance(link, SocketLink):
                await self._reader.drive(connection, link, before, early)
            else:
                await self._read(connection, before, early)
        finally:
            connection.lose()
            self._paused.pop(connection, None)
            self._pulse.forget(connection)

    async def _read(self, connection: Connection, before: bytes, early: bytes) -> None:
        connection.open(before, early)
        try:
            while True:
                if connection.more or connection.paused:
                    await self._go_on(connection)
                data = await connection.link.receive(self._read_bytes)
                if not data:
                    return
                connection.feed(data)
        except ENDED:
            pass  # the peer is gone, or we have closed the link

    async def _go_on(self, connection: Connection) -> None:
        """Work off what is buffered, and wait while it is paused."""
        while True:
            if connection.more:
                await trio.lowlevel.checkpoint()
            elif connection.paused:
                event = self._paused[connection] = trio.Event()
                await event.wait()
            else:
                return
            connection.work()

    async def _write(self, connection: Connection) -> None:
        outlet, link = connection.outlet, connection.link
        try:
            while outlet.blocked:
                if link.send is None:
                    await self._write_piece(connection, link)
                else:
                    await link.wait_writable()
                    await self._catch_up(outlet)
                connection.written()
        except ENDED:
            connection.lose()
        except Exception:
            logger.exception("writing to %r failed; it is closed", connection)
            connection.lose()
        finally:
            self._writing.discard(connection)

    async def _catch_up(self, outlet: FrameOutlet) -> None:
        """Write on, in a share of the loop that all who are behind have together."""
        budget = self._behind
        await budget.admit()
        began = budget.stopwatch()
        try:
            outlet.unblock()
        finally:
            budget.spend(budget.stopwatch() - began)

    async def _write_piece(self, connection: Connection, link: Link) -> None:
        outlet = connection.outlet
        piece = outlet.next_piece()
        if piece is None:
            outlet.rest()
            if outlet.blocked:
                # More has come to be written; that must not go on for ever.
                await trio.lowlevel.checkpoint()
            return
        buffer = piece.buffer
        for start in range(0, len(buffer), TLS_WRITE_BYTES):
            await link.send_all(buffer[start : start + TLS_WRITE_BYTES])
            outlet.note_progress()
        outlet.piece_taken(piece, len(buffer))
